"""C5, C7. Near the rest point: which steps converge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from theory.claims.claim import Claim, Comparison, Control, Source, compare
from theory.claims.drawing import COLOURS, STYLES
from theory.levels import Level, index_interval
from theory.manifolds import Gaussians, Law, Segment, Sphere
from theory.quadrature import richardson
from theory.regularity import eps_model_of, pointwise_loss, score_matching_loss
from theory.stability import Steps, dirac_eigenvalues, dirac_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# C5

NSR = 0.5
POINT = eps_model_of(Gaussians([(0.0,)]))


def players(theta: Tensor, psi: Tensor, lam: float, gamma: float) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The gradients that the generator and the discriminator descend, by autograd of their losses.   [n], [n] -> ...

    D(x) = psi x, logits; the generator has the saturating loss E log(1 - sigmoid(D)) and the score matching loss of the
    point 0, the discriminator the logistic loss and R1.
    """
    theta, psi = theta.detach().requires_grad_(), psi.detach().requires_grad_()
    adversarial = logsigmoid(-psi * theta)
    noise = torch.ones_like(theta)[:, None]  # for a point the loss is the same for every noise
    term = lam * score_matching_loss(theta[:, None], POINT, Level.variance_exploding(NSR), noise)
    (for_g,) = torch.autograd.grad((adversarial + term).sum(), theta, retain_graph=True)
    (for_d,) = torch.autograd.grad((-adversarial + gamma * psi.square() / 2).sum(), psi)
    return for_g, for_d


def growth(states: list[list[float]]) -> float:
    """log of the larger modulus of the two eigenvalues of a linear map, from an orbit of it: both coordinates obey
    z_n = trace z_(n-1) - determinant z_(n-2)."""
    z = np.array(states)
    design = np.concatenate([np.stack([z[1:-1, i], -z[:-2, i]], -1) for i in (0, 1)])
    (trace, determinant), *_ = np.linalg.lstsq(design, np.concatenate([z[2:, 0], z[2:, 1]]), rcond=None)
    return math.log(np.abs(np.roots([1, -trace, determinant])).max())


@lru_cache
def played_rate(
    lam_snr: float, gamma: float = 0.0, step: float = 0.1, alternating: bool = False, every: int = 1
) -> float:
    """The rate a step of gradient descent of both players, from so near the rest point that the game is linear."""
    return played_rates(lam_snr, gamma, [step], alternating, every)[0]


def played_rates(lam_snr: float, gamma: float, steps: list[float], alternating: bool, every: int) -> list[float]:
    """That of each step size: the games are played side by side, for twelve cycles."""
    lam, step = lam_snr * NSR**2, torch.tensor(steps, dtype=torch.float64)
    theta, psi = (torch.full((len(steps),), start, dtype=torch.float64) for start in (1e-6, -5e-7))
    states = []
    for at in range(12 * every):
        if at % every == 0:
            states.append(torch.stack([theta, psi], -1))
        for_g, for_d = players(theta, psi, every * lam if at % every == 0 else 0.0, gamma)
        moved = theta - step * for_g
        if alternating:
            _, for_d = players(moved, psi, 0.0, gamma)
        theta, psi = moved, psi - step * for_d
    return [growth(orbit.tolist()) / every for orbit in torch.stack(states, 1)]


@lru_cache
def adam_rate(lam_snr: float, steps: tuple[float, float], noises: tuple[float, float]) -> float:
    """As `played_rate` for torch's Adam with beta1 = 0, simultaneous; gradients with noise of +-`noises`, learning
    rates of steps times noises.

    The chains come in pairs of opposite noise, whose mean keeps the signal and loses the noise. v starts settled.
    """
    generator = torch.Generator().manual_seed(5)
    theta, psi = (torch.full((64,), 5e-4, dtype=torch.float64) for _ in range(2))
    parameters = (theta, psi)
    optimisers = []
    for part, step, noise in zip(parameters, steps, noises, strict=True):
        optimisers.append(torch.optim.Adam([part], lr=step * noise, betas=(0.0, 0.9999), eps=1e-12))
        settled = {"exp_avg": torch.zeros_like(part), "exp_avg_sq": torch.full_like(part, noise**2)}
        optimisers[-1].state[part] = {"step": torch.tensor(1e7), **settled}
    states = []
    for _ in range(80):
        states.append([float(part.mean()) for part in parameters])
        gradients = players(theta, psi, lam_snr * NSR**2, 0.0)
        for optimiser, part, gradient, noise in zip(optimisers, parameters, gradients, noises, strict=True):
            signs = 1.0 - 2.0 * torch.randint(2, (32,), generator=generator).double()
            part.grad = gradient + noise * torch.cat([signs, -signs])
            optimiser.step()
    return growth(states)


