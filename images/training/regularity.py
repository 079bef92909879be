"""The score term in a training loop of one's own: `losses.score_term` of generated images at every k-th step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from images.draws import SCORE, draw
from images.interfaces import Images, Labels
from images.training.losses import score_term
from theory.common.checks import at_least, whole
from theory.levels import Interval, Level, Spacing


class ScoreRegularity:
    """weight x mean over images and pixels of (eps_model(x + nsr eps) - eps)^2 at every k-th step, else 0.

        loss = adversarial_loss + term(fake, step)                     in the moments of the optimiser: "summed"

        scores = term.gradients(fake, step, generator.parameters())    beside them: "decoupled"
        adversarial_loss.backward()
        decoupled_adam.step(scores=scores)

    nsr = sigma / alpha is drawn from the interval, one an image, at alpha = 1; pixels run from -1 to 1. As in the
    paper's code the mean is over pixels, and a term at every k-th step is not multiplied by k. The noise is a function
    of (seed, step), so that a resumed loop needs no state: count generator steps. Processes that share a batch need a
    seed each. The loss is computed in float32 at least, under autocast too. The score model takes no gradients and
    stays in evaluation mode.

    Args:
        eps_model: (x_t, level) -> eps, as `images.denoisers.eps_model` makes it. With labels, its `of(labels)` is it.
        interval: of nsr, or its two ends.
        weight: lambda; that of `gradients` is not comparable, as its step is linear in it.
        every: k.
        spacing: of nsr on the interval, "uniform" or "log-uniform".

    Raises:
        ValueError: an interval, weight, `every` or seed that cannot be meant; an interval beyond that of the model.
    """

    def __init__(
        self,
        eps_model: Callable[[Tensor, Level], Tensor],
        interval: Interval | tuple[float, float],
        weight: float,
        every: int = 8,
        *,
        seed: int = 0,
        spacing: Spacing = "uniform",
    ):
        self.eps_model: Any = eps_model
        self.interval = interval if isinstance(interval, Interval) else Interval(*interval)
        self.weight, self.every = at_least("weight", weight, 0), whole("every", every, 1)
        self.seed, self.spacing = whole("seed", seed), spacing
        self.interval.nsr(torch.zeros(1), spacing)  # its error comes here
        known = getattr(eps_model, "interval", None)
        if isinstance(known, Interval) and (self.interval.low < known.low or self.interval.high > known.high):
            raise ValueError(
                f"interval must lie within the score model's, {known.low:.5g} to {known.high:.5g}; "
                f"given {self.interval.low:.5g} to {self.interval.high:.5g}"
            )

    def __call__(self, images: Images, step: int, labels: Labels | None = None) -> Float[Tensor, ""]:
        """The term of a batch at a generator step, differentiable in the images.

        Raises:
            ValueError: images are not [b, c, h, w]; the score model's.
        """
        if images.ndim != 4:
            raise ValueError(f"images must be [b, c, h, w]; given {tuple(images.shape)}")
        if step % self.every:
            return images.new_zeros((), dtype=torch.float32)
        if isinstance(self.eps_model, nn.Module):
            self.eps_model.requires_grad_(False).eval()
        model = self.eps_model if labels is None else self.eps_model.of(labels)
        batch = slice(0, len(images))
        noise = draw(torch.randn, tuple(images.shape[1:]), self.seed, SCORE, 2 * step, batch)
        u = draw(torch.rand, (), self.seed, SCORE, 2 * step + 1, batch)
        nsr = self.interval.nsr(u, self.spacing).to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            x = images.to(torch.promote_types(images.dtype, torch.float32))
            return self.weight * score_term(x, model, nsr, noise).mean()

    def gradients(
        self, images: Images, step: int, parameters: Iterable[Tensor], labels: Labels | None = None
    ) -> list[Tensor] | None:
        """The term's gradients to the generator's parameters, for `DecoupledAdam.step(scores=...)`; None between.

        The graph of the images is kept for the loop's own backward pass.

        Args:
            parameters: in the order in which the optimiser has them.
        """
        if step % self.every:
            return None
        loss = self(images, step, labels)
        return list(torch.autograd.grad(loss, list(parameters), retain_graph=True, materialize_grads=True))
