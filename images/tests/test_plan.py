"""The plan against real runs, closed forms, and itself."""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from images.bench.measure import peak
from images.denoisers.precondition import EDMScore
from images.denoisers.small import Denoiser
from images.generators.families import augment_of, networks_of
from images.plan.__main__ import Options, flops_by_part, frequency, main, plan
from images.plan.costs import Cost, Costs, Meter, Unchecked, costs, network_of, score_of
from images.plan.devices import DEVICES
from images.plan.footprint import Footprint
from images.plan.provenance import OF_CIFAR10, SOURCES, provenance
from images.recipes import INTERVALS, OFFERED, RECIPES, Recipe
from images.training.trainer import Trainer
from theory.common.commandline import run
from theory.levels import Level

CPU = torch.device("cpu")
R3GAN = dataclasses.replace(
    RECIPES["photos"],
    resolution=16,
    width=24,
    latent=8,
    augment=(0.0, 0.5),
    batch=4,
    penalty_every=1,
    every=1,
)
STYLEGAN2 = dataclasses.replace(
    R3GAN, generator="stylegan2", width=24, loss="non-saturating", penalty="r1", augment=(0.0, 0.0), mixing=0.9,
    path_weight=2.0, path_every=1,
)  # fmt: skip


SMALLER = [dataclasses.replace(recipe, resolution=8) for recipe in (R3GAN, STYLEGAN2)]


class Noise:
    """Images of noise, of the recipe's shape."""

    def __init__(self, recipe: Recipe):
        self.shape = recipe.channels, recipe.resolution, recipe.resolution

    def __len__(self) -> int:
        return 64

    def labels(self, which: Tensor) -> Tensor:
        return torch.zeros(len(which), dtype=torch.long)

    def take(self, which: Tensor) -> tuple[Tensor, Tensor]:
        return torch.randn(len(which), *self.shape), self.labels(which)


def real_trainer(recipe: Recipe, coupling: str) -> Trainer:
    """A trainer that has taken two steps, so that its optimisers hold what they will hold."""
    torch.manual_seed(0)
    recipe = dataclasses.replace(recipe, burn_in=1)  # augmentation at its full strength
    score = EDMScore(Denoiser.of(recipe).network().eval().requires_grad_(False))
    trainer = Trainer(recipe, coupling, 0, networks_of, Noise(recipe), score, augment=augment_of(recipe))
    for _ in range(2):
        trainer.step()
    return trainer


@pytest.mark.parametrize(
    ("recipe", "coupling"),
    [(SMALLER[0], "decoupled"), (SMALLER[1], "summed"), pytest.param(R3GAN, "summed", marks=pytest.mark.slow)],
    ids=lambda v: str(v)[:9],
)
def test_flops_and_memory_are_those_of_a_real_run(recipe: Recipe, coupling: str) -> None:
    planned = costs(recipe, coupling, recipe.batch, low=False)
    trainer = real_trainer(recipe, coupling)
    for step, plan_of in ((trainer.d_step, planned.d_penalised), (trainer.g_step, planned.g_scored)):
        with Meter() as counter:
            step()
        assert plan_of.flops == pytest.approx(counter.flops, rel=0.1)
        assert plan_of.peak == pytest.approx(peak(step, CPU), rel=0.1)
    held = [s[name] for adam in (trainer.d_adam, trainer.update.adam) for s in adam.optimizer.state.values() for name in
            ("exp_avg", "exp_avg_sq")]  # fmt: skip
    assert planned.moments == sum(tensor.nbytes for tensor in [*held, *trainer.update.moments])
    assert planned.generator == sum(p.numel() for p in trainer.g.parameters())
    assert planned.discriminator == sum(p.numel() for p in trainer.d.parameters())


