"""Two processes under torchrun are one process on the union of their batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")

STEPS = 20
PROGRAM = """
import dataclasses, os, sys
import torch
from images import test_trainer as parts
from images.parallel import joined
from images.trainer import Trainer

torch.set_num_threads(1)
recipe = dataclasses.replace(parts.TINY, penalty_every=2, every=4, micro=int(sys.argv[2]))


def networks(recipe):
    return tuple(network.float() for network in parts.networks(recipe))


class Data(parts.Noise):
    def take(self, which):
        images, labels = super().take(which)
        return images.float(), labels


with joined(torch.device("cpu")) as world:
    found = {}
    for coupling in ("paper", "decoupled"):
        trainer = Trainer(recipe, coupling, 3, networks, Data(), parts.score_model().float(), "cpu", world)
        losses = []
        for _ in range(int(sys.argv[3])):
            trainer.step()
            losses.append(dict(trainer.losses))
        found[coupling] = {"g": trainer.g.state_dict(), "d": trainer.d.state_dict(), "losses": losses}
    torch.save(found, f"{sys.argv[1]}-{world.rank}.pt")
"""


def trained(path: Path, processes: int, micro: int = 0) -> list[dict]:
    """What each process ended with."""
    program = path / "program.py"
    program.write_text(PROGRAM)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [
        *(run if processes > 1 else [sys.executable]),
        str(program),
        str(path / f"of-{processes}"),
        str(micro),
        str(STEPS),
    ]
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return [torch.load(path / f"of-{processes}-{rank}.pt", weights_only=True) for rank in range(processes)]


def test_two_processes_are_one(tmp_path: Path) -> None:
    """20 steps with 10 lazy penalties and 5 score terms, in float32; the second two processes train as one bit."""
    (alone,) = trained(tmp_path, 1)
    first, second = trained(tmp_path, 2)
    for coupling, wanted in alone.items():
        for network in ("g", "d"):
            for name, value in wanted[network].items():
                found = first[coupling][network][name]
                assert torch.equal(found, second[coupling][network][name]), name  # both hold the same parameters
                torch.testing.assert_close(found, value, rtol=0, atol=1e-6, msg=f"{coupling} {network} {name}")
        for found, value in zip(first[coupling]["losses"], wanted["losses"], strict=True):
            assert found == pytest.approx(value, abs=1e-6, rel=1e-5)
    moved = alone["paper"]["g"]["out.weight"] - alone["decoupled"]["g"]["out.weight"]
    assert moved.abs().max() > 1e-5  # a control: the arms differ by more than the tolerance
