"""Sweeps from end to end: the files, the cache, interruption, and a cluster whose worker is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests import sweeps
from tests.processes import Ended, Forked, forked, python
from theory.common import commandline
from theory.common import files as files_of
from toy.metrics import METRICS
from toy.sweep import __main__ as sweep
from toy.sweep import pool
from toy.sweep.verdicts import COLUMNS

Sweep = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sweep:
    """python -m tests.sweeps in this process, with one process, in a directory of its own."""
    for name in list(sweep.EXPERIMENTS):
        monkeypatch.delitem(sweep.EXPERIMENTS, name)
    for name, experiment in sweeps.EXPERIMENTS.items():
        monkeypatch.setitem(sweep.EXPERIMENTS, name, experiment)

    def command(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        where: list[str | Path] = ["--out", tmp_path / "out", "--cache", tmp_path / "cache", "--processes", "1"]
        status = commandline.run(sweep.main, list(map(str, [*where, *arguments])))
        return Ended(status, *capsys.readouterr())

    return command


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def test_tables(run: Sweep, tmp_path: Path) -> None:
    """Tidy and complete: each arm of each cell at one setting of its grid, each seed, each metric, once."""
    assert run("small", "--seeds", "3").status == 0
    assert set(files(tmp_path / "out")) == {"small.csv", "small.verdicts.csv", "small.json"}
    table = pd.read_csv(tmp_path / "out" / "small.csv")
    names = ["experiment", "cell", "d_steps", "arm", "every", "lr", "weight", "seed", "metric", "value"]
    assert list(table.columns) == names
    assert not table.duplicated(["cell", "arm", "every", "seed", "metric"]).any()
    arms = [("gan", 1), ("summed", 1), ("summed", 4)]
    wanted = {(n, *a, s, m) for n in (1, 2) for a in arms for s in (0, 1, 2) for m in METRICS}
    assert wanted <= set(table[["d_steps", "arm", "every", "seed", "metric"]].itertuples(index=False, name=None))
    settings = table[["cell", "arm", "every", "lr", "weight"]].drop_duplicates()
    assert len(settings) == 6
    assert set(settings.lr) <= set(sweeps.RATES)
    assert set(settings[settings.arm == "gan"].weight) == {0}
    assert set(settings[settings.arm != "gan"].weight) <= {0.01, 0.1}

    verdicts = pd.read_csv(tmp_path / "out" / "small.verdicts.csv")
    assert list(verdicts.columns) == ["cell", "arm", "every", *COLUMNS]
    assert len(verdicts) == 2 * 2 * 4
    row = verdicts.query("cell == '2 steps' and every == 4 and metric == 'mean_distance'").iloc[0]
    values = table.query("cell == '2 steps' and metric == 'mean_distance'").groupby(["arm", "every"]).value.mean()
    assert (row.arm, row.baseline) == ("summed", "gan")
    assert row["mean"] == pytest.approx(values["summed", 4], rel=1e-5)
    assert row["difference"] == pytest.approx(values["summed", 4] - values["gan", 1], rel=1e-3)
    facts = json.loads((tmp_path / "out" / "small.json").read_text())
    assert facts["command"].startswith("python -m toy.sweep")
    assert (facts["jobs"], facts["trained_now"], facts["lost"]) == (26, 26, [])


def test_tuned_by_the_rule_on_other_seeds(run: Sweep, tmp_path: Path) -> None:
    """The comparison's setting is the one of the least distance among the tuning jobs; no seed is in both."""
    run("small", "--seeds", "3", "--quick")
    jobs = [json.loads(text) for text, _ in files(tmp_path / "cache").values()]
    tuning = [job for job in jobs if job["task"]["seeds"] == [10_000, 10_001]]
    compared = [job["task"] for job in jobs if job not in tuning]
    assert (len(tuning), [task["seeds"] for task in compared]) == (10, [[0, 1, 2]] * 3)
    for task in compared:
        same = [job for job in tuning if job["task"]["config"] == task["config"] and job["task"]["arm"] == task["arm"]]
        assert len(same) == (2 if task["arm"] == "gan" else 4)
        means = [{m: sum(v) / len(v) for m, v in job["outcome"]["values"].items()} for job in same]
        least = min(
            m["mean_distance"] for m in means if m["total_variation"] <= min(x["total_variation"] for x in means) + 0.02
        )
        (chosen,) = (job for job, m in zip(same, means, strict=True) if m["mean_distance"] == least)
        assert chosen["task"]["options"] == task["options"]


