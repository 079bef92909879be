"""Two processes, told of each other as by torchrun, are one process on the union of their batches."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from tests.processes import Forked

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")

PROGRAM = """
import dataclasses, sys
from pathlib import Path
import numpy as np
import torch
from images.sample import Options, samples
from images.tests import test_biggan as biggan
from images.tests import test_stylegan2 as styles
from images.tests import test_trainer as parts
from images.training.parallel import joined
from images.training.trainer import Trainer

torch.set_num_threads(1)
recipe = dataclasses.replace(parts.TINY, penalty_every=2, every=4)
single, draw = torch.Tensor.float, Trainer.draw


class Single(parts.Noise):
    def take(self, which):
        x, labels = super().take(which)
        return x.to(torch.float32), labels


def in_double():
    torch.Tensor.float = lambda self: self
    Trainer.draw = lambda self, *given: draw(self, *given).double()


with joined(torch.device("cpu")) as world:
    found = {}
    in_double()
    for coupling in ("summed", "own-step", "decoupled", "bounded"):
        trainer = Trainer(recipe, coupling, 3, parts.networks, parts.Noise(), parts.score_model(), "cpu", world)
        losses = []
        for _ in range(12):
            trainer.step()
            losses.append(dict(trainer.losses))
        found[coupling] = {"g": trainer.g.state_dict(), "d": trainer.d.state_dict(), "losses": losses}

    torch.Tensor.float = single  # samples are made in float32
    options = Options(Path(), count=70, batch=16)
    items = samples(trainer.average.float().eval(), recipe, options, torch.device("cpu"), world)
    pixels, labels = zip(*items)
    found["samples"] = {"pixels": torch.from_numpy(np.stack(pixels)), "labels": list(labels)}

    in_double()
    trainer = styles.trainer(styles.ADAPTIVE, "summed", world)
    trainer.p = 0.5
    for _ in range(6):
        trainer.step()
    adaptive = trainer.state()["adaptive"]
    found["stylegan2"] = {"g": trainer.g.state_dict(), "d": trainer.d.state_dict(), "adaptive": adaptive}
    trainer = biggan.trainer(world=world)
    for _ in range(3):
        trainer.step()
    found["biggan"] = {name: getattr(trainer, name).state_dict() for name in ("g", "d", "average")}

    torch.Tensor.float = single
    Trainer.draw = lambda self, *given: draw(self, *given).float()
    recipe = dataclasses.replace(recipe, micro=2)
    make = lambda recipe: tuple(network.float() for network in parts.networks(recipe))
    for name, in_pairs in (("pairs", True), ("no pairs", False)):
        score, there = parts.score_model().float(), dataclasses.replace(world, in_pairs=in_pairs)
        trainer = Trainer(recipe, "own-step", 3, make, Single(), score, "cpu", there)
        losses = []
        for _ in range(12):
            trainer.step()
            losses.append(dict(trainer.losses))
        found[name] = {"g": trainer.g.state_dict(), "d": trainer.d.state_dict(), "losses": losses}
    torch.save(found, f"{sys.argv[1]}-{world.rank}.pt")
"""


def trained(path: Path, processes: int) -> list[dict]:
    """What each process ended with; several are told of each other as torchrun tells them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ranks = []
    for rank in range(processes):
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port} if processes > 1 else {}
        env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        env |= {name: str(value) for name, value in told.items()}
        ranks.append(env)
    with ExitStack() as stack:  # where one fails, none is left waiting for it
        begun = [stack.enter_context(Forked("-c", PROGRAM, path / f"of-{processes}", env=env)) for env in ranks]
        for process in begun:
            _, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
    return [torch.load(path / f"of-{processes}-{rank}.pt", weights_only=True) for rank in range(processes)]


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Of a process alone, and of both of two."""
    path = tmp_path_factory.mktemp("ends")
    return [*trained(path, 1), *trained(path, 2)]


def test_two_processes_are_one(ends: list[dict]) -> None:
    """12 steps with 6 lazy penalties and 3 score terms, in float64, where another order of sums is 1e-15. The two
    processes hold the same bits."""
    alone, first, second = ends
    for coupling in ("summed", "own-step", "decoupled", "bounded"):
        wanted = alone[coupling]
        for network in ("g", "d"):
            for name, value in wanted[network].items():
                found = first[coupling][network][name]
                assert torch.equal(found, second[coupling][network][name]), name  # both hold the same parameters
                torch.testing.assert_close(found, value, rtol=0, atol=1e-10, msg=f"{coupling} {network} {name}")
        for found, value in zip(first[coupling]["losses"], wanted["losses"], strict=True):
            assert found == pytest.approx(value, abs=1e-10, rel=1e-10)
    moved = alone["summed"]["g"]["out.weight"] - alone["decoupled"]["g"]["out.weight"]
    assert moved.abs().max() > 1e-5  # a control: the arms differ by more than the tolerance


def test_two_processes_have_the_bits_of_one_where_sums_are_in_pairs(ends: list[dict]) -> None:
    """12 steps in float32: parameters and losses to the last bit. Sums one after the other differ."""
    alone, first, second = ends
    for found in (first, second):
        assert found["pairs"]["losses"] == alone["pairs"]["losses"]
        for network in ("g", "d"):
            for name, value in alone["pairs"][network].items():
                assert value.dtype == torch.float32
                assert torch.equal(found["pairs"][network][name], value), name
    plain = (end["no pairs"]["g"]["out.weight"] for end in (alone, first))
    assert not torch.equal(*plain)  # a control


def test_two_processes_sample_what_one_does(ends: list[dict]) -> None:
    """70 images, 16 at once: two processes compute ten more, and hand out none of them. The same latents, and bytes
    where their generators, which differ in the last digits, round alike."""
    alone, first, second = (end["samples"] for end in ends)
    assert alone["labels"] == first["labels"] == second["labels"] == [i % 10 for i in range(70)]
    assert alone["pixels"].shape == (70, 1, 8, 8)
    assert torch.equal(first["pixels"], second["pixels"])
    assert (alone["pixels"].int() - first["pixels"].int()).abs().max() <= 1
    assert (alone["pixels"][:16].int() - alone["pixels"][16:32].int()).abs().max() > 1  # a control


def test_two_processes_adapt_augmentation_as_one(ends: list[dict]) -> None:
    """StyleGAN2 with all that its recipes have; the probability is the same number, to the last bit."""
    alone, *others = (end["stylegan2"] for end in ends)
    for found in others:
        for network in ("g", "d"):
            for name, value in alone[network].items():
                torch.testing.assert_close(found[network][name], value, rtol=0, atol=1e-9)
        (p, signs, path), (p_alone, signs_alone, path_alone) = found["adaptive"], alone["adaptive"]
        assert (p, signs) == (p_alone, signs_alone)
        assert p != 0.5
        assert path == pytest.approx(path_alone, rel=1e-9)


def test_two_processes_have_the_statistics_of_one(ends: list[dict]) -> None:
    """BigGAN: running statistics and singular vectors too, each process with a group of its own."""
    alone, *others = (end["biggan"] for end in ends)
    for found in others:
        for network, state in alone.items():
            for name, value in state.items():
                torch.testing.assert_close(found[network][name], value, rtol=0, atol=1e-9)
    (moved,) = (value for name, value in alone["g"].items() if name == "norm.mean")
    assert moved.abs().max() > 1e-4
