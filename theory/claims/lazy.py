"""L. The lazy strategy: the score gradient at every k-th step only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare
from theory.quadrature import richardson

Field: TypeAlias = Callable[[Tensor], Tensor]

# L1


def adversarial_field(theta: Float[Tensor, 2]) -> Float[Tensor, 2]:
    """A smooth gradient, and no quadratic's."""
    return torch.stack([theta[0] ** 3 - theta[1], theta[1] + torch.sin(theta[0])])


def score_field(theta: Float[Tensor, 2]) -> Float[Tensor, 2]:
    """Another, whose push does not vanish where the first does."""
    return torch.stack([torch.tanh(3 * theta[0]) - 0.5, 2 * theta[1] + theta[0]])


def descend(lr: float, lam: float, every: int, time: float = 1.6) -> Float[Tensor, 2]:
    """SGD for time / lr steps, the score gradient added with weight lam at every so manieth step."""
    theta = torch.tensor([1.0, -0.5], dtype=torch.float64)
    optimiser = torch.optim.SGD([theta], lr=lr)
    for step in range(round(time / lr)):
        theta.grad = adversarial_field(theta)
        if step % every == 0:
            theta.grad += lam * score_field(theta)
        optimiser.step()
    return theta


def check_sgd(divided: bool = True) -> Iterator[Comparison]:
    for k in (2, 4, 8):
        rates = (0.02, 0.01, 0.005)
        gaps = torch.stack(
            [descend(lr, 0.8, k) - descend(lr, 0.8 / k if divided else 0.8, 1) for lr in rates]
        )  # [lr, 2]
        sizes = torch.linalg.vector_norm(gaps, dim=-1)
        limit = richardson(gaps, order=1).abs().max()
        yield compare(f"k = {k}: the distance of the two as the step size -> 0", limit, 0.0)
        orders = torch.log2(sizes[:-1] / sizes[1:])
        yield compare(f"k = {k}: its order in the step size", richardson(orders, order=1), 1.0)


L1 = Claim(
    id="L1",
    title="With SGD, weight lambda at every k-th step is weight lambda / k at every step",
    statement=(
        "With SGD the parameters after a given time (steps times step size) are, to first order in the step size, the\n"
        "same with the score gradient at weight lambda every k-th step as at weight lambda / k every step: their\n"
        "distance is O(step size)."
    ),
    assumptions=("Both gradients are smooth functions of the parameters. The optimisers are torch's.",),
    source=Source("ours", "averaging"),
    tolerance=0.02,
    why="Step sizes 0.02, 0.01, 0.005, extrapolated; what is left is of second order in 8 of them.",
    check=check_sgd,
    controls=(Control("without the 1/k", {"divided": False}),),
)

# L2

BETA2 = (0.99, 0.995)
G = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.3, -2.0], dtype=torch.float64)
A = torch.tensor([0.1, 3.0, 30.0, 1000.0, 3.0, 30.0], dtype=torch.float64)


def mean_steps(k: int, beta2: float, coupled: bool) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Mean step / lr of a cycle, due to g and due to A, once v has settled. torch's Adam, beta1 = 0."""
    theta = torch.zeros_like(A)
    optimiser = torch.optim.Adam([theta], lr=1.0, betas=(0.0, beta2), eps=1e-12)
    cycles = int(12 / (1 - beta2) / k)
    total, adversarial = torch.zeros_like(A), torch.zeros_like(A)
    for step in range(cycles * k):
        score = A if step % k == 0 else torch.zeros_like(A)
        before = theta.clone()
        theta.grad = G + score if coupled else G.clone()
        optimiser.step()
        root = root_of_second_moment(optimiser, theta, beta2)
        if not coupled:
            theta -= score / root
        if step >= (cycles - 1) * k:
            total += before - theta
            adversarial += G / root
    return adversarial / k, (total - adversarial) / k


def root_of_second_moment(optimiser: torch.optim.Adam, theta: Tensor, beta2: float) -> Tensor:
    """sqrt(v / (1 - beta2^t)): what Adam has just divided by."""
    state = optimiser.state[theta]
    return torch.sqrt(state["exp_avg_sq"] / (1 - beta2 ** float(state["step"])))


def coupled_law(k: int) -> tuple[Tensor, Tensor]:
    """g / root and (A/k) / root, root = sqrt(((k-1) g^2 + (g+A)^2) / k)."""
    root = torch.sqrt(((k - 1) * G**2 + (G + A) ** 2) / k)
    return G / root, A / k / root


def without_inner_k(k: int) -> tuple[Tensor, Tensor]:
    root = torch.sqrt((k - 1) * G**2 + (G + A) ** 2)
    return G / root, A / k / root


def decoupled_law(k: int) -> tuple[Tensor, Tensor]:
    """g / |g| and (A/k) / |g|."""
    return torch.sign(G), A / k / G.abs()


Law2: TypeAlias = Callable[[int], tuple[Tensor, Tensor]]


