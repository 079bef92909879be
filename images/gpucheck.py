"""python -m images.gpucheck: what a machine with one GPU shows in some minutes, kept as gpucheck.json and gpucheck.png.

    tests       the tests marked cuda: passed, failed, skipped
    recipes     a step of D and of G of every recipe at full size: seconds, peak memory, both over `images.plan`
    unets       both U-Nets in bfloat16 against float32: relative error of eps, ratio of times
    toy         python -m toy.run --device cuda
    training    fashion, or photos, for the rest of the time: losses, samples

Each part is a process with a limit of time: what fails or is stopped takes no other part along. The files are written
anew, whole, after every result, so that a killed run keeps what it has. The command to commit a result of:

    python -m images.gpucheck --minutes 9 --out images/results

Exit status: 0 done, whatever the parts say; 1 there is no GPU, or anything else; 2 bad usage.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from images.recipes import NAMES, RECIPES
from theory.common.checks import choose, positive
from theory.common.commandline import parse, run, usage
from theory.common.files import write_json
from theory.common.provenance import commit

PROG = "python -m images.gpucheck"
SHARES = {"tests": 0.2, "recipes": 0.4, "unets": 0.1, "toy": 0.1}
"""Part -> the share of the time that it may take; what is left over is the training's."""
LAST = 5.0  # seconds for the end
PLANNING = 60.0  # seconds that the recipes wait for their plan
LOADED = ["images.bench.gpuparts"]  # once, for all processes


@dataclass(frozen=True)
class Options:
    """Run the cuda tests, a step of every recipe, both U-Nets in bf16, toy, and a short training on one GPU."""

    minutes: float = 9.0
    """Of all parts together."""
    out: Path = Path("runs/gpucheck")
    """Directory of gpucheck.json and gpucheck.png."""
    recipes: tuple[str, ...] = NAMES
    """Those that take a step."""
    device: str = "cuda"
    """cuda; or cpu, with --tiny, to try the script itself."""
    tiny: bool = False
    """Tiny networks and images: for trying the script."""

    def __post_init__(self) -> None:
        positive("minutes", self.minutes)
        object.__setattr__(self, "device", choose(self.device, ("cuda", "cpu"), "device"))
        names = tuple(choose(name, NAMES, "recipe") for name in self.recipes)
        object.__setattr__(self, "recipes", tuple(sorted(names, key=tuple(RECIPES).index)))
        if self.device == "cpu" and not self.tiny:
            raise ValueError("device cpu is for trying the script, with --tiny: full sizes would take hours")


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    check = Check(options, context)
    if told := check.all():
        print(f"not run: {told}", file=sys.stderr)
    return int(bool(told))


