"""Memory of one GPU in training, by part, from the costs of a step at two sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from images.plan.costs import Costs
from images.recipes import OWN_STEP, Recipe


@dataclass(frozen=True)
class Footprint:
    """Bytes by part. Peaks are affine in the images at once, through the two sizes that were measured."""

    recipe: Recipe
    coupling: str
    some: Costs
    more: Costs

    def memory(self, gpus: int, images: int) -> dict[str, float]:
        """Bytes by part with so many images at once; the gradients are those of the larger of the two steps."""
        g, d = 4 * self.more.generator, 4 * self.more.discriminator
        held = {
            "parameters": g + d,
            "averaged generator": g,
            "optimisers": self.more.moments,
            "score model": 4 * self.more.score,
        }
        in_parts = images < self.recipe.batch // gpus
        phases = []
        for name, own, gradients in (
            ("d_penalised", d, d),
            ("g_scored", g, g if self.coupling in OWN_STEP else 2 * g),
        ):
            during = self.peak(name, images) + (gradients if in_parts else 0)  # sums wait while parts are computed
            after = gradients * (2 if gpus > 1 else 1) + own  # a copy to send; the roots of the second moments
            phases.append((max(during, after), gradients))
        highest, gradients = max(phases)
        parts = held | {"gradients": gradients, "activations, temporaries": highest - gradients}
        return parts | {"total": sum(parts.values())}

    def peak(self, name: str, images: int) -> float:
        """Bytes of the step `name`, a field of Costs, beyond those held between steps."""
        (some, low), (more, high) = ((costs.batch, getattr(costs, name).peak) for costs in (self.some, self.more))
        return math.ceil(low + (high - low) / (more - some) * (images - some))

    def fitting(self, gpus: int, limit: float) -> tuple[int, dict[str, float]]:
        """(images at once, memory): a GPU's whole share, halved until it is within the limit or one whole group."""
        together = self.recipe.together
        images = self.recipe.batch // gpus
        while (found := self.memory(gpus, images))["total"] > limit and images > together:
            images = together * -(-images // (2 * together))
        return images, found
