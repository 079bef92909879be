"""python -m toy.bench: what a run costs and what it reaches, as JSON.

Times are of this machine now; shares and ratios are measured interleaved in one process, and compare across machines.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch

from theory.commandline import UsageError, parse
from toy.config import Arm, Config
from toy.statistics import ratio
from toy.trainer import Trainer
from toy.worker import prepare_process

SEEDS, BATCH, ROUNDS = 16, 128, 9


def lean(width: int) -> Config:
    """The plainest run: two hidden layers, non-saturating, no penalty."""
    return Config(
        loss="non-saturating", layers=2, width=width, batch=BATCH, d_steps=1, d_ahead=0, seeds=SEEDS, steps=10**6
    ).with_arm("gan", Arm(1e-3))


def flops(config: Config, data: int) -> int:
    """Floating point operations (multiply-adds x 2) of the matrix products that a D step and a G step of a seed need:
    forward; weight gradients; input gradients where used; nothing recomputed; no penalties."""
    hidden = [config.width] * config.layers
    g, d, b = [config.latent, *hidden, data], [data, *hidden, 1], config.batch

    def products(widths: list[int]) -> int:
        return 2 * b * sum(i * o for i, o in pairwise(widths))

    inner_d, inner_g = products(d) - 2 * b * data * config.width, products(g) - 2 * b * config.latent * config.width
    discriminator_step = products(g) + 2 * (2 * products(d) + inner_d)  # fakes; real and fake: forward, dW, dh
    generator_step = 2 * products(g) + inner_g + 2 * products(d)  # G: forward, dW, dh; D: forward, dx
    return discriminator_step + generator_step


def matmul_rate(width: int) -> Callable[[], float]:
    """Times bmm([S, B, H], [S, H, H]); returns FLOP/s."""
    h, w = torch.randn(SEEDS, BATCH, width), torch.randn(SEEDS, width, width)
    out = torch.empty_like(h)

    def measure(repeats: int = 50) -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            torch.bmm(h, w, out=out)
        return repeats * 2 * SEEDS * BATCH * width**2 / (time.perf_counter() - began)

    measure()
    return measure


def share(width: int) -> dict[str, float]:
    """The trainer's rate (all 16 seeds, every random number, optimiser and average included) over that of bmm."""
    config = lean(width)
    trainers = [Trainer(config, "gan", seeds) for seeds in config.seed_groups()]
    rate, work, steps = matmul_rate(width), SEEDS * flops(config, trainers[0].law.dim), 2560 // width
    shares = []
    for round_ in range(ROUNDS + 1):
        before = rate()
        began = time.perf_counter()
        for trainer in trainers:
            for _ in range(steps):
                trainer.step()
        achieved = steps * work / (time.perf_counter() - began)
        if round_:  # the first warms up
            shares.append(achieved / statistics.mean((before, rate())))
    return {"median": statistics.median(shares), "low": min(shares), "high": max(shares)}


def count_steps(seconds: float, barrier: Barrier, out: Any) -> None:
    """In a process of its own: how many steps of a stack of seeds per second, begun with the others."""
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
    """Runs python with these arguments; wall seconds and, where /proc tells, peak memory of all its processes."""
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
    """Runs a preset; its cost, and each arm's metrics as ratios to and differences from the GAN's."""
    with tempfile.TemporaryDirectory() as directory:
        cost = whole_process("-m", "toy.run", "--preset", preset, "--out", directory, "--overwrite")
        summary = json.loads((Path(directory) / "summary.json").read_text())
    found: dict[str, Any] = dict(cost)
    for arm in ("smart", "smart-decoupled"):
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
    "share_width_64": lambda: share(64),
    "share_width_128": lambda: share(128),
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


def main() -> int:
    try:
        options = parse(Options, None, "python -m toy.bench")
        unknown = set(options.only) - set(PARTS)
        if unknown:
            raise UsageError(f"unknown part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    prepare_process()
    print(json.dumps({name: PARTS[name]() for name in options.only}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
