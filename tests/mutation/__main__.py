"""Can the tests fail? `python -m tests.mutation` changes theory/ in small ways and counts how often pytest notices.

Each mutant is run in a child of a process that has imported what takes long, in a copy of the tree; the working tree
is never written to. It meets the tests that run the statement that changes, fastest first, until one fails. A mutant
that runs on for long, or asks for more than MEMORY, is killed too. The rate is that of a random sample, drawn from
every module in proportion to its mutants. Not judged are the tests and bench.py, whose output is times. What is not
changed in a module is said in operators.py.

With --claims only what the claims state is changed (statements.py), and a mutant is killed by the claim alone: its
comparisons exceed the tolerance, or a control passes. The rate is that of the claims' own checkers. Changes that leave
the statement true, such as another place to check it at, are listed in no_statement.csv; other tests may notice them.

Mutants that change nothing a test could notice are listed in equivalent.csv, each with the reason. They run
all the same, and are counted neither as killed nor as survivors; one that a test does notice is reported as stale.

Exit status: 0 if at least 90 % of the mutants are killed, 1 if not, 2 on bad usage.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from tests.mutation.operators import Mutant, mutants, with_probes
from tests.mutation.statements import of_statements
from theory.common.checks import choose, whole
from theory.common.commandline import parse, run, usage

ROOT = Path(__file__).parents[2]
WANTED = 0.9
MEMORY = 8 << 30  # bytes
SLOW = (  # to import
    *("torch", "scipy.integrate", "scipy.stats", "scipy.optimize", "numpy.testing", "pandas", "mpmath"),
    *("matplotlib.pyplot", "seaborn", "rich.progress", "rich.table", "tyro", "hypothesis", "jaxtyping", "beartype"),
)
NOT_JUDGED = ("bench.py",)
CLAIMS = "theory/claims/"
JUDGES = ("theory/tests/test_claims.py::test_claim", "theory/tests/test_claims.py::test_control_is_rejected")
EQUIVALENT = Path("tests", "mutation", "equivalent.csv")
NO_STATEMENT = Path("tests", "mutation", "no_statement.csv")

Outcome: TypeAlias = Literal["killed", "survived"]
Equivalent: TypeAlias = dict[tuple[str, str, str, str], str]  # a mutant's key and the reason
Item: TypeAlias = Any  # pytest.Item, of which the name, a string, is all that is asked


@dataclasses.dataclass(frozen=True)
class Options:
    """Change the theory's modules in small ways, and count how often the tests notice."""

    sample: int = 1000
    """How many mutants to run, drawn at random from every module in proportion to how many it has."""
    minutes: float = 25
    """Begin no mutant after this time; those run so far are a random sample too."""
    seed: int = 0
    """Of the draw."""
    all: bool = False
    """Run every mutant."""
    module: str | None = None
    """Change this module only: theory/levels.py."""
    processes: int = 2
    """How many mutants to run at a time."""
    claims: bool = False
    """Change what the claims state, and judge by the claims alone."""


def main(arguments: list[str], root: Path = ROOT) -> int:
    options = parse(Options, arguments, "python -m tests.mutation")
    with usage():
        paths = [path for path in modules(root) if not options.claims or path.startswith(CLAIMS)]
        if options.module is not None:
            paths = [choose(options.module, paths, "module")]
        for name, value in (("sample", options.sample), ("processes", options.processes)):
            whole(f"--{name}", value, least=1)
    os.nice(10)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        base = Path(directory)
        tree = base / "tree"
        shutil.copytree(root / "theory", tree / "theory")
        shutil.copy(root / "pyproject.toml", tree)
        changes = of_statements if options.claims else mutants
        found = [mutant for path in paths for mutant in changes(path, (tree / path).read_bytes())]
        equivalent = read_equivalent(root / EQUIVALENT, paths)
        if options.claims:  # the list is of all mutants: what is no mutant here is not stale
            equivalent = {mutant.key: equivalent[mutant.key] for mutant in found if mutant.key in equivalent}
            equivalent |= read_equivalent(root / NO_STATEMENT, paths)
        dice = random.Random(options.seed)
        chosen = draw(found, len(found) if options.all else options.sample, dice)
        minutes = math.inf if options.all else options.minutes
        record = recorded(base, modules(tree), JUDGES if options.claims else ("theory",))
        outcomes = outcomes_of(base, chosen, record, equivalent, options.processes, minutes)
    print(
        f"seed {options.seed}; {'what the claims state, judged by the claims alone' if options.claims else 'all tests'}"
    )
    return report(outcomes, found, equivalent, time.perf_counter() - start)


