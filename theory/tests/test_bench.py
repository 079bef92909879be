"""The benchmark's yardstick is the mixture it says it is, and every law can be timed."""

import json
import math

import torch

from theory import bench
from theory.bench import denoise_ratio, main, plain_mixture
from theory.common.commandline import run
from theory.common.provenance import processor
from theory.manifolds import Gaussians, names


def test_plain_mixture_is_the_law_of_the_points() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(25, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    law = Gaussians(means.tolist())
    log_density, mean = plain_mixture(y, means, 0.3)
    torch.testing.assert_close(mean, law.denoise(y, 1.0, 0.3), rtol=1e-12, atol=1e-12)
    constant = math.log(25 * 2 * math.pi * 0.3**2)
    torch.testing.assert_close(log_density - constant, law.log_density(y, 1.0, 0.3), rtol=1e-12, atol=1e-12)


def test_every_law_is_timed() -> None:
    for name in names():
        assert denoise_ratio(name, 0.1, points=10, rounds=1) > 0


def test_the_command_prints_json_and_names_the_processor(monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "denoise_ratio", lambda name, nsr: len(name) + nsr)
    assert run(main, []) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["denoise_over_plain_mixture"] == {name: len(name) + 10 for name in names()}  # the slower level
    assert found["worst"] == {"checkerboard": 22}
    assert printed.err == f"{processor()}\n"
    assert run(main, ["--quick"]) == 2
