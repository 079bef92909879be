"""The mutation run can fail: where tests see nothing it says so, and what it calls equivalent or stale is."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.mutation.__main__ import EQUIVALENT as LISTED
from tests.mutation.__main__ import JUDGES, Record, Recorder, draw, limit, main, modules, verdict
from tests.mutation.operators import Mutant, mutants, with_probes
from tests.mutation.statements import SETTINGS, of_statements
from theory.common.commandline import run

ROOT = Path(__file__).parents[2]
CLAMP = "def {name}(x, low=0.0):\n    return max(x, low)\n"
BLIND = "from theory.blind import blind\n\ndef test_it_runs():\n    blind(1.0)\n"
SEEING = """
import pytest
from theory.seen import seen

@pytest.mark.parametrize(("x", "wanted"), [(2.0, 2.0), (-1.0, 0.0)])
def test_values(x, wanted):
    assert seen(x) == wanted
"""
EQUIVALENT = """path,scope,original,mutated,reason
theory/blind.py,blind,"def blind(x, low=0.0):","def blind(x, low=1.0):",the first reason
theory/seen.py,seen,"return max(x, low)","return min(x, low)",the second
theory/seen.py,seen,return x,return y,the third
"""


@pytest.mark.slow
def test_what_it_says_of_a_tree_with_and_without_tests(tmp_path):
    """Two modules, alike but for their tests: those of one see everything, those of the other run the lines."""
    (tmp_path / "theory" / "tests").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "blind.py": CLAMP.format(name="blind"),
        "seen.py": CLAMP.format(name="seen"),
        "tests/test_blind.py": BLIND,
        "tests/test_seen.py": SEEING,
    }.items():
        (tmp_path / "theory" / name).write_text(text)
    (tmp_path / LISTED).parent.mkdir(parents=True)
    (tmp_path / LISTED).write_text(EQUIVALENT)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    script = (
        "import pathlib, sys\nfrom tests.mutation import __main__ as mutants\n"
        "mutants.SLOW = ()\nsys.exit(mutants.main(['--all'], pathlib.Path(sys.argv[1])))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # where the record is kept, too
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    words = [line.split() for line in done.stdout.splitlines()]
    assert ["theory/blind.py", "3", "2", "0", "2", "0%"] in words
    assert ["theory/seen.py", "3", "2", "2", "0", "100%"] in words
    for lines in (
        "survived theory/blind.py:2 blind\n  - return max(x, low)\n  + return min(x, low)\n",
        "equivalent theory/blind.py:1 blind\n  - def blind(x, low=0.0):\n  + def blind(x, low=1.0):\n    the first",
        "stale, for a test fails: theory/seen.py:2 seen\n  - return max(x, low)\n  + return min(x, low)\n    the se",
        "stale, for there is no such mutant: theory/seen.py seen\n  - return x\n  + return y\n",
        "killed 2 of 4: 50.0%, 95 % interval 15.0% to 85.0% (Wilson); 2 equivalent besides; 6 of 6 mutants run in ",
    ):
        assert lines in done.stdout


def changes(source: str) -> list[str]:
    """What the lines that change become, mutant by mutant."""
    return [mutant.mutated for mutant in mutants("theory/x.py", source.encode())]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("y = a + b", ["y = a - b"]),
        ("y = a * b ** 2", ["y = a / b ** 2", "y = a * (b * 2)", "y = a * b ** 3"]),
        ("y = ρ.min(x[..., -1])", ["y = ρ.max(x[..., -1])", "y = ρ.min(x[..., -2])"]),
        ("y = -1.0 - x", ["y = 1.0 - x", "y = -2.0 - x", "y = -1.0 + x"]),
        ("y = 0 < a <= b", ["y = 1 < a <= b", "y = 0 <= a <= b", "y = 0 >= a <= b", "y = 0 < a < b", "y = 0 < a > b"]),
        ("y = a and not b", ["y = a or not b", "y = a and b"]),
        ("y = 0.5 if a else b", ["y = 1.5 if a else b", "y = (-0.5) if a else b", "y = 0.5 if (not a) else b"]),
        ("y = True", ["y = False"]),
        ("y: Float[T, '1 + 1'] = f(a, k=1)", ["y: Float[T, '1 + 1'] = f(a, k=2)"]),
        ("y = f'{1 + 1}' + a", []),
        ("__all__ = [1]", []),
        ("Y: TypeAlias = 1 | 2", []),
        ("y = zip(a, b, strict=True)", []),
        ("if TYPE_CHECKING:\n    y = 1", []),
        ('"""1 + 1"""', []),
    ],
)  # fmt: skip
def test_what_changes_in_a_line(source, wanted):
    assert changes(source) == wanted


def test_what_changes_in_a_function():
    source = (
        "def f(x):\n    x = g(x, keepdim=True)\n    z = x\n    if z:\n        raise E(1)\n    x[0] += z\n    return z"
    )
    assert changes(source) == [
        "pass",
        "x = g(x)",
        "x = g(x, keepdim=False)",
        "if (not z):",
        "pass",
        "pass",
        "x[1] += z",
        "x[0] -= z",
        "return None",
    ]


def all_mutants() -> list[Mutant]:
    return [mutant for path in modules(ROOT) for mutant in mutants(path, (ROOT / path).read_bytes())]


def test_what_draws_is_not_changed():
    source = "def picture(axes: Axes) -> None:\n    axes.plot(1, 2)\n\ndef check(x: float = 2.0):\n    return x"
    assert changes(source) == ["def check(x: float = 3.0):", "def check(x: float = (-2.0)):", "return None"]


STATED = """
def law(k):
    root = k / 4
    return root**3

