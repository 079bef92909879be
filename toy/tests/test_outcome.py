"""The word of a seed on constructed histories, each beside near misses, and of one tiny real run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from toy.config import Config
from toy.outcome import CLOSE, FAR, FLAT, LOST, MOVING, NEEDED, OFF, SAID, WORDS, floors, outcomes, sentence, word
from toy.training.gan import Trainer, unit

STEPS = 100
FLOOR = {
    name: {"mean": mean, "std": 0.0} for name, mean in (("kl", 0.01), ("total_variation", 0.1), ("sliced_w2", 0.04))
}
START = {"sliced_w2": 2.0, "kl": 50.0, "off_manifold": 1.0, "distance_median": 2.0, "total_variation": 0.9}
# A seed at rest elsewhere: far in KL, on the manifold, all mass there, its gradient alive, nothing moving
REST = {
    "sliced_w2": 0.3, "kl": 1.0, "off_manifold": 0.1, "distance_median": 0.02, "total_variation": 0.3,
    "adversarial_gradient": 1.0, "score_gradient": 2.0, "gradient_cosine": -0.5,
}  # fmt: skip
MISSED = {"off_manifold": 0.9, "distance_median": 0.4, "adversarial_gradient": 1e-6}  # what makes a seed saturated


def history(before: float = 0.3, **end: float) -> pd.DataFrame:
    """A seed at rest, but for the values at the end that are given and sliced W2 at three quarters."""
    at = {0: REST | START, 75: REST | {"sliced_w2": before}, STEPS: REST | end}
    return pd.DataFrame.from_dict(at, orient="index").sort_index()


@pytest.mark.parametrize(
    ("wanted", "end"),
    [
        ("resting", {}),
        ("converged", {"kl": 0.01 + CLOSE - 1e-6}),
        ("resting", {"kl": 0.01 + CLOSE + 1e-6}),
        ("resting", {"kl": 1e30}),
        ("saturated", MISSED),
        ("resting", MISSED | {"off_manifold": OFF}),
        ("resting", MISSED | {"adversarial_gradient": 1.01 * FLAT / 0.4}),
        ("saturated", MISSED | {"adversarial_gradient": 0.99 * FLAT / 0.4}),
        ("resting", MISSED | {"adversarial_gradient": math.nan}),  # without a discriminator nothing saturates
        ("saturated", MISSED | {"total_variation": 0.9}),
        ("converged", MISSED | {"kl": 0.01}),
        ("moving", {"before": 0.3 + 0.26 * MOVING / 0.9 * 1.01}),
        ("resting", {"before": 0.3 + 0.26 * MOVING / 0.9 * 0.99}),
        ("resting", {"before": 0.2}),  # it gets worse
        ("moving", {"before": 0.5, "total_variation": 0.9}),
        ("collapsed", {"total_variation": 0.1 + LOST + 1e-6}),
        ("resting", {"total_variation": 0.1 + LOST - 1e-6}),
        ("diverged", {"sliced_w2": 2.0 * FAR * 1.001}),
        ("resting", {"sliced_w2": 2.0 * FAR * 0.999}),
        *(("diverged", {"kl": 0.01} | {name: value}) for name in NEEDED for value in (math.nan, math.inf)),
    ],
)
def test_the_word_of_a_seed(wanted: str, end: dict[str, float]) -> None:
    assert word(history(**end), STEPS, FLOOR) == wanted


def test_a_seed_without_its_last_evaluation_has_diverged() -> None:
    assert word(history(kl=0.01).loc[:75], STEPS, FLOOR) == "diverged"
    assert word(history(kl=0.01), STEPS, FLOOR) == "converged"


def test_a_run_that_was_evaluated_at_its_ends_alone() -> None:
    """Then the start is the evaluation before the last quarter."""
    assert word(history().loc[[0, STEPS]], STEPS, FLOOR) == "moving"


def tidy(arm: str, histories: list[pd.DataFrame]) -> pd.DataFrame:
    rows = [
        (arm, seed, step, metric, value)
        for seed, own in enumerate(histories)
        for step, values in own.iterrows()
        for metric, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "step", "metric", "value"])


def test_an_arm_has_the_word_of_most_seeds_and_counts_the_others() -> None:
    good, lost, flat = history(kl=0.02), history(total_variation=0.8), history(**MISSED)
    table = pd.concat([tidy("summed", [good, lost, good]), tidy("gan", [flat, good])])
    found = outcomes(table, FLOOR)
    assert list(found) == ["summed", "gan"]
    assert found["summed"]["word"] == "converged"
    assert found["summed"]["shares"] == {name: {"converged": 2 / 3, "collapsed": 1 / 3}.get(name, 0) for name in WORDS}
    assert found["gan"]["word"] == "converged"  # of equally many the first of WORDS
    numbers = found["summed"]["numbers"]
    assert numbers["kl"] == pytest.approx((0.02 + 1 + 0.02) / 3)
    assert numbers["flatness"] == pytest.approx(0.02)
    assert numbers["gradient_cosine"] == -0.5
    assert numbers["coverage_on"] is None  # no seed has it
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_number_that_one_seed_lacks_is_no_mean() -> None:
    found = outcomes(tidy("gan", [history(), history(kl=math.nan)]), FLOOR)["gan"]
    assert (found["word"], found["numbers"]["kl"], found["numbers"]["off_manifold"]) == ("diverged", None, 0.1)
    ended_early = outcomes(tidy("gan", [history(), history().loc[:75]]), FLOOR)["gan"]
    assert set(ended_early["numbers"].values()) == {None}


def test_a_generator_without_a_discriminator() -> None:
    """No adversarial gradient in the table: no word but saturated hangs on it."""
    own = history(**MISSED).drop(columns=["adversarial_gradient", "gradient_cosine"])
    found = outcomes(tidy("gan", [own]), FLOOR)["gan"]
    assert (found["word"], found["numbers"]["flatness"]) == ("resting", None)
    assert "nats on the way" not in sentence("gan", found, FLOOR)


def test_sentences() -> None:
    """Every word is said in full; shares only where seeds differ; a number that is missing is left out."""
    some = outcomes(tidy("gan", [history(**MISSED), history(**MISSED), history(kl=0.02)]), FLOOR)["gan"]
    assert sentence("gan", some, FLOOR) == (
        "gan: saturated (converged 33%, saturated 67%): off the manifold, where the game's loss is flat. "
        "KL 0.67 (real samples 0.01), 63% off the manifold, total variation 0.3 (real samples 0.1), "
        "loss changes by 0.007 nats on the way to it, the two gradients have a cosine of -0.50."
    )
    for name in WORDS:
        shares = {other: float(other == name) for other in WORDS}
        nothing: dict[str, Any] = dict.fromkeys(some["numbers"])
        text = sentence("a", {"word": name, "shares": shares, "numbers": nothing}, FLOOR)
        assert text == f"a: {name}: {SAID[name]}."


@pytest.fixture(scope="module")
def floor() -> dict[str, dict[str, float]]:
    return floors(Config(samples=64))


def test_floors(floor: dict[str, dict[str, float]]) -> None:
    """Of the run's law and number of samples."""
    assert floor["off_manifold"] == {"mean": 0.0, "std": 0.0}
    assert floor["kl"]["mean"] > 5 * floors(Config(samples=512))["kl"]["mean"] > 0
    assert floor["distance_p99"]["mean"] < 1e-5 < floors(Config(samples=64, thickness=0.1))["distance_p99"]["mean"]


