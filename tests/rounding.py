"""python -m tests.rounding: up to which step two processes that share a batch are one process, to 1e-6.

Trains the recipe digits, without the score term, over one process and over two, and prints the largest difference of
the generators' parameters after some steps. Sums of two halves round otherwise than the sum of the whole, and training
amplifies that. With --deterministic and a --micro both have the same bits: the difference is 0.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

STEPS = (1, 2, 5, 10, 20, 40, 60, 80, 100, 150, 200, 300)


def train(out: Path, in_pairs: bool) -> None:
    """In each process: the first one keeps G's parameters after STEPS."""
    from images.generators.families import networks_of
    from images.recipes import RECIPES
    from images.training.inputs import real_images
    from images.training.parallel import joined
    from images.training.trainer import Trainer

    torch.set_num_threads(1)
    recipe = dataclasses.replace(RECIPES["digits"], couplings=("gan",), micro=16 if in_pairs else 0)
    with joined(torch.device("cpu"), in_pairs) as world:
        data = real_images(recipe, None, out.parent)
        trainer = Trainer(recipe.arm("gan"), "gan", 0, networks_of, data, None, "cpu", world)
        found = []
        for step in range(1, STEPS[-1] + 1):
            trainer.step()
            if step in STEPS:
                found.append(torch.cat([p.detach().flatten().clone() for p in trainer.g.parameters()]))
        if world.leads:
            torch.save(found, out)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for title, pairs in (("sums one after the other", ""), ("sums in pairs (--deterministic --micro 16)", "pairs")):
            found = []
            for n in (1, 2):
                out = Path(directory) / f"{n}{pairs}.pt"
                launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"] if n == 2 else []
                command = [sys.executable, *launcher, "-m", "tests.rounding", str(out), pairs]
                subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                found.append(torch.load(out, weights_only=True))
            print(title)
            for step, one, two in zip(STEPS, *found, strict=True):
                print(f"  after step {step:3}: {(one - two).abs().max().item():.1e}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(Path(sys.argv[1]), bool(sys.argv[2]))
    else:
        main()
