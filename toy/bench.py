"""python -m toy.bench: what a run costs and what it reaches, as JSON.

Times are of this machine now; shares and ratios are measured interleaved in one process. A share depends on the
processor: where matrix products are fast, all else counts more. Its instructions are printed as "processor".
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from theory.common.checks import choose
from theory.common.commandline import parse, run, usage
from theory.common.statistics import ratio
from toy.config import LOSSES, Arm, Config
from toy.jobs.worker import prepare_process, trainer_of
from toy.training.draws import CHUNK
from toy.training.games import GAMES
from toy.training.gan import Trainer, Trains

SEEDS, BATCH, ROUNDS = 16, 128, 9

# Of what adds no second backward pass the share of the processor is measured; of the rest, what a step costs.
PLAIN: dict[str, dict[str, Any]] = {
    **{loss: {"loss": loss} for loss in LOSSES},
    "spectral": {"regulariser": "spectral"},
    "instance-noise": {"regulariser": "instance-noise", "gamma": 0.1},
}
COSTLY: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("gan", {"regulariser": name}) for name in ("r1", "r2", "r1-r2", "gradient-penalty")},
    **{f"term {name}": ("summed", {"term": name}) for name in ("full", "detached", "matching")},
    "term full, every 8th step": ("summed", {"every": 8}),
    "term full, decoupled": ("decoupled", {}),
    **{f"generator {name}": ("gan", {"generator": name}) for name in ("vae", "flow")},
}
ROWS, SETTINGS = 128, 16
SEARCHED: dict[str, tuple[str, dict[str, Any]]] = {
    "summed": ("summed", {}),
    "decoupled": ("decoupled", {}),
    "summed, R1, ring in R^32": ("summed", {"dim": 32, "regulariser": "r1"}),
}


def lean(width: int, **changes: Any) -> Config:
    """The plainest run: two hidden layers, non-saturating, no regulariser."""
    plain = Config(
        loss="non-saturating", layers=2, width=width, batch=BATCH, d_steps=1, d_ahead=0, seeds=SEEDS, steps=10**6
    )
    return replace(plain.with_arm("gan", Arm(1e-3)), **changes)


def flops(config: Config, data: int) -> int:
    """Floating point operations (multiply-adds x 2) of the matrix products that a D step and a G step of a seed need:
    forward; weight gradients; input gradients where used; nothing recomputed; no penalties, no power iterations."""
    hidden = [config.width] * config.layers
    g, d, b = [config.latent, *hidden, data], [data, *hidden, 1], config.batch

    def products(widths: list[int]) -> int:
        return 2 * b * sum(i * o for i, o in pairwise(widths))

    inner_d, inner_g = products(d) - 2 * b * data * config.width, products(g) - 2 * b * config.latent * config.width
    discriminator_step = products(g) + 2 * (2 * products(d) + inner_d)  # fakes; real and fake: forward, dW, dh
    generator_step = 2 * products(g) + inner_g + 2 * products(d)  # G: forward, dW, dh; D: forward, dx
    on_real = products(d) if GAMES[config.loss].uses_real else 0
    return discriminator_step + generator_step + on_real


def matmul_rate(width: int) -> Callable[[], float]:
    """Times bmm([S, B, H], [S, H, H]); returns FLOP/s."""
    h, w = torch.randn(SEEDS, BATCH, width), torch.randn(SEEDS, width, width)
    out = torch.empty_like(h)

    def measure(repeats: int = 50) -> float:
        return repeats * 2 * SEEDS * BATCH * width**2 / timed(lambda: torch.bmm(h, w, out=out), repeats)

    measure()
    return measure


def shares(width: int) -> dict[str, dict[str, float]]:
    """The trainer's rate (all 16 seeds, every random number, optimiser and average included) over that of bmm, of
    each of PLAIN in turn."""
    configs = {name: lean(width, **changes) for name, changes in PLAIN.items()}
    trainers = {name: [Trainer(c, "gan", seeds) for seeds in c.seed_groups()] for name, c in configs.items()}
    rate, steps = matmul_rate(width), 2560 // width
    found: dict[str, list[float]] = {name: [] for name in configs}
    for round_ in range(ROUNDS + 1):
        before = rate()
        for name, config in configs.items():
            seconds = sum(timed(trainer.step, steps) for trainer in trainers[name])
            achieved = steps * SEEDS * flops(config, trainers[name][0].law.dim) / seconds
            before, earlier = rate(), before
            if round_:  # the first warms up
                found[name].append(achieved / statistics.mean((earlier, before)))
    return {name: spread(values) for name, values in found.items()}


class Kernels(TorchDispatchMode):
    """Microseconds of each call of a kernel, by its name and the shapes of its first arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[float]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        began = time.perf_counter()
        out = function(*args, **(kwargs or {}))
        took = 1e6 * (time.perf_counter() - began)
        shapes = [list(a.shape) for a in args if isinstance(a, torch.Tensor)]
        self.calls.setdefault(f"{str(function).removeprefix('aten.')} {shapes}", []).append(took)
        return out