@dataclass
class Check:
    """One run; `found` is the content of gpucheck.json."""

    options: Options
    context: Any
    found: dict[str, Any] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)

    def all(self) -> str:
        """Runs all parts; why nothing was run, or an empty text."""
        from images.bench.gpuparts import Given, planned

        options = self.options
        given = Given(options.device, options.tiny, options.out, options.recipes)
        told = self.part("device", given, 120.0, self.found)
        if "device" not in self.found:
            return "needs a GPU" if told == "done" else told
        options.out.mkdir(parents=True, exist_ok=True)
        self.found |= {"minutes": options.minutes, "tiny": options.tiny, "commit": commit(), "parts": {}}
        with self.context.Pool(min(len(options.recipes), os.cpu_count() or 1)) as pool:
            plans = {name: pool.apply_async(planned, (name,)) for name in options.recipes if not options.tiny}
            self.timed("tests", self.tests)
            self.timed("recipes", lambda limit, found: self.recipes(given, plans, limit, found))
        self.timed("unets", lambda limit, found: self.part("unets", given, limit, found))
        self.timed("toy", self.toy)
        left = 60 * options.minutes - (time.monotonic() - self.start) - LAST
        training = replace(given, seconds=max(1.0, left - LAST))
        self.timed("training", lambda limit, found: self.part("training", training, limit, found), max(left, LAST))
        return ""

    def timed(self, name: str, part: Callable[[float, dict[str, Any]], str], limit: float | None = None) -> None:
        """Runs a part; its results, what became of it, and its seconds are kept."""
        start = time.monotonic()
        found: dict[str, Any] = {"status": "killed"}
        self.found["parts"][name] = found
        results: dict[str, Any] = {}
        found["found"] = results
        try:
            status = part(limit or SHARES[name] * 60 * self.options.minutes, results)
        except subprocess.TimeoutExpired as error:
            status = f"stopped after {error.timeout:.0f} s"
        except Exception as error:
            status = f"failed: {type(error).__name__}: {error}".splitlines()[0]
        found |= {"status": status, "seconds": round(time.monotonic() - start, 1)}
        self.save()
        print(f"{name}: {status} ({found['seconds']} s)", flush=True)

    def save(self) -> None:
        if "parts" in self.found:
            write_json(self.options.out / "gpucheck.json", self.found)

    def part(self, name: str, given: Any, limit: float, found: dict[str, Any]) -> str:
        """What became of a part of `images.bench.gpuparts` in a process of its own; its results are put into found."""
        here, there = self.context.Pipe(duplex=False)
        process = self.context.Process(target=child, args=(name, given, there))
        process.start()
        there.close()
        end = time.monotonic() + limit
        try:
            while here.poll(max(0.0, end - time.monotonic())):
                key, value = here.recv()
                if key is None:
                    return str(value)
                found[key] = value
                self.save()
            return f"stopped after {limit:.0f} s"
        except EOFError:
            process.join()
            return f"failed: the process ended with status {process.exitcode}"
        finally:
            process.kill()
            process.join()

    def recipes(self, given: Any, plans: dict[str, Any], limit: float, found: dict[str, Any]) -> str:
        """Recipe by recipe; if the process ends early, the next one goes on behind the recipe that ended it."""
        end = time.monotonic() + limit
        known: dict[str, Any] = {}
        for name, plan in plans.items():
            wait = min(PLANNING, limit / 2) - (time.monotonic() - end + limit)
            try:
                known[name] = plan.get(max(0.0, wait))
            except multiprocessing.TimeoutError:
                continue
        while left := tuple(name for name in given.names if name not in found):
            todo = replace(given, names=left, plans=known)
            status = self.part("recipes", todo, max(0.0, end - time.monotonic()), found)
            if status == "done" or status.startswith("stopped"):
                return status
            ended = next((name for name in left if name not in found), left[-1])
            found.setdefault(ended, {"failed": status})
        return "done"

    def tests(self, limit: float, found: dict[str, Any]) -> str:
        """pytest's counts, and a line of each failure."""
        root = Path(__file__).parents[1]
        files = [path for path in sorted(root.glob("*/tests/test_*.py")) if "mark.cuda" in path.read_text()]
        if not files:
            return "there are no tests here: an installed package has none"
        command = [sys.executable, "-m", "pytest", "-m", "cuda", "-rf", "--tb=no", "-p", "no:cacheprovider"]
        told = output([*command, *map(str, files)], root, limit)
        if "No module named pytest" in told:
            return "pytest is not installed"
        lines = told.splitlines()
        counts = re.findall(r"(\d+) (passed|failed|skipped|deselected|errors?)", lines[-1] if lines else "")
        found |= {name: int(count) for count, name in counts}
        found["failures"] = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR"))]
        return "done" if counts else f"failed: {lines[-1][:300] if lines else 'nothing printed'}"

    def toy(self, limit: float, found: dict[str, Any]) -> str:
        """python -m toy.run with its defaults on the device."""
        if self.options.tiny:
            return "not run: tiny"
        root = Path(__file__).parents[1]
        with tempfile.TemporaryDirectory() as directory:
            start = time.monotonic()
            command = [sys.executable, "-m", "toy.run", "--device", self.options.device, "--out", directory]
            told = output(command, root, limit)
            found |= {"seconds": time.monotonic() - start, "printed": told.splitlines()[-8:]}
            return "done" if (Path(directory) / "summary.json").exists() else "failed: it has written no summary"


def child(name: str, given: Any, pipe: Connection) -> None:
    """In the process of a part: sends its results, and then (None, what became of it)."""
    from images.bench import gpuparts

    try:
        for found in getattr(gpuparts, name)(given):
            pipe.send(found)
        pipe.send((None, "done"))
    except Exception as error:
        pipe.send((None, f"failed: {gpuparts.told(error)}"))


def output(command: list[str], where: Path, limit: float) -> str:
    """What a command prints.

    Raises:
        TimeoutExpired: it took longer than the limit, and was ended.
    """
    done = subprocess.run(
        command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, check=False
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(run(main))
