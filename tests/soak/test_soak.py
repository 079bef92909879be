"""The soak sees a leak, and passes what is flat."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.soak.__main__ import judge, main
from tests.soak.samples import BLOCKS, Ended, growth, soak
from theory.common.commandline import run

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

# Stand-ins: each holds 50 MiB; `more` is done every 20 ms
STAND_IN = """
import mmap, os, threading, time
held = [bytearray(b"x" * (50 << 20))]
while True:
    time.sleep(0.02)
    {more}
"""
LEAKS = {
    "nothing": "held[0][0] ^= 1",
    "memory": "held.append(bytearray(b'x' * (1 << 20)))",
    "handles": "held.append(open(os.devnull))",
    "threads": "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
    "shared": "held.append(mmap.mmap(-1, 1 << 20)); held[-1].write(b'x' * (1 << 20))",
}


@pytest.mark.parametrize(
    "what", ["nothing", "memory", *(pytest.param(what, marks=pytest.mark.slow) for what in list(LEAKS)[2:])]
)
def test_a_leak_is_seen(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 seconds of a process that holds more and more, or always the same: the one that leaks is refused by name."""
    command = [sys.executable, "-c", STAND_IN.format(more=LEAKS[what])]
    table = soak({"stand-in": command}, 4, 0.05, tmp_path)
    assert judge(table, 16.0, tmp_path / "soak.png") == (what != "nothing")
    err = capsys.readouterr().err
    title = {"memory": "memory, MiB", "handles": "open files", "threads": "threads", "shared": "shared memory, MiB"}
    assert (f"stand-in, {title.get(what)}" in err) == (what != "nothing"), err
    assert (tmp_path / "soak.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_sweep_is_sampled(tmp_path: Path) -> None:
    """A real one, for seconds: it is asked to stop and leaves nothing behind."""
    where = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "jobs"), "--processes", "1"]
    command = [sys.executable, "-m", "tests.sweeps", "long", "--quick", "--seeds", "100", *where]
    table = soak({"sweep": command}, 6, 0.1, tmp_path)
    assert table.rss_mib.max() > 30
    assert table.handles.min() >= 3


def test_a_command_that_ends_is_no_soak(tmp_path: Path) -> None:
    with pytest.raises(Ended, match=r"^short ended after \d s with status 3: gone$"):
        soak({"short": [sys.executable, "-c", "print('gone'); raise SystemExit(3)"]}, 5, 0.1, tmp_path)


def test_the_intervals_hold_what_they_say() -> None:
    """Successive samples are alike (AR(1), coefficient 0.5) and flat. Of 400 seeded intervals at most 9 % miss 0; 5 %
    should, with a standard error of 1.1 %. Intervals from single samples miss it in a quarter."""
    t, missed = np.arange(360) * 5.0, 0
    rng = np.random.default_rng(0)
    for _ in range(400):
        y = np.zeros(360)
        for i in range(1, 360):
            y[i] = 0.5 * y[i - 1] + rng.normal()
        found = growth(t, y)
        missed += not found.low <= 0 <= found.high
    assert missed <= 36, missed


def test_growth_is_that_of_the_second_half() -> None:
    t = np.arange(100.0)
    found = growth(t, np.where(t < 50, 10 * t, 500 + 0.25 * t))
    assert found.value == pytest.approx(0.25 * 49)
    assert found.per_hour == pytest.approx(900)
    with pytest.raises(ValueError, match=f"at least {2 * BLOCKS} samples; given 10"):
        growth(np.arange(20.0), np.zeros(20))


def test_committed_samples_are_flat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).with_name("soak.csv")
    (tmp_path / "soak.csv").write_bytes(path.read_bytes())
    assert run(main, ["--read", "--out", str(tmp_path)]) == 0, capsys.readouterr()
    table = pd.read_csv(path)
    assert table.seconds.max() > 60 * 29
    table.loc[table.command == "images", "rss_mib"] += 2 * table.seconds / 60
    table.to_csv(tmp_path / "soak.csv", index=False)
    assert run(main, ["--read", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: not shown to be flat: images, memory, MiB\n"