def profile(width: int) -> dict[str, Any]:
    """Where the time of a plain step of a stack of seeds goes, in microseconds: the whole, the matrix products at the
    rate of bmm, and the kernels that take most, calls a step times the median call. What a small kernel has here is
    mostly the time of measuring it."""
    config = lean(width)
    group = config.seed_groups()[0]
    trainer = Trainer(config, "gan", group)
    timed(trainer.step, CHUNK)
    whole = statistics.median(timed(trainer.step, CHUNK) / CHUNK for _ in range(ROUNDS))
    products = len(group) * flops(config, trainer.law.dim) / matmul_rate(width)()
    with Kernels() as kernels:
        for _ in range(CHUNK):
            trainer.step()
    totals = {name: statistics.median(calls) * len(calls) / CHUNK for name, calls in kernels.calls.items()}
    largest = dict(sorted(totals.items(), key=lambda item: -item[1])[:16])
    return {"seeds": len(group), "step": 1e6 * whole, "products": 1e6 * products, "kernels": largest}


def stacks(width: int) -> dict[str, dict[str, float]]:
    """Microseconds of processor time of a seed's plain step in stacks of so many seeds, interleaved."""
    trainers = {str(seeds): Trainer(lean(width), "gan", range(seeds)) for seeds in (2, 4, 8, 16, 32)}
    found: dict[str, list[float]] = {seeds: [] for seeds in trainers}
    for round_ in range(ROUNDS + 1):
        for seeds, trainer in trainers.items():
            seconds = timed(trainer.step, CHUNK) / CHUNK / int(seeds)
            if round_:
                found[seeds].append(1e6 * seconds)
    return {seeds: spread(values) for seeds, values in found.items()}


def costs(width: int) -> dict[str, dict[str, float]]:
    """The time of a generator step and its discriminator step over that of the plain one, for each of COSTLY in turn;
    one stack of seeds."""
    plain = lean(width)
    group = plain.seed_groups()[0]
    steppers: dict[str, Trains] = {"plain": trainer_of(plain, "gan", group)}
    for name, (arm, changes) in COSTLY.items():
        steppers[name] = trainer_of(lean(width, **changes), arm, group)
    steps = 2560 // width
    found: dict[str, list[float]] = {name: [] for name in COSTLY}
    for round_ in range(ROUNDS + 1):
        for name in COSTLY:  # each beside a plain one
            seconds = timed(steppers[name].step, steps)
            if round_:
                found[name].append(seconds / timed(steppers["plain"].step, steps))
    return {name: spread(values) for name, values in found.items()}