def check_adam(law: Law2 = coupled_law, coupled: bool = True) -> Iterator[Comparison]:
    for k in (1, 2, 8):
        runs = [mean_steps(k, beta2, coupled) for beta2 in BETA2]
        for part, name in enumerate(("adversarial", "score")):
            steps, predicted = torch.stack([run[part] for run in runs]), law(k)[part]
            limit = richardson(steps, order=1)
            yield compare(f"k = {k}: mean {name} step as beta2 -> 1", limit, predicted, predicted.abs())
            if coupled and k == 8:
                what = f"k = 8: mean {name} step at beta2 = 0.99, in units of 4 times itself"
                yield compare(what, steps[0], predicted, 4 * predicted.abs())
        if coupled:
            yield compare(f"k = {k}: mean score step for A = 1000 g", limit[A == 1000], k**-0.5)


L2 = Claim(
    id="L2",
    title="Adam breaks it: a rare large score gradient steps by 1/sqrt(k), whatever lambda, and stalls the rest",
    statement=(
        "Adam with beta1 = 0, a steady adversarial gradient g, and a score gradient A (lambda included) added at\n"
        "every k-th step: with r = sqrt(((k-1) g^2 + (g+A)^2) / k) the mean steps over the learning rate are\n"
        "    g / r  (adversarial)      (A/k) / r  (score).\n"
        "For A >> g the score's is 1/sqrt(k) whatever lambda is, and the adversarial is suppressed to sqrt(k) g/A."
    ),
    assumptions=("(1 - beta2) k -> 0, no noise. At beta2 = 0.99, k = 8 the law is met to 2 %, which is checked too.",),
    source=Source("ours", ""),
    tolerance=5e-3,
    why="Relative; beta2 is 0.99 and 0.995, extrapolated: what is left is of order ((1 - beta2) k)^2, 1e-4 here.",
    check=check_adam,
    controls=(
        Control("without the 1/k in the root", {"law": without_inner_k}),
        Control("the law of L3", {"law": decoupled_law}),
    ),
)

# L3


def noisy_moments(k: int, lam: float, noise: float, cycles: int, beta2: float = 0.99) -> tuple[Tensor, Tensor]:
    """(mean, variance) of the decoupled displacement over the steps of `cycles` cycles, over lr.   -> [], []

    The score gradient of a cycle is k lam (1 + noise xi), xi = +-1; all 2^cycles sequences of signs run side by side,
    so that mean and variance are exact.
    """
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=cycles)), dtype=torch.float64)  # [2^cycles, cycles]
    theta = torch.zeros(len(signs), dtype=torch.float64)
    optimiser = torch.optim.Adam([theta], lr=1.0, betas=(0.0, beta2), eps=1e-12)
    for step in range(cycles * k):
        theta.grad = torch.full_like(theta, 0.5)
        optimiser.step()
        if step % k == 0:
            theta -= k * lam * (1 + noise * signs[:, step // k]) / root_of_second_moment(optimiser, theta, beta2)
    return theta.mean(), theta.var(correction=0)


def check_decoupled(law: Law2 = decoupled_law, coupled: bool = False, power: int = 1) -> Iterator[Comparison]:
    yield from check_adam(law, coupled)
    for k in (1, 4, 16):
        mean, variance = noisy_moments(k, lam=0.3, noise=2.0, cycles=8)
        steps = 8 * k
        yield compare(f"k = {k}: mean displacement a step", -mean / steps, 1 + 0.3 / 0.5)
        yield compare(f"k = {k}: variance a step", variance / steps, k**power * (0.3 * 2.0 / 0.5) ** 2)


L3 = Claim(
    id="L3",
    title="Decoupling mends it: the score step is linear in lambda at any k; its noise grows like k",
    statement=(
        "With the score gradient kept out of Adam's moments and divided by the root of the adversarial second\n"
        "moment, its mean step is lr (A/k) / sqrt(v_adv): linear in lambda, at any k, and the adversarial step is\n"
        "what it is without it. At weight k lambda every k-th step and score gradients a + b xi, xi of variance one,\n"
        "the drift lr lambda a / sqrt(v) a step does not depend on k, while the variance a step is\n"
        "k lr^2 lambda^2 b^2 / v: noise, not bias, limits k."
    ),
    assumptions=(
        "Steady g, beta1 = 0; no clip (a clip c of the normalised score gradient binds once k lambda |a| > c sqrt(v)).",
        "The noise is +-1, and all sequences of signs are run: mean and variance are exact.",
    ),
    source=Source("ours", ""),
    tolerance=5e-3,
    why="v_adv = g^2 at every step for steady g, so that all is exact to rounding; the tolerance is that of L2.",
    check=check_decoupled,
    controls=(
        Control("the same law for the coupled update", {"coupled": True}),
        Control("a variance that does not depend on k", {"power": 0}),
    ),
)

CLAIMS: tuple[Claim, ...] = (L1, L2, L3)
