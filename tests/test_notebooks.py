"""A script of figures or tutorials becomes an executed notebook, with its picture in it; tutorials are committed."""

import json
import re
import runpy

import matplotlib.pyplot as plt
import pytest

from figures.notebooks import HERE, TUTORIALS, lasting, main
from figures.tools import style
from figures.tools.style import SCRIPTS
from theory.common.commandline import run


@pytest.mark.slow
def test_a_notebook_is_executed_and_holds_its_picture(tmp_path, capsys):
    before = (SCRIPTS / "drawn" / "published.png").read_bytes()
    assert run(main, ["--only", "published", "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    cells = json.loads((tmp_path / "published.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")
    assert (tmp_path / "published.png").exists()
    assert (SCRIPTS / "drawn" / "published.png").read_bytes() == before


def test_a_notebook_that_fails_is_one_line(tmp_path, capsys, monkeypatch):
    header = (SCRIPTS / "published.py").read_text().split("# %%")[0]
    (tmp_path / "published.py").write_text(header + "# %%\nraise ValueError('no such table')\n")
    monkeypatch.setattr("figures.notebooks.SCRIPTS", tmp_path)
    assert run(main, ["--only", "published", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said == ["error: published: ValueError: no such table"]


def test_an_unknown_notebook(capsys):
    assert run(main, ["--only", "publishe"]) == 2
    assert "did you mean 'published'?" in capsys.readouterr().err


# Tutorials


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_is_committed_executed_with_one_picture_and_small(name):
    """Its cells are those of the script; it holds no error, no path of a machine and no time."""
    jupytext = pytest.importorskip("jupytext")
    path = HERE / f"{name}.ipynb"
    text = path.read_text()
    cells = json.loads(text)["cells"]
    script = jupytext.read(HERE / f"{name}.py")
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ], f"make notebooks ONLY={name}"
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    said = json.dumps([{**output, "data": {**output.get("data", {}), "image/png": ""}} for output in outputs])
    assert not re.findall(r"/tmp/|/home/|/root/|site-packages|\.venv", said)
    assert lasting(text) == text
    assert len(text) < 100_000


def test_the_tutorials_are_plain_and_all_are_listed():
    """Sentences of at most 35 words, in the one vocabulary."""
    assert sorted(path.stem for path in HERE.glob("*.py")) == sorted(TUTORIALS)
    for name in TUTORIALS:
        prose = re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", (HERE / f"{name}.py").read_text(), re.MULTILINE)
        for paragraph in re.split(r"\n\n", "\n\n".join(re.sub("(?m)^# ?", "", part) for part in prose)):
            for sentence in style.sentences(" ".join(paragraph.split())):
                assert len(style.words(sentence)) <= style.SENTENCE, sentence
            assert not re.findall(r"\b(smart|pull\w*|push\w*|nobody|wants|knows)\b", paragraph), paragraph


SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "claims" else SLOW) for name in TUTORIALS])
def test_a_tutorial_runs(name, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    plt.close("all")
    assert [len(figures) for figures in shown] == [1]
    said = capsys.readouterr().out
    if name == "claims":
        assert "I2 holds" in said
        assert "holds worst error" in said
        assert said.endswith("defect\n")
    if name == "exact_scores":
        for line, k in (
            ("torus in R^16    nsr 0.02", 2),
            ("5-sphere in R^8  nsr 0.02", 5),
            ("spiral           nsr 0.02", 1),
        ):
            read = re.search(rf"^{re.escape(line)}: \[(.*)\] \+- (.*)$", said, re.MULTILINE)
            assert read is not None
            assert all(abs(float(value) - k) < 5 * float(read[2]) + 0.02 for value in read[1].split()), read[0]


def test_a_notebook_keeps_no_times():
    cell = {"cell_type": "code", "metadata": {"execution": {"iopub.execute_input": "2026"}, "tags": []}}
    kept = json.loads(lasting(json.dumps({"cells": [cell], "metadata": {"language_info": {"version": "3.11"}}})))
    assert kept == {"cells": [{"cell_type": "code", "metadata": {"tags": []}, "id": "cell-0"}], "metadata": {}}
