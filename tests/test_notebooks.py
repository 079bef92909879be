"""A figure's script becomes an executed notebook, with its picture in it."""

import json

from figures.notebooks import main
from figures.tools.style import SCRIPTS
from theory.common.commandline import run


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
