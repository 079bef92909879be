"""Training on a device that is not the CPU: shown on torch's device "meta", which has shapes and no values.

Inside a step no tensor is made on the CPU, and tensors of two devices do not mix, as on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch._meta_registrations  # the fused Adam on meta
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from theory.common.commandline import run
from theory.common.errors import UsageError
from theory.common.parts import given
from theory.manifolds import Thickened, law, make
from toy import device as module
from toy.api import compare
from toy.config import ARMS, LOSSES, REGULARISERS, TERMS, Config, as_dict
from toy.device import device_of, on, on_cpu
from toy.jobs.worker import trainer_of
from toy.run import main
from toy.training.draws import Extras, Latents, Noise
from toy.training.finite import Finite
from toy.training.gan import Trains

META = torch.device("meta")
SMALL: dict[str, Any] = {"width": 4, "layers": 2, "batch": 8, "seeds": 2, "steps": 6, "d_ahead": 2, "samples": 8}


class Net(nn.Sequential):
    """A generator of the user's, with a buffer."""

    def __init__(self, latent: int, dim: int):
        super().__init__(nn.Linear(latent, 4), nn.BatchNorm1d(4).eval(), nn.Linear(4, dim))


KINDS: dict[str, dict[str, Any]] = {
    **{f"loss {name}": {"loss": name} for name in LOSSES},
    **{f"regulariser {name}": {"regulariser": name} for name in REGULARISERS},
    "own step of a penalty": {"regulariser": "r1", "regulariser_step": "corrected", "regulariser_every": 2},
    "perturbed": {"score": "perturbed"},
    "x0, sgd": {"weighting": "x0", "optimizer": "sgd"},
    "ratio": {"weight_rule": "ratio"},
    "budget": {"weight_rule": "budget", "loss": "non-saturating"},
    "clipped": {"max_norm": 1.0, "equal_length": True, "every": 2, "corrected": True},
    "no game": {"game": False, "arms": ("summed",)},
    "a mixture of Gaussians": {"manifold": "8-ring"},
    "classes": {"manifold": "8-ring", "conditional": True},
    "thickened": {"thickness": 0.1},
    "embedded": {"dim": 5},
    "own generator": {"generator": given("generator", Net)},
    "vae": {"generator": "vae"},
    "flow": {"generator": "flow"},
}

CASES = [
    *(pytest.param(arm, {"term": term}, id=f"{arm}-{term}") for arm in ARMS for term in TERMS),
    *(pytest.param(options.get("arms", ("decoupled",))[0], options, id=name) for name, options in KINDS.items()),
]


class OnTheCPU(TorchDispatchMode):
    """The operations of the block that made a tensor on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(isinstance(part, Tensor) and part.device.type == "cpu" for part in tree_leaves(made)):
            self.found.append(str(func))
        return made


@pytest.fixture(autouse=True)
def without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """On meta there is nothing to look at, and a budget's lambda takes seconds.

    So a run looks at these values on a GPU too, once a step each: the logits, and levels where no form is closed.
    """
    monkeypatch.setattr(Finite, "check", lambda *_: None)
    monkeypatch.setattr(law, "as_level", lambda value, _, like: torch.as_tensor(value).to(like))
    monkeypatch.setattr("toy.training.score_term.budget", lambda *_: 0.1)


def on_meta(arm: str, **options: Any) -> Trains:
    config = Config(**{**SMALL, **options})
    object.__setattr__(config, "device", "meta")
    return trainer_of(config, arm, (0, 1))


@pytest.mark.parametrize(("arm", "options"), CASES)
def test_a_step_makes_nothing_on_the_cpu(arm: str, options: dict[str, Any]) -> None:
    """Head start, two steps (with the term and, where it is lazy, without), and what comes back of it."""
    trainer = on_meta(arm, **options)
    for draws in (vars(trainer).get(name) for name in ("noise", "latents", "extras")):
        if draws is not None:
            draws(0)  # of the first steps, which are drawn on the CPU together
    trainer.train_ahead()
    with OnTheCPU() as made:
        trainer.step()
        trainer.step()
    assert made.found == []
    assert {part.device for part in tree_leaves(trainer.state()) if isinstance(part, Tensor) and part.ndim > 1} <= {
        META
    }
    trainer.take([1]).step()


def test_the_control_is_seen() -> None:
    with OnTheCPU() as made:
        torch.ones(2, device="meta") * 2
        assert made.found == []
        torch.ones(2)
    assert made.found == ["aten.ones.default"]


def test_draws_are_the_cpu_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every device: they are drawn by CPU generators, and moved after that."""
    ring, moved = make("ring"), []
    whole = Tensor.to

    def to(self: Tensor, *arguments: Any, **options: Any) -> Tensor:
        if arguments == (META,):
            moved.append(self)
        return whole(self, *arguments, **options)

    for make_draws in (
        lambda device: Noise(ring, (0, 1), 2, 4, 2, 1, device=device),
        lambda device: Latents((0, 1), 4, 2, device),
        lambda device: Extras("diffusion", (0, 1), 5, 4, 2, 1, device),
        lambda device: Extras("gradient-penalty", (0, 1), 5, 4, 2, 1, device),
    ):
        here, there = make_draws(torch.device("cpu")), make_draws(META)
        moved.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "to", to)
            there(0)
        found = [part.flatten() for part in tree_leaves(moved)]
        here(0)
        chunk = [part for part in tree_leaves(here.chunk) if part is not None]
        flat = [p for part in chunk for p in ([part] if isinstance(part, Tensor) else [part.noise, part.u])]
        wanted = [part.flatten() for part in flat if part is not None]
        assert torch.equal(torch.cat(found).sort().values, torch.cat(wanted).sort().values)
        assert len(torch.cat(found)) > 0


def test_a_law_s_constants_move_with_it() -> None:
    """Those of its parts too; the law itself stays, and on the CPU nothing is made."""
    thick = Thickened(make("8-ring", dim=3), 0.1)
    there = on(thick, META)
    assert there.law.law._means.device == META  # type: ignore[attr-defined]
    assert thick.law.law._means.device.type == "cpu"  # type: ignore[attr-defined]
    assert there == thick
    assert on(thick, torch.device("cpu")) is thick


def test_a_state_comes_back() -> None:
    class There(Tensor):
        def cpu(self) -> Tensor:  # type: ignore[override]
            return torch.ones(1)

    state = {"at": 3, "parts": [torch.zeros(1).as_subclass(There)], "flat": torch.zeros(2)}
    found = on_cpu(state)
    assert (found["at"], type(found["parts"][0]), found["flat"] is state["flat"]) == (3, Tensor, True)


def test_no_cuda_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    for version, why in ((None, "is built without CUDA"), ("12.8", "sees no CUDA device here")):
        monkeypatch.setattr(module.torch.version, "cuda", version)
        with pytest.raises(UsageError, match=f"^device cuda needs a GPU, but torch .* {why}; device cpu trains"):
            device_of(Config(device="gpu"))
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    assert device_of(Config(device="gpu")) == torch.device("cuda")


def test_the_configuration_of_the_cpu_is_as_it_was() -> None:
    """config.json, the checkpoint and the keys of the caches: only another device is named."""
    assert "device" not in as_dict(Config())
    assert as_dict(Config(device="gpu"))["device"] == "cuda"
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        Config(device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "gpu"])
def test_the_command_refuses_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is written."""
    assert run(main, ["--device", name, "--processes", "1", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: device cuda needs a GPU, but torch ")
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_compare_refuses_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device cuda needs a GPU"):
        compare(["gan"], ["ring"], seeds=2, device="cuda", cache=tmp_path)
