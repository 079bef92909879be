"""python -m theory: the table, the explanation of a claim, and what is said of bad usage."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from theory import __main__ as command
from theory.__main__ import Options, main, proof_of, reflowed
from theory.claims import ledger as ledger_module
from theory.claims.claim import Claim, Control, judge
from theory.claims.drawing import draw
from theory.claims.ledger import ledger
from theory.common.commandline import parse, run
from theory.tests.test_claims import a_claim

IDS = [claim.id for claim in ledger()]


@pytest.fixture
def claims(monkeypatch):
    """Puts claims in the ledger's place."""

    def put(*given: Claim) -> None:
        monkeypatch.setattr(ledger_module, "ledger", lambda: given)

    return put


@pytest.mark.parametrize(
    ("statement", "control", "outcome", "status"),
    [(0.1, 0.9, "holds", 0), (0.1, 0.5, "defect", 1), (0.9, 0.9, "fails", 1), (math.nan, 0.9, "fails", 1)],
)
def test_what_is_printed_and_written_and_the_exit_status(
    claims, capsys, tmp_path, monkeypatch, statement, control, outcome, status
):
    monkeypatch.setenv("COLUMNS", "80")
    claims(a_claim({"statement": statement, "control": control}))
    path = tmp_path / "ledger.json"
    assert run(main, ["--json", str(path)]) == status
    heading, line, *rest = capsys.readouterr().out.splitlines()
    assert heading == "claim source   error   toler. rej. verdict title"
    rejected = int(control > 0.5)
    assert line == f"X1    ours     {statement:.1e} 0.5    {rejected}/1  {outcome:7} a claim about nothing".replace(
        "nan ", "nan     "
    )
    assert rest[-1] == f"{int(status == 0)} of 1 claims hold, {rejected} of 1 controls rejected, 0 s."
    (entry,) = json.loads(path.read_text())
    assert entry["verdict"] == outcome
    assert entry["worst_error"] == (None if math.isnan(statement) else statement)
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.json"]
    assert run(main, ["--explain", "X1"]) == status
    assert f"Verdict: X1 {outcome}" in capsys.readouterr().out