def test_again_trains_nothing_and_writes_the_same(run: Sweep, tmp_path: Path) -> None:
    first = run("small", "--seeds", "3", "--quick")
    cache, tables = files(tmp_path / "cache"), files(tmp_path / "out")
    assert "to do: 0 s of CPU" in run("small", "--seeds", "3", "--plan", "--quick").out
    again = run("small", "--seeds", "3", "--quick")
    assert files(tmp_path / "cache") == cache
    for name in ("small.csv", "small.verdicts.csv"):
        assert (tmp_path / "out" / name).read_bytes() == tables[name][0]
    assert first.out.splitlines()[2:] == again.out.splitlines()[2:]  # below the plan and its source
    run("small", "--seeds", "4", "--quick")  # other stacks of seeds; the tuning stays
    assert len(files(tmp_path / "cache")) == len(cache) + 3


def test_plan_counts_and_runs_nothing(run: Sweep, tmp_path: Path) -> None:
    planned = run("small", "long", "--plan", "--quick")
    assert planned.status == 0
    small, long, both, source = planned.out.splitlines()
    assert small.startswith("small: 13 jobs, 0 done; to do: ")
    assert long.startswith("long: 13 jobs, 0 done; to do: ")
    assert both.startswith("all: 26 jobs, 0 done; to do: ")
    assert source == "times estimated from a short run"
    assert files(tmp_path / "cache") == {}
    assert not (tmp_path / "out").exists()
    run("small", "--quick")
    assert run("SMALL", "--plan", "--quick").out.startswith("small: 13 jobs, 13 done; to do: 0 s of CPU")


def test_measure(run: Sweep, tmp_path: Path) -> None:
    """A measured value of the finished samples: the mean norm, that the distance to the circle bounds."""
    assert run("measured", "--quick").status == 0
    table = pd.read_csv(tmp_path / "out" / "measured.csv").pivot(
        index=["arm", "every", "seed"], columns="metric", values="value"
    )
    assert table.radius.notna().all()
    assert ((table.radius - 1).abs() <= table.mean_distance + 1e-5).all()
    assert pd.read_csv(tmp_path / "out" / "measured.verdicts.csv").metric.unique().tolist() == ["radius"]


def test_a_rate_that_diverges_is_not_chosen(run: Sweep, tmp_path: Path) -> None:
    ended = run("diverging", "--quick")
    assert (ended.status, "lost" in ended.err) == (0, False)
    assert pd.read_csv(tmp_path / "out" / "diverging.csv").lr.unique().tolist() == [0.001]
    assert run("diverging", "--quick", "--plan").out.startswith("diverging: 13 jobs, 13 done")


def test_a_crashed_cell_is_reported_and_the_rest_goes_on(run: Sweep, tmp_path: Path) -> None:
    ended = run("broken", "--quick")
    assert ended.status == 1
    far, bad, last = [line for line in ended.err.splitlines() if "% done" not in line]
    assert far == "lost: broken: 1 steps: bounded: every setting of the grid diverged"
    assert bad.startswith("lost: broken: 1 steps: summed, dim 1: ValueError: "), bad
    assert last.startswith("error: 2 arms of cells were lost")
    kept = pd.read_csv(tmp_path / "out" / "broken.csv")[["arm", "every"]].drop_duplicates()
    assert list(kept.itertuples(index=False, name=None)) == [("gan", 1), ("summed", 1)]
    assert len(json.loads((tmp_path / "out" / "broken.json").read_text())["lost"]) == 2
    stored = [json.loads(text)["outcome"] for text, _ in files(tmp_path / "cache").values()]
    assert sum(outcome["failure"] is not None for outcome in stored) == 2  # what diverged; the crash is not stored


def test_a_measure_that_is_not_finite_is_a_crash(run: Sweep) -> None:
    ended = run("nan", "--quick")
    assert ended.status == 1
    assert "nan: 1 steps: gan: ValueError: tests.sweeps:nothing must give a finite radius for each seed" in ended.err