def test_a_tiny_run_says_what_became_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Forty steps from 3 away: on the way; in the files and on the screen."""
    from tests.commands import TINY, Command

    ended = Command(capsys)(*TINY, "--out", tmp_path)
    assert ended.status == 0
    stored = json.loads((tmp_path / "summary.json").read_text())
    assert list(stored["outcomes"]) == ["gan", "decoupled"]
    for arm, outcome in stored["outcomes"].items():
        assert outcome["word"] in WORDS
        assert outcome["word"] != "converged"
        assert sum(outcome["shares"].values()) == pytest.approx(1)
        assert outcome["numbers"]["kl"] == pytest.approx(stored["arms"][arm]["kl"]["mean"])
        assert sentence(arm, outcome, stored["floor"]) in ended.out.splitlines()


def test_the_cosine_between_the_two_gradients() -> None:
    """That of torch, the median over samples; a tiny gradient has its direction, and one of 0 none."""
    trainer = Trainer(Config(width=8, layers=1, batch=32, d_ahead=0), "gan", (0, 1))
    draws = trainer.noise(0)
    x = trainer.generate(draws.latent[-1])
    pair = trainer.adversarial_gradient(x), trainer.score_term_gradient(x, draws.u, draws.eps)
    exact = torch.nn.functional.cosine_similarity(*pair, dim=-1).median(1).values
    torch.testing.assert_close(trainer.gradient_norms()["gradient_cosine"], exact, rtol=1e-4, atol=1e-5)
    rows = unit(torch.tensor([[[3e-30, 4e-30], [0.0, 0.0], [-3e18, 4e18]]]))
    torch.testing.assert_close(rows, torch.tensor([[[0.6, 0.8], [0.0, 0.0], [-0.6, 0.8]]]))