def rows(width: int) -> dict[str, dict[str, Any]]:
    """Seed-steps a second of processor time with the score term, of one stack of ROWS rows, SETTINGS on each of its
    seeds, and over those of stacks of one setting on 256 / width seeds with the term's gradient by autograd: the way
    before rows had settings of their own. Interleaved."""
    found: dict[str, dict[str, Any]] = {}
    before = os.getloadavg()[0]  # over a minute, of all cores
    for name, (arm, changes) in SEARCHED.items():
        config = lean(width, **changes)
        settings = [replace(config.arm(arm), lr=1e-4 * 1.2**i, d_lr=2e-4 * 1.2**i) for i in range(SETTINGS)]
        seeds = list(range(ROWS // SETTINGS))
        together = Trainer(config, arm, seeds * SETTINGS, [one for one in settings for _ in seeds])
        alone = Trainer(config, arm, range(max(1, 256 // width)))
        alone.term.closed_form = False
        rates: dict[str, list[float]] = {"rows": [], "before": []}
        for round_ in range(ROUNDS + 1):
            for key, trainer, steps in (("rows", together, CHUNK), ("before", alone, 3 * CHUNK)):
                seconds = timed(trainer.step, steps)
                if round_:
                    rates[key].append(steps * len(trainer.seeds) / seconds)
        ratios = [new / old for new, old in zip(*rates.values(), strict=True)]
        found[name] = {"over_before": spread(ratios), **{key: spread(values) for key, values in rates.items()}}
    return {**found, "load": {"before": before, "after": os.getloadavg()[0]}}


def timed(function: Callable[[], Any], repeats: int) -> float:
    """Seconds of processor time: of this process alone, which has one thread."""
    began = time.process_time()
    for _ in range(repeats):
        function()
    return time.process_time() - began


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def count_steps(seconds: float, barrier: Barrier, out: Any) -> None:
    """In a process of its own: puts the steps per second of a stack of seeds into `out`; begins with the others."""
    prepare_process()
    config = lean(64)
    trainer = Trainer(config, "gan", config.seed_groups()[0])
    for _ in range(50):
        trainer.step()
    barrier.wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        trainer.step()
        count += 1
    out.put(count / (time.perf_counter() - began))


def steps_a_second(processes: int, seconds: float = 3.0) -> float:
    """The rate of that many processes together."""
    context = multiprocessing.get_context("spawn")
    barrier, out = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=count_steps, args=(seconds, barrier, out)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    rates = [out.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def two_processes() -> float:
    """The rate of two processes over that of one; median of interleaved pairs."""
    return statistics.median(steps_a_second(2) / steps_a_second(1) for _ in range(3))


def memory(root: int) -> int:
    """Bytes that a process and its descendants hold (proportional set size: shared pages are counted once)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    tree, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in tree} - tree
        tree, grown = tree | more, bool(more)
    total = 0
    for pid in tree:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total


def whole_process(*arguments: str) -> dict[str, float]:
    """Wall seconds of python with these arguments and, where there is /proc, peak memory of all its processes."""
    began, peak, done = time.perf_counter(), 0, threading.Event()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            peak = max(peak, memory(process.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    if Path("/proc/self/smaps_rollup").exists():
        watcher.start()
    status = process.wait()
    seconds = time.perf_counter() - began
    done.set()
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {status}")
    return {"seconds": seconds, "peak_memory_mb": peak / 2**20}


def reached(preset: str) -> dict[str, Any]:
    """The cost of a run of a preset, and each arm's metrics as ratios to and differences from the GAN's."""
    with tempfile.TemporaryDirectory() as directory:
        cost = whole_process("-m", "toy.run", "--preset", preset, "--out", directory, "--overwrite")
        summary = json.loads((Path(directory) / "summary.json").read_text())
    found: dict[str, Any] = dict(cost)
    for arm in ("summed", "decoupled"):
        entry: dict[str, Any] = {}
        for metric in ("off_manifold", "mean_distance"):
            over = ratio(*(summary["arms"][name][metric]["per_seed"] for name in (arm, "gan")))
            entry[f"{metric}_over_gan"] = {name: float(value) for name, value in over._asdict().items()}
        for metric in ("off_manifold", "mean_distance", "coverage", "total_variation", "w2"):
            entry[f"{metric}_minus_gan"] = summary["comparisons"][metric][f"{arm} - gan"]
        found[arm] = entry
    found["means"] = {
        arm: {metric: value["mean"] for metric, value in metrics.items()} for arm, metrics in summary["arms"].items()
    }
    return found


PARTS: dict[str, Callable[[], Any]] = {
    "help": lambda: statistics.median(whole_process("-m", "toy.run", "--help")["seconds"] for _ in range(3)),
    "share_width_64": lambda: shares(64),
    "share_width_128": lambda: shares(128),
    "cost_width_64": lambda: costs(64),
    "rows_width_32": lambda: rows(32),
    "stacks": lambda: {f"width {width}": stacks(width) for width in (32, 64, 128)},
    "profile": lambda: {f"width {width}": profile(width) for width in (32, 64, 128)},
    "two_processes_over_one": two_processes,
    "saturated": lambda: reached("saturated"),
    "healthy": lambda: reached("healthy"),
    "lazy": lambda: reached("lazy"),
}


@dataclass(frozen=True)
class Options:
    """Measure what a run costs and what it reaches; prints JSON."""

    only: tuple[str, ...] = tuple(PARTS)
    """Which parts."""


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, "python -m toy.bench")
        names = [choose(name, PARTS, "part") for name in options.only]
    prepare_process()
    processor = {"processor": torch.backends.cpu.get_cpu_capability()}
    print(json.dumps(processor | {name: PARTS[name]() for name in names}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