def modules(root: Path) -> list[str]:
    """The modules whose mutants count, as paths from the root: theory/levels.py."""
    paths = sorted((root / "theory").glob("**/*.py"))
    return [
        path.relative_to(root).as_posix() for path in paths if "tests" not in path.parts and path.name not in NOT_JUDGED
    ]


def draw(found: list[Mutant], size: int, dice: random.Random) -> list[Mutant]:
    """As many mutants at random, each module's share being that of its mutants, rounded; in random order."""
    by_module = sorted(dice.sample(found, len(found)), key=lambda mutant: mutant.path)  # shuffled within each
    step = max(1.0, len(found) / size)
    first = dice.random() * step
    chosen = by_module if step == 1 else [by_module[int(first + i * step)] for i in range(size)]
    return dice.sample(chosen, len(chosen))


# Which tests run which statement


@dataclasses.dataclass(frozen=True)
class Record:
    """What the tests of the unchanged tree do. A statement is a path and a line."""

    seconds: dict[str, float]
    """How long the processor works on each test, by its name."""
    tests: dict[tuple[str, int], set[str]]
    """The tests that run a statement."""
    imported: set[tuple[str, int]]
    """The statements that run before any test does."""
    named: Sequence[str] = ("theory",)
    """The tests that may judge: folders, files or names."""

    def relevant(self, mutant: Mutant) -> list[str]:
        """The tests that run the statement, fastest first. Where it ran as the tests were imported, or in none of them,
        also those that run the module at all, and those that run nothing, which look at what the import made."""
        place = (mutant.path, mutant.statement)
        run = self.tests.get(place, set())
        module: set[str] = set()
        if not run or place in self.imported:
            module = set(self.seconds).difference(*self.tests.values())
            module.update(*(tests for (path, _), tests in self.tests.items() if path == mutant.path))
        return [*sorted(run, key=self.seconds.__getitem__), *sorted(module - run, key=self.seconds.__getitem__)]

    def cost(self, mutant: Mutant) -> float:
        """The seconds of its relevant tests: of a survivor, all of them."""
        return sum(self.seconds[test] for test in self.relevant(mutant))


class Recorder:
    """A pytest plugin that notes the statements each test runs, and its seconds.

    Caches are emptied before each, but for neighbours that are given the same name: they share what is computed for it.
    The later ones are noted with the statements and the seconds of those before, as if each ran alone.
    """

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {"tests": {}}
        self.shared: tuple[str, Any] = ("", None)
        self.start = 0.0

    def pytest_collection_finish(self) -> None:
        self.notes["imported"] = sorted(statements())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Item) -> Generator[None, Any, Any]:
        call = getattr(item, "callspec", None)  # of a test with parameters
        shared = (item.nodeid.partition("::")[0], call.params.get("name") if call is not None else None)
        if shared[1] is None or shared != self.shared:
            self.begin()
        self.shared = shared
        result = yield
        self.notes["tests"][item.nodeid] = (time.process_time() - self.start, sorted(statements()))
        return result

    def begin(self) -> None:
        """Forget what was computed and noted."""
        for name, module in list(sys.modules.items()):
            if name.startswith("theory"):
                for value in vars(module).values():
                    if hasattr(value, "cache_clear"):
                        value.cache_clear()
        statements().clear()
        self.start = time.process_time()

    def pytest_sessionfinish(self) -> None:
        Path("record.json").write_text(json.dumps(self.notes))


def statements() -> set[tuple[str, int]]:
    return sys.__dict__.setdefault("statements", set())


def recorded(base: Path, paths: list[str], tests: Sequence[str]) -> Record:
    """The record of the tree with these tests (folders, files or names), of an earlier run if nothing changed since.

    Raises:
        RuntimeError: a test of the unchanged tree fails.
    """
    theory = base / "tree" / "theory"
    sources = sorted([*theory.glob("**/*.py"), *theory.glob("results/*")])
    content = hashlib.sha256(b"".join(source.name.encode() + source.read_bytes() for source in sources)).hexdigest()
    cache = Path(tempfile.gettempdir()) / f"theory-{'tests' if tests == ('theory',) else 'claims'}-{content[:16]}.json"
    if not cache.exists():
        print("recording which test runs which statement", flush=True)
        probed = base / "probed"
        shutil.copytree(base / "tree", probed, ignore=shutil.ignore_patterns("__pycache__"))
        for path in paths:
            (probed / path).write_text(with_probes(path, (probed / path).read_bytes()))
        demand_green(in_child(probed, tests, Recorder()), probed)
        shutil.copy(probed / "record.json", f"{cache}.{os.getpid()}")
        os.replace(f"{cache}.{os.getpid()}", cache)
    return dataclasses.replace(read_record(cache), named=tests)