def on_circle(parameters: Float[Tensor, " 4"], lam: float, gamma: float, nsr: float) -> Float[Tensor, " 4"]:
    """The velocities of (rho, u, a, b), by autograd: P uniform on the circle, a generator that moves it by rho along
    its normals and by u sin(phi) along its tangents, the discriminator D(x) = a (|x| - 1) + b cos(angle of x)."""
    phi = torch.arange(8, dtype=torch.float64) / 8 * 2 * math.pi

    def d(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1)
        return a * (size - 1) + b * x[:, 0] / size

    rho, u, a, b = parameters
    x = (1 + rho) * torch.stack([torch.cos(phi + u * torch.sin(phi)), torch.sin(phi + u * torch.sin(phi))], -1)
    real = torch.stack([torch.cos(phi), torch.sin(phi)], -1).requires_grad_()
    fake_loss, real_loss = logsigmoid(-d(x, a, b)).mean(), logsigmoid(d(real, a, b)).mean()
    (slopes,) = torch.autograd.grad(d(real, a, b).sum(), real, create_graph=True)
    penalty = gamma / 2 * slopes.square().sum(-1).mean()
    for_g = fake_loss + lam * pointwise_loss(Sphere(2), x, 1.0, nsr).mean()
    (rho_u,) = torch.autograd.grad(for_g, parameters, create_graph=True)
    (a_b,) = torch.autograd.grad(-fake_loss - real_loss + penalty, parameters, create_graph=True)
    return -torch.cat([rho_u[:2], a_b[2:]])


@lru_cache
def jacobian_on_circle(lam: float, gamma: float, nsr: float) -> Float[Tensor, "4 4"]:
    zero = torch.zeros(4, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda at: on_circle(at, lam, gamma, nsr), zero)


@lru_cache
def second_derivatives(nsr: float) -> Float[Tensor, "2 2"]:
    """The Hessian of ell at (1, 0) of the unit circle: the first axis is normal, the second tangent."""
    place = torch.tensor([1.0, 0.0], dtype=torch.float64)
    return torch.autograd.functional.hessian(lambda x: pointwise_loss(Sphere(2), x, 1.0, nsr), place)


Rate = Callable[..., float]


def check_dirac(rate: Rate = dirac_rate, twice: float = 2.0, tangent: float = 0.0) -> Iterator[Comparison]:
    for lam_snr, gamma, step in ((0.05, 0.0, 0.1), (0.2, 0.0, 0.5), (0.0, 0.2, 0.3), (0.1, 0.1, 1.0), (2.0, 0.1, 0.3)):
        for alternating in (False, True):
            found = played_rate(lam_snr, gamma, step, alternating)
            wanted = rate(twice * lam_snr, gamma=gamma, step=step, alternating=alternating)
            how = "alternating" if alternating else "simultaneous"
            what = f"{how}, lambda SNR {lam_snr}, gamma {gamma}, h {step}: rate"
            yield compare(what, found, wanted, abs(found))
    for factor in (0.5, 0.98, 1.02, 1.5):  # below and above h_c = 2 lambda SNR / f'^2
        h = factor * 0.1 / 0.5**2
        found, wanted = played_rate(0.05, step=h), math.log1p(0.25 * h**2 - twice * 0.05 * h) / 2
        what = f"simultaneous at {factor} h_c: rate, in units of that without the term"
        yield compare(what, found, wanted, 0.125 * h**2)
    for every in (2, 8):
        for alternating in (False, True):
            found = played_rate(0.05, step=0.1, alternating=alternating, every=every)
            wanted = rate(twice * 0.05, step=0.1, alternating=alternating, every=every)
            yield compare(f"every {every}-th step, alternating {alternating}: rate", found, wanted, abs(found))
    for sizes in ((0.1, 0.1), (0.2, 0.05)):
        found, wanted = adam_rate(0.2, sizes, (0.01, 0.02)), rate(twice * 0.2, step=Steps(*sizes))
        yield compare(f"Adam, lr / noise {sizes}: rate", found, wanted, abs(found))
    by_level = torch.stack([second_derivatives(s) * s**2 / 2 for s in (0.1, 0.05)])
    limit = richardson(by_level, order=2)
    yield compare("a circle: second derivative of ell along the normal, over 2 SNR", limit[0, 0], twice / 2)
    yield compare("along the tangent", limit[1, 1], tangent)
    lam, gamma, nsr = 0.002, 0.3, 0.1
    hessian = second_derivatives(nsr)
    values = np.linalg.eigvals(jacobian_on_circle(lam, gamma, nsr).numpy())
    blocks = [
        dirac_eigenvalues(twice / 2 * lam * float(hessian[0, 0]), gamma=gamma),
        dirac_eigenvalues(twice / 2 * lam * tangent * float(hessian[0, 0]), slope=0.25, gamma=gamma / 2 + 0.25),
    ]
    for part, name in ((np.real, "real"), (np.imag, "imaginary")):
        ordered = [torch.from_numpy(np.sort(part(these))) for these in (values, np.concatenate(blocks))]
        yield compare(f"a game on the circle: {name} parts of its four eigenvalues", *ordered)


