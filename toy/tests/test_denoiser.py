"""The learned score: its preconditioning, its training, and the file it is kept in."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from theory.common.files import write_tensors
from theory.levels import Interval, Level
from theory.manifolds import AffineGaussian, Law, make, names
from theory.regularity import eps_model_of
from toy.training import denoiser as module
from toy.training.denoiser import Denoiser, Preconditioning, cached_denoiser, ingredients, train_denoiser

torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives

INTERVAL = Interval(0.05, 0.15)
RING = make("ring")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(0))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps of each training, in order; the training itself is as ever."""
    runs: list[int] = []

    def counted(law: Law, steps: int, *rest) -> Denoiser:
        runs.append(steps)
        return train_denoiser(law, steps, *rest)

    monkeypatch.setattr(module, "train_denoiser", counted)
    return runs


def test_preconditioning_is_karras_table_1() -> None:
    """x0hat = c_skip y + c_out F, with the coefficients as printed; the target is what makes it exact."""
    s, nsr = 0.7, torch.tensor([1e-3, 0.1, 3.0], dtype=torch.float64)
    f, x0, eps = (torch.randn(3, 2, generator=seeded(i), dtype=torch.float64) for i in range(3))
    precondition, n = Preconditioning(s), nsr[:, None]
    y = x0 + n * eps
    c_skip, c_out = s**2 / (n**2 + s**2), n * s / (n**2 + s**2).sqrt()
    torch.testing.assert_close(precondition.eps(f, y, nsr), (y - c_skip * y - c_out * f) / n)
    torch.testing.assert_close(precondition.target(eps, y, nsr), (x0 - c_skip * y) / c_out, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(precondition.eps(precondition.target(eps, y, nsr), y, nsr), eps)
    wanted = torch.cat([y / (n**2 + s**2).sqrt(), n.log() / 4], -1)
    torch.testing.assert_close(precondition.inputs(y, nsr), wanted)


def test_untrained_is_the_score_of_a_gaussian() -> None:
    """With F = 0 the model is exact for N(0, s^2 I): c_skip y is its posterior mean."""
    denoiser = Denoiser(2, 0.7)
    denoiser.initialise(seeded(0))
    level, x_t = Level.variance_preserving(torch.tensor([0.05, 0.3, 2.0])), points(3, 2)
    exact = eps_model_of(AffineGaussian((0.0, 0.0), ((0.7, 0.0), (0.0, 0.7))))
    torch.testing.assert_close(denoiser(x_t, level), exact(x_t, level))


def test_depends_on_the_ratio_of_noise_to_signal_alone() -> None:
    """(alpha, sigma) -> (1, sigma / alpha) leaves eps as it was (claim P1); numbers and tensors are one."""
    denoiser, y = train_denoiser(RING, 20, INTERVAL, 0), points(3, 7, 2)
    nsr = torch.linspace(0.05, 0.15, 21).view(3, 7)
    level = Level.variance_preserving(nsr)
    alpha = torch.as_tensor(level.alpha)[..., None]
    exploding = denoiser(y, Level.variance_exploding(nsr))
    torch.testing.assert_close(denoiser(alpha * y, level), exploding, rtol=1e-4, atol=1e-5)
    one = denoiser(y[1, 2], Level.variance_exploding(float(nsr[1, 2])))
    torch.testing.assert_close(one, exploding[1, 2], rtol=1e-4, atol=1e-5)


def test_training_is_a_function_of_its_seed() -> None:
    """And of nothing else: not of torch's own generator."""
    first = train_denoiser(RING, 5, INTERVAL, 3)
    torch.rand(1)
    again, other = train_denoiser(RING, 5, INTERVAL, 3), train_denoiser(RING, 5, INTERVAL, 4)
    parts = [torch.cat([p.flatten() for p in d.parameters()]) for d in (first, again, other)]
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], parts[2])


def test_the_file_gives_the_same_denoiser(tmp_path: Path, trained: list[int]) -> None:
    first = cached_denoiser(RING, 5, INTERVAL, directory=tmp_path / "cache")
    again = cached_denoiser(RING, 5, INTERVAL, directory=tmp_path / "cache")
    level = Level.variance_exploding(0.1)
    assert trained == [5]
    assert torch.equal(first(points(4, 2), level), again(points(4, 2), level))


@pytest.mark.parametrize(
    ("name", "value"),
    [("law", make("ring", thickness=0.1)), ("steps", 6), ("interval", Interval(0.05, 0.2)), ("seed", 1)],
)
def test_whatever_decides_a_denoiser_names_another_file(name: str, value, tmp_path: Path, trained: list[int]) -> None:
    given = {"law": RING, "steps": 5, "interval": INTERVAL, "seed": 0}
    for arguments in (given, {**given, name: value}, given):
        cached_denoiser(**arguments, directory=tmp_path)
    assert len(trained) == 2
    assert len(list(tmp_path.glob("denoiser-*.pt"))) == 2


def test_different_laws_have_different_ingredients() -> None:
    """Which holds as long as their reprs show all of their numbers."""
    laws = [make(name, dim=dim, thickness=tau) for name in names() for dim in (5, 6) for tau in (0.0, 0.1, 0.1000001)]
    assert len({str(ingredients(law, 5, INTERVAL, 0)) for law in laws}) == len(laws)
    assert repr(make("ring", dim=64)) == repr(make("ring", dim=64))
    assert "..." not in repr(make("grid", dim=64))


@pytest.mark.parametrize("constant", ["VERSION", "WIDTH", "LAYERS", "BATCH", "LR", "WIDER", "DRAWS"])
def test_every_constant_is_in_the_ingredients(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ingredients(RING, 5, INTERVAL, 0)
    monkeypatch.setattr(module, constant, 7)
    assert ingredients(RING, 5, INTERVAL, 0) != before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "other"])
def test_a_damaged_file_is_trained_again(damage: str, tmp_path: Path, trained: list[int]) -> None:
    denoiser = cached_denoiser(RING, 5, INTERVAL, directory=tmp_path)
    (path,) = tmp_path.glob("denoiser-*.pt")
    good = path.read_bytes()
    middle = len(good) // 2
    if damage == "truncated":
        path.write_bytes(good[:middle])
    elif damage == "flipped":
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    elif damage == "text":
        path.write_text("not a denoiser")
    else:
        write_tensors(path, {"sigma_data": 0.7, "parameters": Denoiser(3, 0.7).state_dict()})
    with pytest.warns(UserWarning, match=r"denoiser-\w+\.pt is (no|truncated, damaged or no) denoiser.*trained again$"):
        again = cached_denoiser(RING, 5, INTERVAL, directory=tmp_path)
    level = Level.variance_exploding(0.1)
    assert torch.equal(again(points(4, 2), level), denoiser(points(4, 2), level))
    cached_denoiser(RING, 5, INTERVAL, directory=tmp_path)
    assert trained == [5, 5]


def test_those_who_want_the_same_one_at_once_train_it_once(tmp_path: Path, trained: list[int]) -> None:
    """Threads stand for processes: file locks of different objects exclude each other in both."""
    together = threading.Barrier(4)

    def want() -> None:
        together.wait()
        cached_denoiser(RING, 30, INTERVAL, directory=tmp_path)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trained == [30]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        cached_denoiser(RING, 5, INTERVAL, directory=tmp_path / "file")