def demand_green(child: int, tree: Path) -> None:
    """RuntimeError if the tests that a child runs fail: the tree is unchanged, so they would kill every mutant."""
    _, status = os.waitpid(child, 0)
    if verdict(status, tree / "log") == "killed":
        log = (tree / "log").read_text()[-4000:]
        raise RuntimeError(f"the tests fail on the unchanged tree, with {os.waitstatus_to_exitcode(status)}:\n{log}")


def read_record(path: Path) -> Record:
    notes = json.loads(path.read_text())
    tests: dict[tuple[str, int], set[str]] = {}
    for test, (_, places) in notes["tests"].items():
        for name, line in places:
            tests.setdefault((name, line), set()).add(test)
    seconds = {test: second for test, (second, _) in notes["tests"].items()}
    return Record(seconds, tests, {(name, line) for name, line in notes["imported"]})


# One mutant


class Selection:
    """A pytest plugin that keeps the tests named, in their order, and those that the mutant made; none may run long."""

    def __init__(self, tests: list[str], seconds: dict[str, float]) -> None:
        self.order = {test: i for i, test in enumerate(tests)}
        self.seconds = seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.order or item.nodeid not in self.seconds]
        items.sort(key=lambda item: self.order.get(item.nodeid, -1))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Item) -> None:
        limit(10 + 10 * self.seconds.get(item.nodeid, 0.0))


def limit(seconds: float) -> None:
    """End this process by SIGPROF after so many seconds of work, or by SIGALRM if it takes sixty times as long.

    What other processes do to the machine's speed changes the first by little.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 60 * seconds)


def in_child(tree: Path, files: Sequence[str], plugin: object) -> int:
    """Run pytest on files of a tree, or on tests named, in a child process; its id."""
    child = os.fork()
    if child:
        return child
    status = BROKEN
    try:
        os.chdir(tree)
        with open("log", "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        for name in [name for name in sys.modules if name.partition(".")[0] == "theory"]:
            del sys.modules[name]
        sys.path.insert(0, str(tree))
        os.environ["PYTHONPATH"] = str(tree)
        limit(IMPORT if isinstance(plugin, Selection) else 3600)
        quiet = ["-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        status = pytest.main(["-x", *quiet, "--basetemp", str(tree / "temporary"), *files], [plugin])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


IMPORT = 60  # seconds
BROKEN = 99  # no exit status of pytest: the child itself failed


def begin(base: Path, mutant: Mutant, record: Record) -> tuple[int, Path]:
    """Start the mutant's tests: the child's id, and its copy of the tree."""
    tree = Path(tempfile.mkdtemp(prefix="mutant-", dir=base))
    shutil.copytree(base / "tree", tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns("log", "temporary"))
    changed = tree / mutant.path
    changed.write_bytes(mutant.apply(changed.read_bytes()))
    for compiled in changed.parent.glob(f"__pycache__/{changed.stem}.*"):
        compiled.unlink()
    tests = record.relevant(mutant)
    files = sorted({test.partition("::")[0] for test in tests})
    named = files if files and tuple(record.named) == ("theory",) else record.named
    return in_child(tree, named, Selection(tests, record.seconds)), tree


def verdict(status: int, log: Path) -> Outcome:
    """What a child's wait status says of its mutant.

    Raises:
        RuntimeError: it says nothing of the mutant, since pytest did not get to run.
    """
    code = os.waitstatus_to_exitcode(status)
    if code in (pytest.ExitCode.USAGE_ERROR, BROKEN):
        text = log.read_text()
        if code == pytest.ExitCode.USAGE_ERROR and "\nERROR theory/" in text:
            return "killed"  # a file of tests cannot be imported, so that a test named is not found either
        raise RuntimeError("pytest did not run:\n" + text[-4000:])
    return "survived" if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else "killed"


def run_all(
    base: Path, chosen: list[Mutant], record: Record, processes: int, minutes: float = math.inf
) -> Iterator[tuple[Mutant, Outcome]]:
    """Each mutant with its outcome as it comes, as many at a time as there are processes."""
    end = time.perf_counter() + 60 * minutes
    waiting, running = list(reversed(chosen)), dict[int, tuple[Mutant, Path]]()
    try:
        while running or (waiting and time.perf_counter() < end):
            while waiting and len(running) < processes and time.perf_counter() < end:
                mutant = waiting.pop()
                child, tree = begin(base, mutant, record)
                running[child] = (mutant, tree)
            child, status = os.wait()
            mutant, tree = running.pop(child)
            yield mutant, verdict(status, tree / "log")
            shutil.rmtree(tree, ignore_errors=True)
    finally:
        for child in running:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def outcomes_of(
    base: Path, chosen: list[Mutant], record: Record, equivalent: Equivalent, processes: int, minutes: float
) -> list[tuple[Mutant, Outcome]]:
    """The outcomes of those mutants that the time allows, told with a bar on a terminal.

    Raises:
        RuntimeError: the tests chosen for a mutant fail on the unchanged tree.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    for name in SLOW:
        importlib.import_module(name)
    sys.dont_write_bytecode = False  # what does not change is compiled once, here
    os.waitpid(in_child(base / "tree", ["theory", "--collect-only"], Selection([], {})), 0)
    for mutant in sorted(chosen[:20], key=record.cost)[:CONTROLS]:
        source = (base / "tree" / mutant.path).read_bytes()
        unchanged = dataclasses.replace(mutant, replacement=source[mutant.start : mutant.end])
        child, copy = begin(base, unchanged, record)
        demand_green(child, copy)
        shutil.rmtree(copy)
    console = Console()
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    outcomes = []
    # No thread may draw the bar: a child forked while it holds a lock would wait for that lock for ever.
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        task = progress.add_task("Running the mutants", total=len(chosen))
        for mutant, outcome in run_all(base, chosen, record, processes, minutes):
            tell(mutant, outcome, equivalent.get(mutant.key))
            outcomes.append((mutant, outcome))
            progress.update(task, advance=1, refresh=True)
    return outcomes


