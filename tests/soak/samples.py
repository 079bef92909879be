"""What the processes of a command hold, sampled while it runs, and how fast it grows."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from scipy import stats

from theory.common.errors import Failure

HELD = ("rss_mib", "handles", "threads", "shared_mib")
BLOCKS = 8  # of the second half; successive samples are alike, the means of blocks are nearly independent
END = 120.0  # seconds in which a command that is asked to stop must have ended
MIB = 1 << 20


class Ended(Failure):
    """A command that should run on, or stop when asked to, did not."""


def held(process: psutil.Process) -> dict[str, float]:
    """Of a process and all that it has started: resident and shared memory, open files, threads."""
    found = dict.fromkeys(HELD, 0.0)
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            memory = each.memory_info()
            now = memory.rss / MIB, each.num_fds(), each.num_threads(), _shared(each.pid)
            found = {name: found[name] + value for name, value in zip(HELD, now, strict=True)}
    return found


def _shared(pid: int) -> float:
    """Resident memory, in MiB, that is shared and no file's (RssShmem of proc(5))."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssShmem:"):
                return int(line.split()[1]) / 1024
    return 0.0


def soak(commands: Mapping[str, Sequence[str]], seconds: float, every: float, logs: Path) -> pd.DataFrame:
    """Runs the commands together for so long, then asks each to stop (SIGTERM).

    Args:
        every: seconds between two samples.
        logs: directory for what they print, NAME.log.

    Returns:
        A row a sample and command: seconds, command, and HELD.

    Raises:
        Ended: one ended before it was asked to, or not by SIGTERM when asked, or left a process.
    """
    rows = []
    with ExitStack() as stack:
        running = {}
        for name, command in commands.items():
            log = stack.enter_context(open(logs / f"{name}.log", "w"))
            running[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            stack.callback(_kill, running[name])
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            for name, process in running.items():
                if process.poll() is not None:
                    raise Ended(f"{name} ended after {now:.0f} s with status {process.returncode}: {_last(logs, name)}")
                rows.append({"seconds": round(now, 1), "command": name, **held(psutil.Process(process.pid))})
            time.sleep(max(0.0, every - (time.monotonic() - begun - now)))
        for process in running.values():
            process.terminate()
        for name, process in running.items():
            status = process.wait(END)
            if status not in (128 + signal.SIGTERM, -signal.SIGTERM):
                raise Ended(f"{name}, asked to stop, ended with status {status}: {_last(logs, name)}")
            if _alive(process.pid):
                raise Ended(f"{name} left a process")
    return pd.DataFrame(rows)


def _last(logs: Path, name: str) -> str:
    """The last line that a command said."""
    lines = (logs / f"{name}.log").read_text().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _alive(group: int) -> bool:
    """Whether a process of the group is, a moment later."""
    for _ in range(20):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def _kill(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Growth:
    """What was added from the first to the last sample of the second half, by a line fitted to it: 95 % interval."""

    value: float
    low: float
    high: float
    per_hour: float
    line: tuple[float, float]
    """(intercept, slope a second)."""


def growth(seconds: np.ndarray, values: np.ndarray) -> Growth:
    """Of what a command holds, over the second half of the time.

    The line is fitted to the means of BLOCKS blocks of samples, whose number is that of Student's t: a sample is like
    the one before it, and an interval from all of them would be too short.   [n], [n]

    Raises:
        ValueError: fewer than 2 samples a block.
    """
    second = seconds >= seconds[-1] / 2
    t, y = seconds[second], values[second]
    if len(t) < 2 * BLOCKS:
        raise ValueError(f"the second half needs at least {2 * BLOCKS} samples; given {len(t)}")
    parts = np.array_split(np.arange(len(t)), BLOCKS)
    means = np.array([[t[part].mean(), y[part].mean()] for part in parts])
    fit = stats.linregress(means[:, 0], means[:, 1])
    span = t[-1] - t[0]
    stderr = fit.stderr if np.ptp(means[:, 1]) else 0.0  # NaN where all are equal
    half = stats.t.ppf(0.975, BLOCKS - 2) * stderr * span
    value = fit.slope * span
    return Growth(value, value - half, value + half, 3600 * fit.slope, (float(fit.intercept), float(fit.slope)))