def rates(axes: Axes) -> None:
    """C5: measured and predicted rates against the step."""
    steps, score = np.linspace(0.02, 0.8, 14), 0.05
    for number, (name, alternating, every) in enumerate(
        (("simultaneous", False, 1), ("alternating", True, 1), ("alternating, every 8th step", True, 8))
    ):
        found = played_rates(score, 0.0, steps.tolist(), alternating, every)
        fine = np.linspace(0.02, 0.8, 100)
        predicted = [dirac_rate(2 * score, step=h, alternating=alternating, every=every) for h in fine.tolist()]
        axes.plot(steps, found, "os^"[number], ms=4, color=COLOURS[number], label=f"{name}: played")
        axes.plot(fine, predicted, ls=STYLES[number], color=COLOURS[number], label=f"{name}: eigenvalues")
    axes.axhline(0, color="0.6", lw=0.8)
    axes.axvline(2 * score / 0.25, color="0.6", ls=":", label=r"$2\lambda$SNR$/f'^2$")
    axes.set(xlabel="step h", ylabel="rate a step; below 0: converges", title=r"Dirac-GAN, $\lambda$ SNR = 0.05")


C5 = Claim(
    id="C5",
    title="Local stability: the score term is to the generator what R1 with gamma = 2 lambda SNR is to D",
    statement=(
        "Near the rest point of the Dirac-GAN (P a point, D linear) the flow has the matrix\n"
        "    J = [[-2 lambda SNR, -f'], [f', -gamma]].\n"
        "With gamma = 0 and complex eigenvalues, simultaneous steps of length h converge iff h < 2 lambda SNR / f'^2;\n"
        "alternating ones converge at every such h, by sqrt((1 - 2 h lambda SNR)(1 - h gamma)) a step. Lazy at every\n"
        "k-th step: the product of k steps. Adam with beta1 = 0 under gradient noise of standard deviation n moves on\n"
        "average as steps of lr / n do. On a circle the game splits. Along the normal 2 SNR stands (as nsr -> 0),\n"
        "along the tangent 0: there the term does not damp, the discriminator alone does (by R1, and by the curvature\n"
        "of its loss)."
    ),
    assumptions=(
        "The game is linearised; logistic loss, f' = 1/2.",
        "Adam: the noise is large against the gradient, and (1 - beta2) is small.",
        "The circle: the discriminator's features are |x| - 1 and the cosine of the angle, the generator moves along "
        "them; R1 is at the real data. The logistic loss adds 2 |f''| E cos^2 = 1/4 to the tangent's gamma.",
    ),
    source=Source("ours", "the analysis is that of Mescheder, Geiger, Nowozin 2018 and Gidel et al. 2019"),
    tolerance=2e-3,
    why=(
        "Rates of gradient descent are relative and met to 1e-6, the game being linear to 1e-12. Adam's are off by the "
        "square of gradient over noise, 0.025^2, and by 1 - beta2. The second derivative is extrapolated from nsr 0.1 "
        "and 0.05, which leaves O(nsr^4)."
    ),
    check=check_dirac,
    controls=(
        Control("lambda SNR in the place of 2 lambda SNR", {"twice": 1.0}),
        Control("2.2 lambda SNR", {"twice": 2.2}),
        Control("a damped tangent", {"tangent": 0.1}),
        Control(
            "the rates of simultaneous steps for all",
            {"rate": lambda s, **options: dirac_rate(s, **{**options, "alternating": False})},
        ),
    ),
    picture=rates,
)

# C7

TERMS: tuple[tuple[str, Law, tuple[float, ...], float], ...] = (
    ("a point", Gaussians([(0.5, 0.0)]), (0.9, 0.0), 0.3),
    ("a segment", Segment((0.0, -1.0), (0.0, 1.0)), (0.2, 0.1), 0.05),
    ("a circle", Sphere(2), (1.001, 0.0), 0.02),
)