def measure(n):
    return n / 7

def grid(n):
    return n * 2

def check_it(factor: float = 2.0):
    places = (0.5, 8)
    shift, rest = grid(6), measure(5)
    yield compare("a law of 4", measure(9) + 1, factor * law(3) + shift)
"""


def test_what_a_claim_states_is_the_predicted_side_and_what_it_is_made_of():
    """Not how it is measured, nor where."""
    found = {mutant.mutated for mutant in of_statements("theory/claims/x.py", STATED.encode())}
    assert found == {
        "root = k * 4",
        "root = k / 4.4",
        "return (root*3)",
        "return root**3.3",
        "def check_it(factor: float = 2.2):",
        "def check_it(factor: float = (-2.0)):",
        "shift, rest = grid(6.6), measure(5)",
        'yield compare("a law of 4", measure(9) + 1, factor / law(3) + shift)',
        'yield compare("a law of 4", measure(9) + 1, factor * law(3.3) + shift)',
        'yield compare("a law of 4", measure(9) + 1, factor * law(3) - shift)',
    }


def test_every_group_of_claims_states_something():
    for path in (path for path in modules(ROOT) if path.startswith("theory/claims/")):
        source = (ROOT / path).read_bytes()
        assert bool(of_statements(path, source)) == (b"CLAIMS" in source and b"Claim(" in source), path


def test_settings_are_functions_of_the_claims():
    """Each is still there."""
    sources = [(ROOT / path).read_text() for path in modules(ROOT) if path.startswith("theory/claims/")]
    assert [name for name in SETTINGS if not any(f"\ndef {name}(" in source for source in sources)] == []


def test_those_that_judge_claims_are_tests():
    for judge in JUDGES:
        path, _, name = judge.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text()


def test_every_mutant_of_a_module_is_a_program_that_differs():
    path = "theory/divergences.py"
    source = (ROOT / path).read_bytes()
    programs = [ast.dump(ast.parse(mutant.apply(source))) for mutant in mutants(path, source)]
    assert len(set(programs)) == len(programs) > 100
    assert ast.dump(ast.parse(source)) not in programs


def test_the_sample_has_every_module_in_its_proportion():
    found = all_mutants()
    chosen = draw(found, 500, random.Random(0))
    assert len(set(chosen)) == len(chosen) == 500
    for path in modules(ROOT):
        share = sum(mutant.path == path for mutant in found) * 500 / len(found)
        assert abs(sum(mutant.path == path for mutant in chosen) - share) < 1 + 1e-9
    assert set(draw(found, len(found) + 1, random.Random(0))) == set(found)
    assert chosen != draw(found, 500, random.Random(1))


def test_probes_note_what_runs():
    source = (
        '"""A module."""\nfrom __future__ import annotations\ndef f(x):\n    if x:\n        return 1\n    return 2\n'
    )
    source += "f(1)"
    exec(compile(with_probes("x.py", source.encode()), "x.py", "exec"), {})
    assert {line for path, line in sys.__dict__.pop("statements") if path == "x.py"} == {3, 4, 5, 7}


def test_neighbours_of_one_name_are_noted_with_what_they_share(monkeypatch):
    """Statement n runs in the n-th test; the caches are emptied where the name or the file changes."""
    monkeypatch.setitem(sys.__dict__, "statements", set())
    recorder, emptied = Recorder(), []
    monkeypatch.setattr(recorder, "begin", lambda: (emptied.append(1), sys.__dict__["statements"].clear()))
    tests = [
        ("a::s[P1]", "P1"),
        ("a::c[P1]", "P1"),
        ("a::s[P2]", "P2"),
        ("b::s[P2]", "P2"),
        ("b::t", None),
        ("b::u", None),
    ]
    for n, (test, name) in enumerate(tests):
        call = {} if name is None else {"callspec": SimpleNamespace(params={"name": name})}
        running = recorder.pytest_runtest_protocol(SimpleNamespace(nodeid=test, **call))
        next(running)
        sys.__dict__["statements"].add(("x.py", n))
        with pytest.raises(StopIteration):
            running.send(None)
    noted = {test: [line for _, line in places] for test, (_, places) in recorder.notes["tests"].items()}
    assert list(noted.values()) == [[0], [0, 1], [2], [3], [4], [5]]
    assert len(emptied) == 5


def test_relevant_tests_come_fastest_first():
    record = Record(
        {"slow": 2.0, "fast": 1.0, "near": 0.1, "far": 0.0, "looks": 0.5},
        {("x.py", 2): {"slow", "fast"}, ("x.py", 3): {"near"}, ("y.py", 1): {"far"}},
        {("x.py", 1)},
    )
    for line, wanted in (
        (2, ["fast", "slow"]),
        (3, ["near"]),
        (1, ["near", "looks", "fast", "slow"]),
        (9, ["near", "looks", "fast", "slow"]),
    ):
        mutant = Mutant("x.py", "", line, 0, 0, b"", line, "", "")
        assert record.relevant(mutant) == wanted
        assert record.cost(mutant) == pytest.approx(sum(record.seconds[test] for test in wanted))


def test_who_runs_on_is_killed_and_who_cannot_run_is_an_error(tmp_path):
    child = os.fork()
    if not child:
        limit(0.05)
        while True:
            pass
    _, status = os.waitpid(child, 0)
    assert verdict(status, tmp_path) == "killed"
    assert [verdict(code << 8, tmp_path) for code in (0, 1, 2, 5)] == ["survived", "killed", "killed", "survived"]
    (tmp_path / "log").write_text("why")
    with pytest.raises(RuntimeError, match="pytest did not run:\nwhy"):
        verdict(4 << 8, tmp_path / "log")
    (tmp_path / "log").write_text(
        "E\nERROR theory/tests/test_claims.py - TypeError\nERROR: found no collectors for a\n"
    )
    assert verdict(4 << 8, tmp_path / "log") == "killed"  # what is imported raises


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--module", "theory/level.py"], "unknown module 'theory/level.py': choose from"),
        (["--sample", "0"], "--sample must be a whole number of at least 1; given 0"),
        (["--claims", "--module", "theory/levels.py"], "unknown module 'theory/levels.py': choose from theory/claims/"),
        (["--proceses", "2"], "Unrecognized options: --proceses"),
    ],
)
def test_bad_usage(capsys, arguments, message):
    assert run(main, arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