def test_two_commands_may_begin_in_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one removes the file that both try the directory with."""
    write = files_of.write

    def and_the_other(path: Path, data: bytes) -> None:
        write(path, data)
        path.unlink()

    monkeypatch.setattr(files_of, "write", and_the_other)
    sweep.check_writable(tmp_path)
    assert files(tmp_path) == {}


def test_a_damaged_file_of_the_cache_is_trained_again(run: Sweep, tmp_path: Path) -> None:
    run("small", "--quick")
    before = files(tmp_path / "out")["small.csv"][0]
    for path in list((tmp_path / "cache").iterdir())[:2]:
        path.write_bytes(path.read_bytes()[:100])
    assert run("small", "--quick").status == 0
    assert json.loads((tmp_path / "out" / "small.json").read_text())["trained_now"] == 2
    assert files(tmp_path / "out")["small.csv"][0] == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smal"], "unknown experiment 'smal': choose from small, long, .*did you mean 'small'"),
        ([], "name experiments, or all: small, "),
        (["small", "--seeds", "1"], "seeds must be at least 2, .*; given 1"),
        (["small", "--seeds", "10001"], "seeds must be .*at most 10000, where those of tuning begin; given 10001"),
        (
            ["idle"],
            "idle: flow: summed, latent 5: latent has no effect: a flow's z has the dimension of its samples; given 5",
        ),
        (["idle-key"], "idle-key: vae: gan: loss has no effect: generator vae is trained without .*; given hinge"),
        (["small", "--processes", "0"], "processes must be a whole number of at least 1; given 0"),
        (["small", "--seed", "3"], "did you mean --seeds"),
        (["small", "--out", "/dev/null/x"], "cannot write to /dev/null/x: Not a directory"),
        (["small", "--cache", "/dev/null/x"], "cannot write to /dev/null/x: Not a directory"),
        (["small", "--cluster", "nowhere"], "no dask scheduler answers at --cluster nowhere: "),
    ],
)
def test_bad_input(run: Sweep, arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert ended.status == 2
    assert re.match(f"error: .*{said}", ended.err), ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_no_scheduler_at_the_clusters_address(run: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, after a while, which is short here."""
    monkeypatch.setattr(pool, "ANSWER", 0.5)
    ended = run("small", "--cluster", "tcp://127.0.0.1:9")
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended
    assert ended.err.startswith("error: no dask scheduler answers at --cluster tcp://127.0.0.1:9: "), ended.err


LIGHT = """
import sys
from toy.sweep.__main__ import main
try:
    sys.exit(main(["--help"]))
finally:
    print("imported:", *sorted({"torch", "scipy", "pandas", "joblib", "distributed"} & set(sys.modules)))
"""


def test_help() -> None:
    """Names every experiment with its question, and imports nothing that is slow."""
    ended = python("-c", LIGHT)
    assert (ended.status, ended.err) == (0, "")
    text = " ".join(ended.out.split())
    for name, experiment in sweep.EXPERIMENTS.items():
        assert f"- {name}: {experiment.question}" in text
    assert ended.out.splitlines()[-1].strip() == "imported:"


LONG = ["long", "--quick", "--seeds", "6"]  # 16 jobs: tuning 10, comparison 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep that was not disturbed."""
    directory = tmp_path_factory.mktemp("whole")
    where: list[str | Path] = ["--out", directory / "out", "--cache", directory / "cache", "--processes", "2"]
    ended = forked("-m", "tests.sweeps", *LONG, *where)
    assert ended.status == 0, ended
    assert "\x1b" not in ended.out + ended.err
    return directory


def same_tables(a: Path, b: Path) -> bool:
    return all((a / "out" / n).read_bytes() == (b / "out" / n).read_bytes() for n in ("long.csv", "long.verdicts.csv"))


def test_another_process_count_gives_the_same_files(whole: Path, run: Sweep, tmp_path: Path) -> None:
    """Also of what is measured of the samples."""
    assert run(*LONG).status == 0
    assert "radius" in set(pd.read_csv(whole / "out" / "long.csv").metric)
    assert same_tables(whole, tmp_path)


def begin(*arguments: str | Path) -> Forked:
    """A sweep in a session of its own, as a terminal has it."""
    return Forked("-m", "tests.sweeps", *arguments)