CONTROLS = 3  # mutants that change nothing, of those whose tests are soon done


# What it says


def read_equivalent(file: Path, paths: Iterable[str]) -> Equivalent:
    """The reasons of the mutants that count as equivalent, by their keys."""
    if not file.exists():
        return {}
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    keyed = {(row["path"], row["scope"], row["original"], row["mutated"]): row["reason"] for row in rows}
    return {key: reason for key, reason in keyed.items() if key[0] in set(paths)}


def tell(mutant: Mutant, outcome: Outcome, reason: str | None) -> None:
    """Print a survivor, an equivalent mutant, or one that is wrongly called so."""
    if outcome == "killed" and reason is None:
        return
    what = "survived" if reason is None else "equivalent" if outcome == "survived" else "stale, for a test fails:"
    print(f"{what} {mutant.path}:{mutant.line} {mutant.scope}\n  - {mutant.original}\n  + {mutant.mutated}", flush=True)
    if reason is not None:
        print(f"    {reason}")


def report(outcomes: list[tuple[Mutant, Outcome]], found: list[Mutant], equivalent: Equivalent, seconds: float) -> int:
    """Print the table, the stale entries and the rate; the exit status."""
    from scipy.stats import binomtest

    counted = [(mutant, outcome) for mutant, outcome in outcomes if mutant.key not in equivalent]
    print_table(counted, found)
    for key in sorted(set(equivalent) - {mutant.key for mutant in found}):
        print(f"stale, for there is no such mutant: {key[0]} {key[1]}\n  - {key[2]}\n  + {key[3]}")
    if not counted:
        print("no mutant to judge")
        return 1
    killed = sum(outcome == "killed" for _, outcome in counted)
    interval = binomtest(killed, len(counted)).proportion_ci(0.95, method="wilson")
    print(
        f"killed {killed} of {len(counted)}: {killed / len(counted):.1%}, 95 % interval {interval.low:.1%} to "
        f"{interval.high:.1%} (Wilson); {len(outcomes) - len(counted)} equivalent besides; "
        f"{len(outcomes)} of {len(found)} mutants run in {seconds:.0f} s"
    )
    return 0 if killed >= WANTED * len(counted) else 1


def print_table(counted: list[tuple[Mutant, Outcome]], found: list[Mutant]) -> None:
    """A line a module: its mutants, and of those run and not equivalent how many were killed."""
    rows = []
    for path in sorted({mutant.path for mutant in found}):
        fates = [outcome for mutant, outcome in counted if mutant.path == path]
        killed = fates.count("killed")
        rate = f"{killed / len(fates):.0%}" if fates else ""
        of = sum(mutant.path == path for mutant in found)
        rows.append((path, str(of), str(len(fates)), str(killed), str(len(fates) - killed), rate))
    for row in (COLUMNS, *rows):
        print("{:38}{:>8}{:>6}{:>8}{:>10}{:>6}".format(*row))


COLUMNS = ("module", "mutants", "run", "killed", "survived", "rate")


if __name__ == "__main__":
    sys.exit(run(main))