def forward_flops(call: Any, *modules: nn.Module) -> int:
    """2 x multiplications of every convolution and linear layer, from the shapes that pass them in a real call."""
    total = 0

    def hook(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        weight: Tensor = module.weight  # type: ignore[assignment]
        total += 2 * out.numel() * weight[0].numel()

    kinds = (nn.Conv2d, nn.Linear)
    handles = [m.register_forward_hook(hook) for module in modules for m in module.modules() if isinstance(m, kinds)]
    call()
    for handle in handles:
        handle.remove()
    return total


def test_flops_add_up_from_those_of_the_networks() -> None:
    """With g, d, s the FLOPs of a batch through each network: a backward pass costs as much again for each of the
    gradients in the weights and in the input, and so does every level of derivative of a piecewise linear network."""
    recipe = dataclasses.replace(R3GAN, resolution=8, width=48, augment=(0.0, 0.0))
    planned = costs(recipe, "summed", 4)
    generator, discriminator = networks_of(recipe)
    score = Denoiser.of(recipe).network()
    z, labels, x = torch.randn(4, recipe.latent), torch.zeros(4, dtype=torch.long), torch.randn(4, 3, 8, 8)
    grouped = 0  # the 3 x 3 convolutions are no modules: 2 blocks a stage, 96 channels in 48 groups
    for side in (4, 8):
        grouped += 4 * 2 * side**2 * 2 * 96 * 9 * (96 // 48)
    g = forward_flops(lambda: generator(z, labels), generator) + grouped
    d = forward_flops(lambda: discriminator(x, labels), discriminator) + grouped
    s = forward_flops(lambda: score(x, torch.ones(4), labels), score)
    assert planned.d.flops == pytest.approx(g + 2 * 3 * d, rel=0.05)
    assert planned.d_penalised.flops - planned.d.flops == pytest.approx(2 * 3 * d, rel=0.02)
    assert planned.g.flops == pytest.approx(3 * g + 3 * d, rel=0.05)
    assert planned.g_scored.flops - planned.g.flops == pytest.approx(2 * s + 4 * g, rel=0.05)
    apart = costs(recipe, "own-step", 4)
    assert apart.g_scored.flops == planned.g_scored.flops
    assert costs(recipe, "two-adams", 4).moments - apart.moments == 2 * 4 * apart.generator
    assert costs(recipe, "bounded", 4).moments - apart.moments == 4 * apart.generator


def test_formulas_of_the_counter() -> None:
    x, weight = torch.randn(2, 12, 5, 5, requires_grad=True), torch.randn(24, 3, 3, 3, requires_grad=True)
    with Meter() as forward:
        y = F.conv2d(x, weight, padding=1, groups=4)
    assert forward.flops == 2 * y.numel() * 3 * 9
    with Meter() as backward:
        y.sum().backward()
    assert backward.flops == 2 * forward.flops
    q = torch.randn(2, 3, 16, 8, requires_grad=True)
    with Meter() as counter:
        F.scaled_dot_product_attention(q, q, q)
    assert counter.flops == 2 * 2 * (2 * 3 * 16 * 16 * 8)


def test_live_bytes() -> None:
    held = torch.zeros(1000)
    with Meter([held]) as live:
        held.mul_(2).view(10, 100)
        assert live.held == 0
        a = held + 1
        b = a * 2
        assert live.held == 8000
        del a
        assert live.held == 4000
        view = b[:10]
        del b
        assert live.held == 4000
        del view
        assert (live.held, live.peak) == (0, 8000)
        x = torch.ones(500, requires_grad=True)
        y = x.exp().sin()  # autograd keeps what exp returns, no variable does
        assert live.held == 3 * 2000
        del x, y
        assert live.held == 0


@pytest.mark.slow
def test_memory_is_affine_in_the_images() -> None:
    two, four, eight = (costs(R3GAN, "summed", batch, low=False) for batch in (2, 4, 8))
    footprint = Footprint(R3GAN, "summed", two, four)
    for name in ("d_penalised", "g_scored"):
        assert footprint.peak(name, 4) == getattr(four, name).peak
        assert footprint.peak(name, 8) == pytest.approx(getattr(eight, name).peak, rel=0.05)
    assert eight.d_penalised.flops == pytest.approx(4 * two.d_penalised.flops, rel=0.01)


@pytest.mark.slow
def test_path_lengths_are_not_in_the_score_term() -> None:
    """Of a generator without them the score term costs the same: a network and its gradient in the image, and G
    twice forth and once back."""
    plain = dataclasses.replace(STYLEGAN2, path_weight=0.0)
    with_lengths, without = costs(STYLEGAN2, "summed", 4), costs(plain, "summed", 4)
    term = without.g_scored.flops - without.g_path.flops
    assert with_lengths.g_scored.flops - with_lengths.g_path.flops == term > 0
    assert without.g_path == without.g
    assert with_lengths.g_path.flops > 1.5 * with_lengths.g.flops - without.d.flops


def test_what_acts_now_and_then_counts_as_often() -> None:
    parts = {"d": 3, "d_penalised": 5, "g": 7, "g_path": 10, "g_scored": 21}  # 3 and 7, 2 more, 3 more, 11 more
    measured = Costs(4, 0, 0, 0, 0, **{name: Cost(flops, 0) for name, flops in parts.items()})
    recipe = dataclasses.replace(STYLEGAN2, batch=8, images=8, penalty_every=4, path_every=2, every=5)
    found = flops_by_part(recipe, measured)  # of twice the images
    assert found["mean step"] == pytest.approx(2 * (3 + 7 + 2 / 4 + 3 / 2 + 11 / 5))
    assert frequency(recipe, found, 11)["over_step"] == pytest.approx(11 / 11 / (3 + 7 + 2 / 4 + 3 / 2))


def test_groups_are_handled_whole() -> None:
    recipe = dataclasses.replace(STYLEGAN2, batch=48, images=48, group=12)
    some, more = (Costs(n, 0, 0, 0, 0, *[Cost(0, n * 100)] * 5) for n in (24, 48))
    footprint = Footprint(recipe, "summed", some, more)
    assert [footprint.fitting(1, limit)[0] for limit in (4800, 4700, 1300, 0)] == [48, 24, 12, 12]
    assert footprint.fitting(2, 2400)[0] == 24


@pytest.mark.slow
def test_bf16_halves_activations() -> None:
    full, low = (costs(dataclasses.replace(R3GAN, resolution=8), "summed", 8, low=low).g.peak for low in (False, True))
    assert 0.45 * full < low < 0.9 * full


def test_nothing_is_allocated() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = costs(dataclasses.replace(R3GAN, resolution=8, width=1536), "summed", 64)
    assert found.moments > 300e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150e3  # in kB


@pytest.mark.parametrize("name", RECIPES)
def test_score_models_of_all_recipes(name: str) -> None:
    """They know the recipe's images, classes and noise, and are called as training calls them."""
    recipe = RECIPES[name]
    with (mode := FakeTensorMode(allow_non_fake_inputs=True)):
        network = network_of(recipe)
    score = score_of(recipe, network)
    config = network.config
    assert (config.resolution, config.channels_in, config.classes) == (
        recipe.resolution,
        recipe.channels,
        recipe.classes,
    )
    assert score.interval.low <= recipe.low < recipe.high <= score.interval.high
    with mode, torch.no_grad():
        x, nsr = torch.randn(2, *(recipe.channels, recipe.resolution, recipe.resolution)), torch.rand(2)
        labels = torch.zeros(2, dtype=torch.long) if recipe.classes else None
        assert Unchecked(score).of(labels)(x, Level.variance_exploding(nsr)).shape == x.shape


# The command


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return plan(Options(recipe="digits", gpus=4, device="a100", utilisation=0.25))


def test_plan_adds_up(found: dict[str, Any]) -> None:
    recipe, parts = RECIPES["digits"], found["flops"]
    mean = (
        parts["discriminator"]
        + parts["penalties"] / recipe.penalty_every
        + parts["generator"]
        + parts["score term"] / recipe.every
    )
    assert parts["mean step"] == pytest.approx(mean)
    assert found["hours"] == pytest.approx(mean * (recipe.images // recipe.batch) / (4 * 0.25 * 312e12) / 3600)
    term = found["score_term"]
    assert term[1]["flops"] == pytest.approx(8 * term[8]["flops"])
    assert term[1]["flops"] == pytest.approx(16 * term[16]["flops"])
    without = mean - parts["score term"] / recipe.every
    assert term[8]["over_step"] == pytest.approx(parts["score term"] / 8 / without)
    total = found["memory"].pop("total")
    assert sum(found["memory"].values()) == pytest.approx(total)
    found["memory"]["total"] = total
    rows = {row["gpus"]: row for row in found["by_gpus"]}
    assert list(rows) == [1, 2, 4, 8, 16, 32, 64]
    assert rows[8]["hours"] == pytest.approx(found["hours"] / 2)
    assert all(row["share"] * row["gpus"] == recipe.batch and row["fits"] for row in rows.values())


def test_less_at_once_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["digits"]
    some, more = (costs(recipe, "summed", batch) for batch in (32, 64))
    whole, quarter = (Footprint(recipe, "summed", some, more).memory(1, images) for images in (64, 16))
    middle = (whole["total"] + quarter["total"]) / 2
    assert quarter["total"] < middle < whole["total"]
    monkeypatch.setitem(DEVICES, "a100", DEVICES["a100"]._replace(memory=middle / 0.9))
    row = plan(Options(recipe="digits", gpus=1, device="a100", coupling="summed"))["by_gpus"][0]
    assert row["fits"]
    assert 16 <= row["micro"] < 64
    monkeypatch.setitem(DEVICES, "a100", DEVICES["a100"]._replace(memory=1e5))
    row = plan(Options(recipe="digits", gpus=1, device="a100", coupling="summed"))["by_gpus"][0]
    assert (row["micro"], row["fits"]) == (1, False)


def test_command(capsys: pytest.CaptureFixture[str], found: dict[str, Any]) -> None:
    arguments = ["--recipe", "digits", "--gpus", "4", "--device", "a100", "--utilisation", "0.25"]
    assert run(main, [*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found))
    assert run(main, arguments) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "─" not in out
    assert "all: ours, not the paper's" in out
    for text in ("score term", "penalties", "activations", "k = 16", "hours", "data sheet", "an assumption"):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--recipe cifar", "unknown recipe 'cifar': choose from"),
        ("--device v100", "unknown device 'v100': choose from h200"),
        ("--gpus 0", "gpus must be a whole number of at least 1; given 0"),
        ("--gpus 3", "gpus must divide the batch of 512; given 3"),
        ("--recipe lsun-bedroom --gpus 16", "gpus must divide the batch of 64 in groups of 8; given 16"),
        ("--utilisation 1.5", "utilisation must lie in (0, 1]; given 1.5"),
        ("--gpu 3", "did you mean --gpus"),
    ],
)
def test_bad_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, arguments.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.argv = ['plan', '--help']; from images.plan.__main__ import main; main(sys.argv[1:])"
    watched = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "utilisation" in done.stdout
    assert done.stdout.endswith("False\n")


def test_devices_are_plausible() -> None:
    """Dense bf16 is between 100 and 1000 TFLOP/s on all of these: no rate is one with sparsity, or off by 1000."""
    assert all(100e12 < device.flops < 1000e12 and 20e9 < device.memory < 200e9 for device in DEVICES.values())


BIGGAN = {"d_steps", "d_rate", "adam_eps", "ema_decay", "ema_start", "uniform_labels"}
UNUSED = {
    "r3gan": {"mixing", "path_weight", "path_every", "group", "target", *BIGGAN},
    "stylegan2": {"mixing", "path_weight", "path_every", "augment", "augmentation", "target", *BIGGAN},
    "biggan": {"mixing", "path_weight", "path_every", "augment", "augmentation", "target"},
    "aurora": {"mixing", "path_weight", "path_every", *BIGGAN},
}
BOOKKEEPING = {
    "recipe", "score", "couplings", "seeds", "first_seed", "rates", "micro", "retry", "save_every", "evaluate_every",
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_every_number_says_where_it_is_from(name: str) -> None:
    """Once; what a family has no use for, and what is off, may go without."""
    recipe = RECIPES[name]
    said = " ".join(provenance(recipe)).split()
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert len(said) == len(set(said))
    assert set(said) <= fields
    off = {field for field in UNUSED[recipe.generator] if getattr(recipe, field) == getattr(Recipe(), field)}
    assert not recipe.narrow
    assert fields - BOOKKEEPING - off - {"narrow"} <= set(said)


def test_small_recipes_say_what_they_have_from_cifar10() -> None:
    names = set(OF_CIFAR10.split())
    assert names == {"weight", "decoupled_weight", "every", "low", "high"}
    for name in ("fashion", "fashion-biggan", "cifar10-small", "stacked-mnist"):
        low, high = INTERVALS[OFFERED["cifar10"]["ddpm"]]
        recipe, cifar = RECIPES[name], dataclasses.replace(RECIPES["cifar10"], low=low, high=high)
        assert all(getattr(recipe, field) == getattr(cifar, field) for field in names)
        assert list(provenance(recipe)) == [OF_CIFAR10, "the others"]
    assert list(provenance(RECIPES["photos"])) == ["all"]


def test_recipes_of_the_paper() -> None:
    """The table of its settings, and both readings of t offered for each."""
    for name, weight, (t0, t1) in (
        ("cifar10", 0.01, (40, 60)),
        ("cifar10-stylegan2", 0.01, (40, 60)),
        ("cifar10-biggan", 0.01, (40, 60)),
        ("imagenet64", 0.1, (25, 35)),
        ("imagenet64-aurora", 0.1, (25, 35)),
        ("imagenet128", 0.1, (25, 35)),
        ("imagenet128-biggan", 0.1, (25, 35)),
        ("lsun-bedroom", 0.1, (25, 35)),
    ):
        recipe = RECIPES[name]
        assert (recipe.weight, recipe.every) == (weight, 8)
        assert {tuple(t) for _, *t in OFFERED[name].values()} == {(t0, t1)}
        assert (recipe.low, recipe.high) in [INTERVALS[key] for key in OFFERED[name].values()]
        assert bool(recipe.classes) == (name != "lsun-bedroom")
    assert set(SOURCES) == set(OFFERED)


def test_costs_needs_a_term() -> None:
    with pytest.raises(ValueError, match="given gan"):
        costs(R3GAN, "gan", 4)