def wait_for_jobs(directory: Path, count: int, process: Forked) -> None:
    """Until that many jobs are done, which must be before the end."""
    deadline = time.monotonic() + 600
    while len(list(directory.glob("*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_keeps_what_is_done(whole: Path, run: Sweep, tmp_path: Path) -> None:
    """One line, nothing half written; the same command goes on from there to the same tables."""
    where: list[str | Path] = ["--out", tmp_path / "out", "--cache", tmp_path / "cache", "--processes", "2"]
    with begin(*LONG, *where) as process:
        wait_for_jobs(tmp_path / "cache", 3, process)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    # progress; rarely loky's tracker, of a semaphore that is gone
    others = "% done", "resource_tracker", "  warnings.warn("
    (line,) = (line for line in said.splitlines() if not any(other in line for other in others))
    assert line == "error: interrupted; what is done is kept: the same command continues"
    kept = files(tmp_path / "cache")
    assert 3 <= len(kept) < 16
    assert all(json.loads(text)["outcome"]["values"] for text, _ in kept.values())
    assert list((tmp_path / "out").iterdir()) == []
    assert run(*LONG).status == 0
    assert kept.items() <= files(tmp_path / "cache").items()
    assert same_tables(whole, tmp_path)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a dask scheduler on this machine, its process and those of its two workers."""
    place = tmp_path / "scheduler.json"
    options = ["--no-dashboard", "--scheduler-file", place]
    worker = ["-m", "distributed.cli.dask_worker", *options, "--nthreads", "1", "--no-nanny", "--death-timeout", "300"]
    commands = [
        ["-m", "distributed.cli.dask_scheduler", *options, "--host", "127.0.0.1", "--port", "0"],
        worker,
        worker,
    ]
    with open(tmp_path / "dask.log", "w") as log:
        started = [subprocess.Popen([sys.executable, *map(str, c)], stdout=log, stderr=log) for c in commands]
        try:
            deadline = time.monotonic() + 300
            while Path(log.name).read_text().count("Starting established connection to tcp://") < 4:
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.1)
            yield json.loads(place.read_text())["address"], started
        finally:
            for process in started[::-1]:
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_worker_of_the_cluster_is_killed(
    whole: Path, scheduler: tuple[str, list[subprocess.Popen]], tmp_path: Path
) -> None:
    """Its job is done by the other one: the same tables, nothing lost, nothing twice."""
    address, (_, victim, survivor) = scheduler
    with begin(*LONG, "--cluster", address, "--out", tmp_path / "out", "--cache", tmp_path / "cache") as process:
        wait_for_jobs(tmp_path / "cache", 4, process)
        victim.kill()
        done = len(files(tmp_path / "cache"))
        out, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert done < 10  # in the midst of the tuning
    assert survivor.poll() is None
    assert same_tables(whole, tmp_path)
    assert set(files(tmp_path / "cache")) == set(files(whole / "cache"))
    assert out.startswith("long: 16 jobs, 0 done; ")
    assert json.loads((tmp_path / "out" / "long.json").read_text())["trained_now"] == 16


OWN = """
from theory.manifolds import Sphere
from torch.nn.functional import softplus

ring = Sphere(2, 0.7)
loss = (lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake))
"""


@pytest.mark.slow
def test_workers_of_a_cluster_run_the_user_s_file(
    scheduler: tuple[str, list[subprocess.Popen]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process of this machine does: the same numbers."""
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setenv("OWN", str(tmp_path / "own.py"))
    found = []
    for name, where in (("cluster", ["--cluster", scheduler[0]]), ("here", ["--processes", "1"])):
        places: list[str | Path] = ["--out", tmp_path / name, "--cache", tmp_path / f"{name}-cache"]
        ended = forked("-m", "tests.sweeps", "own", *where, *places)
        assert ended.status == 0, ended.err
        found.append((tmp_path / name / "own.csv").read_bytes())
    assert found[0] == found[1]
    assert len(found[0].splitlines()) > 10


def assert_ends_and_goes_on(process: Forked, why: str, where: list[str | Path]) -> None:
    """One line beside the progress, status 1, and the same command without the cluster ends well."""
    _, said = process.communicate(timeout=300)
    (line,) = (line for line in said.splitlines() if "% done" not in line)
    assert line == f"error: {why}; what is done is kept: the same command continues"
    assert process.returncode == 1
    assert forked("-m", "tests.sweeps", *LONG, *where, "--processes", "2").status == 0


@pytest.mark.slow
def test_the_scheduler_of_the_cluster_is_stopped(
    whole: Path, scheduler: tuple[str, list[subprocess.Popen]], tmp_path: Path
) -> None:
    """SIGTERM of it: one line, at the latest when the client has tried for ten seconds to reach it again. The same
    command goes on, here without a cluster, to the same tables."""
    address, (process_of_it, *_) = scheduler
    where: list[str | Path] = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    with begin(*LONG, "--cluster", address, *where) as process:
        wait_for_jobs(tmp_path / "cache", 3, process)
        process_of_it.terminate()
        assert_ends_and_goes_on(process, f"the cluster at {address} was lost: its scheduler went away", where)
    assert same_tables(whole, tmp_path)


@pytest.mark.slow
def test_the_workers_of_the_cluster_are_gone_for_longer_than_patience(
    whole: Path, scheduler: tuple[str, list[subprocess.Popen]], tmp_path: Path
) -> None:
    """Told in one line; with workers the same command goes on to the same tables."""
    address, (_, *workers) = scheduler
    where: list[str | Path] = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    with begin(*LONG, "--cluster", address, "--patience", "0.1", *where) as process:
        wait_for_jobs(tmp_path / "cache", 3, process)
        for worker in workers:
            worker.kill()
        assert_ends_and_goes_on(process, f"the cluster at {address} had no workers for 0.1 minutes (--patience)", where)
    assert same_tables(whole, tmp_path)
