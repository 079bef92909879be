"""Damaged files of every kind that is read back: each is refused in a line, gives the same bits, or is made again.

500 files of each kind, by a seeded generator; a part of them in every run of the tests, all of them with -m slow.
`python -m tests.test_damaged_files` prints the table.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import damage
from tests.readers import AGAIN, KINDS, Kind
from theory.common.commandline import run
from theory.common.files import checksum
from theory.common.logs import HEADER, Table

SEED, SOME, ALL = 20261130, 4, 500
SECONDS, MEMORY = 10, 1 << 30  # of a processor, and bytes, that a file may take
LONGEST = 300  # characters of an answer


class Late(BaseException):
    """Raised in a reader that takes too long; no reader catches it."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """SECONDS of the processor and MEMORY more than now."""

    def late(*_: object) -> None:
        raise Late(f"more than {SECONDS} seconds")

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status")
    if status.exists():
        now = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, ((int(now.split()[1]) << 10) + MEMORY, hard))
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def answer(kind: Kind, directory: Path, sound: object) -> tuple[str, str]:
    """(refused, same, again, other or failed; what was said or raised)."""
    found: list[object] = []
    heard = io.StringIO()

    def main(_: list[str]) -> int:
        found.append(kind.read(directory))
        return 0

    try:
        with (
            limited(),
            contextlib.redirect_stderr(heard),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            status = run(main, [])
    except (Exception, Late) as error:
        return "failed", f"{type(error).__name__}: {error}"
    lines = heard.getvalue().splitlines() + [str(warning.message) for warning in warned]
    said = "\n".join(lines).replace(str(directory), "DIR")
    if status:
        clear = len(lines) == 1 and said.startswith("error: ") and "out of memory" not in said
        return ("refused" if clear and said.isprintable() and len(said) < LONGEST else "failed"), said
    if found == [AGAIN] or (lines and found == [sound]):
        return ("again" if len(lines) == 1 and "again" in said and len(said) < LONGEST else "failed"), said
    return ("same" if found == [sound] else "other"), said


def fuzzed(name: str, directory: Path, count: int, seed: int = SEED) -> tuple[Counter[str], list[str]]:
    """How many answers there are of each sort, and what was wrong: a line a file."""
    torch.set_num_threads(1)
    kind, made, here = KINDS[name], directory / "sound", directory / "damaged"
    made.mkdir()
    kind.make(made)
    shutil.copytree(made, here)
    sound = kind.read(here)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    targets = [(path.relative_to(made), breaker) for what, breaker in kind.broken.items() for path in made.glob(what)]
    for number in range(count):
        rng = random.Random(f"{seed} {name} {number}")
        where, breaker = targets[number % len(targets)]
        shutil.rmtree(here)
        shutil.copytree(made, here)
        (here / where).write_bytes(breaker((made / where).read_bytes(), rng))
        outcome, said = answer(kind, here, sound)
        counts[outcome] += 1
        if outcome == "failed" or (outcome == "other" and kind.sealed):
            wrong.append(f"{name} {number}, {where}: {outcome}: {said[:400]}")
    return counts, wrong


@pytest.mark.parametrize("name", KINDS)
def test_some_damaged_files(name: str, tmp_path: Path) -> None:
    counts, wrong = fuzzed(name, tmp_path, SOME)
    assert not wrong, "\n".join(wrong)
    assert counts.total() == SOME


# Cases that were found: tracebacks, or other numbers without a word

Change = Callable[[Any], object]


def values(change: Change) -> Callable[[bytes], bytes]:
    """A checkpoint or network with its content changed, and a checksum that is right."""

    def changed(data: bytes) -> bytes:
        content = torch.load(io.BytesIO(data), weights_only=True)["content"]
        change(content)
        return damage.saved({"sha256": checksum(content), "content": content})

    return changed


def of_job(change: Change) -> Callable[[bytes], bytes]:
    return values(lambda content: change(content["jobs"]["gan 0-1"]))


def members(**values: Any) -> Callable[[bytes], bytes]:
    """A file of JSON with these values in its first level."""
    return lambda data: json.dumps(json.loads(data) | values).encode()


def put(container: Any, key: Any, value: Any) -> None:
    container[key] = value


def text(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new, 1)


def flipped(data: bytes) -> bytes:
    """A bit of the largest record."""
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        largest = max(whole.infolist(), key=lambda record: record.file_size)
    at = largest.header_offset + 200
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


TOY, IMAGES = "toy: checkpoint, checksum right", "images: checkpoint, checksum right"
CONFIG, DEEP = "toy: config.json", b"[" * 100_000
FOUND: list[tuple[str, str, Callable[[bytes], bytes], str]] = [
    (TOY, "step -5", of_job(lambda job: put(job["trainer"], "at", -5)), "step -5 of 6"),
    (TOY, "step 7", of_job(lambda job: put(job["trainer"], "at", 7)), "step 7 of 6"),
    (TOY, "step NaN", of_job(lambda job: put(job["trainer"], "at", float("nan"))), "trainer.at is of type float"),
    (
        TOY,
        "no moments",
        of_job(lambda job: job["trainer"]["update"].pop("adam")),
        "trainer.update lacks or adds 'adam'",
    ),
    (TOY, "doubles", of_job(lambda job: put(job["trainer"], "g", job["trainer"]["g"].double())), "g is float64 "),
    (TOY, "one number", of_job(lambda job: put(job["trainer"], "g", job["trainer"]["g"][:1])), "g is float32 [1], not"),
    (TOY, "a record", of_job(lambda job: put(job["records"], 0, (0, "w2", [1.0]))), "a record[2] has 1 parts, not 2"),
    (TOY, "a picture", of_job(lambda job: put(job["picture"], "x", 1.0)), "'x' in picture is no tensor"),
    (TOY, "no job", values(lambda content: put(content["jobs"], "gan 0-1", 3)), "it must hold records, picture and"),
    (
        TOY,
        "tensors",
        values(lambda content: put(content["config"], "dim", torch.ones(2))),
        "more than numbers and names",
    ),
    (CONFIG, "a flag", members(seeds=True), "seeds must be a whole number of at least 1; given True"),
    (CONFIG, "no whole number", members(steps=40.0), "steps must be a whole number of at least 1; given 40.0"),
    (CONFIG, "1e39", members(steps=1e39), "steps must be a whole number of at least 1; given 1e+39"),
    (CONFIG, "16.0", members(width=16.0), "width must be a whole number of at least 1; given 16.0"),
    (CONFIG, "too many", members(seeds=10**6), "seeds must be at most 100000; given 1000000"),
    (CONFIG, "10^400", members(low=10**400), "low must be a finite number; given 1000"),
    (CONFIG, "long", members(loss="x" * 5000), "unknown loss 'xxx"),
    (CONFIG, "1e999", text(b'"low": 0.05', b'"low": 1e999'), "1e999 is no number of JSON"),
    (CONFIG, "twice", text(b"{", b'{"steps": 6, '), "'steps' stands twice"),
    (CONFIG, "deep", lambda _: b'{"steps": ' + DEEP, "nested too deeply"),
    (CONFIG, "empty", lambda _: b"{}", "it lacks or adds arms, batch, beta1 and "),
    ("toy: metrics.csv", "no text", lambda _: b"\xff\xfe\n", ""),
    ("toy: metrics.csv", "no step", text(b",3,", b",x,"), ""),
    ("toy.sweep: cache entry", "a digit", text(b"0.1", b"0.2"), "is damaged: it is computed again"),
    (
        "toy.sweep: cache entry",
        "no number",
        text(b'"seconds": 1.5', b'"seconds": "a"'),
        "is damaged: it is computed again",
    ),
    ("toy.search: cache entry", "a digit", text(b"0.1", b"0.2"), "is damaged: it is computed again"),
    ("toy.search: tables", "a row twice", lambda data: data + data.splitlines(keepends=True)[-1], "stands twice"),
    ("toy.search: tables", "a row cut", lambda data: data[:-5], "its last row is not whole"),
    ("toy.sweep: tables", "no numbers", text(b",off_manifold,", b",off_manifold,x"), "column 'value' holds more than"),
    ("figures: results", "no numbers", text(b",off_manifold,", b",off_manifold,x"), "holds more than numbers in value"),
    (
        IMAGES,
        "step -5",
        values(lambda content: put(content["trainer"], "at", -5)),
        "at must be a whole number of at least",
    ),
    (
        IMAGES,
        "10^400",
        values(lambda content: put(content["trainer"]["losses"], "d_loss", 10**400)),
        "of other networks",
    ),
    (IMAGES, "no seed", values(lambda content: content.pop("seed")), "it lacks or adds seed"),
    (
        IMAGES,
        "a record",
        values(lambda content: put(content["records"], 0, [1, "x"])),
        "a record is no [step, metric, ",
    ),
    ("images: cached classifier", "a bit", flipped, "it is trained again"),
    (
        "images: reference, its bytes",
        "no count",
        lambda data: data.replace(b"count.npy", b"counu.npy"),
        "; wanted: arr_0, mu",
    ),
    (
        "images: samples, their bytes",
        "no labels",
        lambda data: data.replace(b"arr_1.npy", b"arr_3.npy"),
        "; wanted: arr_0, ",
    ),
    ("points: npy", "a bracket", lambda data: data.replace(b"}", b"{"), "is no .npy file of numbers: "),
    ("images: cached score model", "a bit", flipped, "it is trained again"),
    ("images: cached digits classifier", "a bit", flipped, "it is trained again"),
    ("images.table: evaluations", "text", members(values={"FID": "2.5"}), "FID must be a finite number; given '2.5'"),
]


@pytest.mark.parametrize(("name", "what", "breaks", "says"), FOUND, ids=[f"{name}, {what}" for name, what, *_ in FOUND])
def test_found(name: str, what: str, breaks: Callable[[bytes], bytes], says: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    kind.make(tmp_path)
    sound = kind.read(tmp_path)
    (path, *_) = [path for where in kind.broken for path in tmp_path.glob(where)]
    data = path.read_bytes()
    path.write_bytes(breaks(data))
    assert path.read_bytes() != data
    outcome, said = answer(kind, tmp_path, sound)
    assert outcome == ("same" if not says else "again" if "again" in said else "refused"), said
    assert says in said


def test_a_damaged_npz_of_a_run_is_one_line(tmp_path: Path) -> None:
    kind = KINDS["images.publish: a run"]
    kind.make(tmp_path)
    path = tmp_path / "samples.npz"
    path.write_bytes(path.read_bytes()[:-30])
    outcome, said = answer(kind, tmp_path, None)
    assert outcome == "refused", said


def test_a_table_that_is_damaged_while_a_run_stood_still(tmp_path: Path) -> None:
    """The resumed run writes metrics.csv again, of the checkpoint."""
    kind = KINDS[TOY]
    kind.make(tmp_path)
    table = Table(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_bytes(b"arm,seed,step,metric,value\ngan,0,zero,w2,1\n\xff")
    table.begin()
    table("gan", (0, 1), [(0, "w2", [0.5, 0.25])])
    assert (tmp_path / "metrics.csv").read_text() == f"{HEADER}\ngan,0,0,w2,0.5\ngan,1,0,w2,0.25\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_all_damaged_files(name: str, tmp_path: Path) -> None:
    counts, wrong = fuzzed(name, tmp_path, ALL)
    assert not wrong, "\n".join(wrong[:20])
    assert counts.total() == ALL


def main(names: list[str]) -> None:
    """Prints a row a kind."""
    columns = ("refused", "same", "again", "other", "failed")
    print(f"seed {SEED}".ljust(45), "tried", *(f"{column:>8}" for column in columns), " seconds", flush=True)
    for name in names or KINDS:
        with tempfile.TemporaryDirectory() as directory:
            begun = time.monotonic()
            counts, wrong = fuzzed(name, Path(directory), ALL)
        row = (f"{counts[column]:8}" for column in columns)
        print(f"{name:45} {counts.total():5}", *row, f"{time.monotonic() - begun:8.0f}", flush=True)
        for line in wrong[:8]:
            print("   ", line.replace("\n", " | "), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