@lru_cache
def slope_of_loss(law: Law, place: tuple[float, ...], nsr: float) -> Float[Tensor, "1 d"]:
    x = torch.tensor([place], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(pointwise_loss(law, x, 1.0, nsr).sum(), x)[0]


def shrink(law: Law, place: tuple[float, ...], nsr: float, product: float) -> float:
    """The signed factor by which one step on the term changes x - Proj(x), eta lambda SNR = product."""
    x, slope = torch.tensor([place], dtype=torch.float64), slope_of_loss(law, place, nsr)
    away = x - law.project(x)
    moved = away - product * nsr**2 * slope
    return float((moved * away).sum() / away.square().sum())


def check_step(factor: float = 2.0) -> Iterator[Comparison]:
    for name, law, place, nsr in TERMS:
        for product in (0.1, 0.5, 0.9, 1.1):
            what = f"{name}, eta lambda SNR = {product}: dist after one step over dist before, signed"
            yield compare(what, shrink(law, place, nsr, product), 1 - factor * product)
    law, nsr = TERMS[1][1], 0.05
    for product, how in ((0.98, "shrinks"), (1.02, "grows")):
        x = (0.01, 0.1)
        for _ in range(20):
            slope = slope_of_loss(law, x, nsr)[0]
            x = (x[0] - product * nsr**2 * float(slope[0]), x[1] - product * nsr**2 * float(slope[1]))
        wanted = 20 * math.log(abs(1 - factor * product))
        found = math.log(float(law.distance(torch.tensor([x], dtype=torch.float64))[0]) / 0.01)
        yield compare(f"20 steps at {product}, dist {how}: log of the growth", found, wanted)
    interval = index_interval("karras", 40, 60)
    mean = float(interval.nsr((torch.arange(10**4, dtype=torch.float64) + 0.5) / 10**4).pow(-2).mean())
    yield compare("the mean SNR of the EDM reading of the paper's interval, over 2.56e4", mean / 2.56e4, 1.0)


def steps_on_the_term(axes: Axes) -> None:
    """C7: the factor of one step against eta lambda SNR."""
    products = torch.linspace(0, 1.3, 14).tolist()
    for number, (name, law, place, nsr) in enumerate(TERMS):
        found = [abs(shrink(law, place, nsr, product)) for product in products]
        axes.plot(products, found, "os^"[number], ms=6 - number, color=COLOURS[number], label=f"{name}, nsr {nsr}")
    fine = np.linspace(0, 1.3, 131)
    axes.plot(fine, np.abs(1 - 2 * fine), color="0.4", label=r"$|1 - 2\eta\lambda$ SNR$|$")
    axes.axhline(1, color="0.6", lw=0.8, ls=":", label="1: no progress")
    axes.set(xlabel=r"$\eta\lambda$ SNR", ylabel="dist after a step / dist before", title="A step on the score term")


C7 = Claim(
    id="C7",
    title="Step bound: a gradient step eta on the term converges near M iff eta lambda SNR < 1",
    statement=(
        "Near M a step x <- x - eta lambda grad ell changes dist(x, M) by the factor |1 - 2 eta lambda SNR|: it\n"
        "shrinks iff eta lambda SNR < 1. At the EDM reading of the paper's CIFAR10 interval (t from 40 to 60) the\n"
        "mean SNR is 2.56e4: the bound is eta lambda < 3.9e-5."
    ),
    assumptions=(
        "nsr -> 0 and dist(x, M) below the reach; steps of plain gradient descent on the samples.",
        "A step of the parameters theta moves the samples by J J^T of it, J the generator's Jacobian in theta.",
    ),
    source=Source("ours", "from P2 and the step bound of gradient descent on a quadratic"),
    tolerance=2e-3,
    why=(
        "Exact off a point and inside a segment. On the circle, at nsr 0.02 and dist 0.001, ell has the slope "
        "O(1) of curvature beside 2 SNR dist = 5: nsr^2 of its own, 4e-4 of dist over 0.001, is the largest error."
    ),
    check=check_step,
    controls=(
        Control("eta lambda SNR < 2: the factor 1 - eta lambda SNR", {"factor": 1.0}),
        Control("a factor 1 - 2.2 eta lambda SNR", {"factor": 2.2}),
    ),
    picture=steps_on_the_term,
)

CLAIMS: tuple[Claim, ...] = (C5, C7)