def test_an_explanation_says_all_there_is(claims, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    claim = dataclasses.replace(
        a_claim({"statement": 0.25, "control": 0.75}),
        statement="Nothing is\nnothing, and\n    0 = 0\nwhatever one may say of the number 0, of which much is said.",
        assumptions=("one is one", "two is two, three is three, four is four, five is five, six is six"),
        why="a half is enough",
        proven=False,
    )
    passing = Control("no near-miss", {"which": "statement"}, near="a test")
    claims(dataclasses.replace(claim, controls=(*claim.controls, passing)))
    assert run(main, ["--explain", "x1", "--proof"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "X1  a claim about nothing",
        "",
        "Nothing is nothing, and",
        "    0 = 0",
        "whatever one may say of the number 0, of which much is said.",
        "",
        "Assumptions",
        "  - one is one",
        "  - two is two, three is three, four is four, five is five,",
        "    six is six",
        "",
        "Source: ours: nothing. The wording is this project's own.",
        "Proof: checked, not proven",
        "Tolerance 0.5: a half is enough",
        "",
        "Compared (error; measured for predicted)",
        "  2.5e-01  0.25 for 0  statement",
        "",
        "Controls, to be rejected by the same check",
        "  7.5e-01  rejected  a near-miss",
        "  2.5e-01  PASSES    no near-miss (0.5 times the tolerance,",
        "                     near by design: a test)",
        "",
        "Verdict: X1 defect, worst error 2.5e-01.",
        "",
        "X1 is checked, not proven.",
    ]


def test_every_field_is_in_the_file(claims, tmp_path):
    claims(dataclasses.replace(a_claim({"statement": math.inf, "control": 0.75}), assumptions=("none",)))
    path = tmp_path / "ledger.json"
    assert run(main, ["--json", str(path)]) == 1
    (entry,) = json.loads(path.read_text())
    assert entry.pop("seconds") >= 0
    assert entry == {
        "id": "X1",
        "title": "a claim about nothing",
        "statement": "0 = 0",
        "assumptions": ["none"],
        "source": {"kind": "ours", "reference": "nothing"},
        "proven": True,
        "tolerance": 0.5,
        "why": "any",
        "verdict": "fails",
        "worst_error": None,
        "comparisons": [
            {
                "what": "statement",
                "measured": None,
                "predicted": 0.0,
                "error": None,
                "elements": 1,
                "mean_measured": None,
                "mean_predicted": 0.0,
                "mean_unit": 1.0,
            }
        ],
        "controls": [{"title": "a near-miss", "worst_error": 0.75, "rejected": True}],
    }


def test_on_a_terminal_what_does_not_hold_is_red_and_what_is_not_proven_says_so(claims, capsys, monkeypatch):
    good, bad = (
        dataclasses.replace(a_claim({"statement": error, "control": 0.75}), id=name, proven=error > 1)
        for name, error in (("X1", 0.25), ("X2", math.inf))
    )
    claims(good, bad)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    assert run(main, ["--only", "x1", "x2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (first,), (second,) = ([line for line in lines if name in line] for name in ("X1", "X2"))
    assert "\x1b[1;31m" in second
    assert "\x1b[1;31m" not in first
    for word in ("a claim about nothing (checked, not proven)", "2.5e-01", " 0.5 ", "1/1", "holds", "ours"):
        assert word in first
    assert "not proven" not in second


@pytest.mark.parametrize("width", [80, 120, 200])
def test_tables_and_texts_fit_the_width(width):
    """Of the real ledger: entries, list, what is printed of a claim before its numbers, proofs."""
    for claim in ledger():
        shown = dataclasses.replace(claim, check=a_claim({"statement": 0.1, "control": 0.9}).check)
        changes = {"which": "control"}
        shown = dataclasses.replace(
            shown, controls=tuple(dataclasses.replace(control, changes=changes) for control in claim.controls)
        )
        verdict = judge(shown)
        lines = [*command.table_row(verdict, width).splitlines(), *command.explanation(verdict, width)]
        below = list(command.tally([verdict], width))
        assert below[0] == ""  # between the table and what it means
        lines += [*below, *reflowed(proof_of(claim), width)]
        assert max(map(len, lines)) <= width, max(lines, key=len)
    assert max(len(line) for text in command.listed(ledger(), width) for line in text.splitlines()) <= width


def test_paragraphs_and_items_are_filled_and_formulas_stay():
    text = (
        "# A heading\n\nSome words of a\nparagraph, in two lines.\n\n$$a = b\n+ c$$\n\n"
        "- an item\n  of two lines\n- another\n1. first\n| a | table |\nWords\n    f(x) = x\nend"
    )
    assert list(reflowed(text, 30)) == [
        "# A heading",
        "",
        "Some words of a paragraph, in",
        "two lines.",
        "",
        "$$a = b",
        "+ c$$",
        "",
        "- an item of two lines",
        "- another",
        "1. first",
        "| a | table |",
        "Words",
        "    f(x) = x",
        "end",
    ]
    assert list(reflowed("- one two three four five", 12)) == ["- one two", "  three four", "  five"]
    assert list(reflowed("    a + b + c + d", 12)) == ["    a + b +", "      c + d"]


def test_options_start_from_those_given():
    given = Options(only=("S1",), explain=("P2",))
    assert parse(Options, [], "prog", default=given) == given
    assert parse(Options, ["--explain", "P3"], "prog", default=given) == dataclasses.replace(given, explain=("P3",))


def test_help_names_the_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        run(main, ["--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert printed.startswith("usage: python -m theory ")
    assert max(map(len, printed.splitlines())) <= 80


def test_explain_without_an_id_lists_the_claims(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(main, ["--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(IDS)]] == IDS
    assert lines[-1].startswith("python -m theory --explain ID")


def test_only_and_bad_usage(capsys, tmp_path):
    assert run(main, ["--only", "s1", "S3"]) == 0
    assert [line[:2] for line in capsys.readouterr().out.splitlines()[1:] if line[:1] == "S"] == ["S1", "S3"]
    for arguments, message in (
        (["--only", "Q7"], f"unknown claim 'Q7': choose from {', '.join(IDS)}"),
        (["--explain", "P33"], f"unknown claim 'P33': choose from {', '.join(IDS)}; did you mean 'P3'?"),
        (["--json", str(tmp_path / "no" / "x")], f"--json: {tmp_path / 'no'} is not a directory"),
        (["--explain", "P2", "--plot", str(tmp_path / "no" / "x.png")], f"--plot: {tmp_path / 'no'} is not a dir"),
        (["--plot", "x.png"], "--plot draws the picture of one claim: name it by --explain"),
        (["--explain", "P2", "P3", "--plot", "x.png"], "--plot draws the picture of one claim: name it by --explain"),
        (["--explain", "P2", "--plot", "x.doc"], "--plot must end in .png, .pdf, .svg; given x.doc"),
        (["--proof"], "--proof prints the proof of a claim: name it by --explain"),
        (["--explain", "--proof"], "--proof prints the proof of a claim: name it by --explain"),
        (["--explain", "P2", "--only", "P3"], "--explain and --only name claims for different purposes"),
        (["--explain", "--json", str(tmp_path / "x")], "--json writes what was checked"),
        (["--olny", "P2"], "Unrecognized options: --olny"),
        (["P2"], "P2: claims are named by --only P2 or --explain P2"),
    ):
        assert run(main, arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"error: {message}")
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_cannot_be_written_leaves_nothing(capsys, tmp_path):
    (tmp_path / "taken").mkdir()
    assert run(main, ["--only", "S1", "--json", str(tmp_path / "taken")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'taken'}: ")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_plot_writes_the_picture(tmp_path, capsys):
    path = tmp_path / "picture.png"
    assert run(main, ["--explain", "S1", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "Verdict: S1 holds" in capsys.readouterr().out


def test_the_picture_in_a_file_has_a_legend_and_no_box(monkeypatch, tmp_path):
    def picture(axes: Axes) -> None:
        axes.plot([0, 1], label="a curve")

    claim = dataclasses.replace(a_claim({"statement": 0.1, "control": 0.9}), picture=picture)
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: drawn.append((figure, options)))
    draw(claim, tmp_path / "picture.png")
    ((figure, options),) = drawn
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a curve"]
    assert not legend.get_frame_on()
    assert [name for name, spine in axes.spines.items() if spine.get_visible()] == ["left", "bottom"]
    assert (legend.get_texts()[0].get_size(), axes.xaxis.label.get_size()) == (7, 9)
    assert (*figure.get_size_inches(), options) == (6, 4, {"format": "png", "dpi": 150})
    assert isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)


def test_a_claim_without_a_picture_says_so(claims, tmp_path, capsys):
    claims(a_claim({"statement": 0.1, "control": 0.9}))
    assert run(main, ["--explain", "X1", "--plot", str(tmp_path / "x.png")]) == 2
    assert capsys.readouterr().err == "error: claim X1 has no picture\n"
    assert not list(tmp_path.iterdir())


def in_a_shell(line: str) -> subprocess.CompletedProcess[str]:
    script = f"set -o pipefail; {line.replace('python', sys.executable)}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.slow  # tests/test_every_command.py has all of theory before `head`
def test_a_reader_that_goes_away_is_no_error():
    done = in_a_shell("python -m theory --explain S1 | head -1")
    assert (done.stderr, done.stdout[:2]) == ("", "S1")


def test_help_needs_no_torch():
    script = (
        "import sys\nfrom theory.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit as stop: sys.exit(3 if 'torch' in sys.modules else stop.code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "--explain" in done.stdout) == (0, True)
    assert "python -m theory" in done.stdout


def test_pictures_load_matplotlib_and_claims_do_not():
    script = "import sys, theory.claims.ledger\nprint(*{'matplotlib', 'seaborn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
