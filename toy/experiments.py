"""What the sweeps ask: each experiment a question, and the cells that answer it."""

from __future__ import annotations

from toy.cells import Arm, Cell, Experiment
from toy.config import Config


def frequency(quick: bool) -> list[Cell]:
    """The score term at every k-th step, k times as strong."""
    config = Config(steps=60, d_ahead=50, samples=256) if quick else Config(steps=600, d_ahead=200)
    rates = (5e-4, 8e-3) if quick else (5e-4, 2e-3, 8e-3, 3.2e-2)
    arms = [Arm("gan", rates=rates)]
    for k in (1, 8):
        for base in ("smart", "smart-decoupled"):
            arms.append(Arm(f"{base}, k={k}", base, {"every": k}, weights=(0.1,), rates=rates))
    return [Cell("saturated", {"loss": "saturating"}, config, arms)]


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (Experiment("frequency", "How often must the score term act? (OQ1, L1, L2)", frequency),)
}
