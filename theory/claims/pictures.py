"""The pictures of the claims: each draws, on one pair of axes, what its claim compares. Loads matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from torch import Tensor

from theory.claims.drawing import COLOURS, STYLES
from theory.claims.noise import CENTRED, WIDE, WIDTH, critical_by_integral, gradient_sizes
from theory.claims.other_divergences import (
    adversarial_push,
    atoms_of_segment,
    blind,
    mmd,
    places,
    random_pairs,
    score_push,
    shifted,
    thick_cases,
    weighted_mmd_squared,
)
from theory.claims.squared_distance import FACES, OFF, ON, points_around, push, score_without_alpha
from theory.divergences import (
    Carrier,
    on_common_measure,
    wasserstein,
)
from theory.manifolds import Gaussians, Segment, Sphere, make
from theory.regularity import pointwise_loss


def blind_divergences(axes: Axes) -> None:
    """S4: divergences as a half of Q's mass, an atom, moves away from the circle."""
    arcs, atom = Carrier(torch.full((32,), math.pi / 16, dtype=torch.float64)), Carrier(torch.ones(1).double())
    uniform = torch.full((32,), 1 / (2 * math.pi), dtype=torch.float64)
    p, q, mu = on_common_measure({arcs: uniform}, {arcs: uniform / 2, atom: torch.full((1,), 0.5).double()})
    distance = torch.linspace(0.01, 4, 40, dtype=torch.float64)
    spots = [places(32, torch.tensor([[1 + d, 0.0]], dtype=torch.float64)) for d in distance.tolist()]
    for number, name in enumerate(("Jensen-Shannon", "total variation", "squared Hellinger", "LSGAN", "hinge")):
        axes.plot(
            distance,
            [float(blind(name)(p, q, mu, x)) for x in spots],
            ls=STYLES[number],
            color=COLOURS[number],
            label=name,
        )
    found = [float(weighted_mmd_squared(p, q, mu, x)) for x in spots]
    axes.plot(distance, found, color="black", lw=2, label="MMD$^2$, no f-divergence")
    axes.set(
        xlabel="distance of the atom to the circle",
        ylabel="$D(P, Q)$",
        ylim=(0, 1.5),
        title="An atom of mass 1/2 moves away",
    )


def metrics(axes: Axes) -> None:
    """S5: the slope in delta of three distances of a segment to itself, shifted."""
    x, segment, nsr = atoms_of_segment(), Segment((0.0, -1.0), (0.0, 1.0)), 0.05
    delta = torch.linspace(0.05, 3, 30, dtype=torch.float64)

    def ell(x: Tensor, y: Tensor) -> Tensor:
        return nsr**2 * pointwise_loss(segment, y[11:13], 1.0, nsr).mean()

    for number, (name, distance) in enumerate((("$W_1$", wasserstein), ("MMD$^2$", mmd), (r"nsr$^2\,\ell$", ell))):
        slopes = [float(shifted(distance, x, d)[1]) for d in delta.tolist()]
        axes.plot(delta, slopes, ls=STYLES[number], color=COLOURS[number], label=name)
    axes.set(xlabel=r"shift $\delta$", ylabel=r"slope in $\delta$", title="A segment against itself, shifted across")


def thick(axes: Axes) -> None:
    """S6: both pushes off a thick segment."""
    distance = torch.linspace(0.02, 0.9, 12, dtype=torch.float64)
    _, law, _ = thick_cases()[0]
    x = torch.stack([distance, torch.zeros_like(distance)], -1)
    axes.semilogy(
        distance, adversarial_push(law, x), "o-", color=COLOURS[0], label=r"adversarial: $|\nabla\log(1 - D^*)|$"
    )
    axes.semilogy(distance, score_push(law, x), "s-", color=COLOURS[1], label=r"score: $|\nabla\ell|$")
    axes.set(xlabel=r"distance to the core ($\tau = 0.1$)", ylabel="push", title="Off a thick segment")


def non_saturating(axes: Axes) -> None:
    """S7: both adversarial gradients where Q and P, noised, overlap less and less."""
    real, nsr = Sphere(2), 0.1
    radius = torch.linspace(1.0, 2.2, 60, dtype=torch.float64)
    generated = Gaussians([(1.8, 0.0)], std=0.2)
    x = torch.stack([radius, torch.zeros_like(radius)], -1).requires_grad_()
    log_ratio = generated.log_density(x, 1.0, nsr) - real.log_density(x, 1.0, nsr)
    for number, (name, loss) in enumerate(
        (
            (r"$|\nabla\log D^*|$, non-saturating", torch.nn.functional.logsigmoid(-log_ratio)),
            (r"$|\nabla\log(1 - D^*)|$, saturating", torch.nn.functional.logsigmoid(log_ratio)),
        )
    ):
        gradient = torch.autograd.grad(loss.sum(), x, retain_graph=True)[0]
        axes.semilogy(radius, gradient.norm(dim=-1), ls=STYLES[number], color=COLOURS[number], label=name)
    difference = generated.score(x, 1.0, nsr) - real.score(x, 1.0, nsr)
    axes.semilogy(radius[20:], difference.norm(dim=-1)[20:].detach(), "k:", label=r"$|\nabla\log q - \nabla\log p|$")
    axes.set(xlabel="$|x|$; P on the unit circle, Q at 1.8", ylabel="push", title="Noised laws that overlap a little")


def general_position(axes: Axes) -> None:
    """S8: how often two random circles of R^3 come near each other."""
    eps = torch.logspace(-3, -0.5, 20, dtype=torch.float64)
    for number, (name, planar) in enumerate((("in general position", False), ("in one plane: not so", True))):
        distance, _ = random_pairs(4000, planar)
        share = (distance[:, None] < eps).double().mean(0)
        axes.loglog(eps, share.clamp(min=1e-5), "os"[number], color=COLOURS[number], label=name)
    at = float((random_pairs(4000, False)[0] < 0.1).double().mean())
    axes.loglog(eps, at * eps / 0.1, color=COLOURS[0], label=r"$\propto\varepsilon$")
    axes.set(
        xlabel=r"$\varepsilon$",
        ylabel=r"share of pairs nearer than $\varepsilon$",
        title="4000 pairs of circles in $R^3$",
    )


def tweedie(axes: Axes) -> None:
    """P1: the loss of one noise against SNR |x - x0hat|^2, with the score and with a score without alpha."""
    generator, alpha, sigma = torch.Generator().manual_seed(1), 0.8, 0.6
    for number, name in enumerate(("points", "ring", "box", "two-moons")):
        law = make(name)
        x = points_around(law, generator)
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        y = alpha * x + sigma * noise
        predicted = (alpha / sigma * (x - law.denoise(y, alpha, sigma))).square().sum(-1)
        found = (-sigma * law.score(y, alpha, sigma) - noise).square().sum(-1)
        axes.loglog(predicted, found, "os^d"[number], ms=4, color=COLOURS[number], label=name)
        wrong = (-sigma * score_without_alpha(law, y, alpha, sigma) - noise).square().sum(-1)
        axes.loglog(predicted, wrong, "x", ms=4, color="0.5", label="the score without alpha" if number == 0 else None)
    axes.loglog([1e-8, 1e2], [1e-8, 1e2], color="0.6", lw=1, label="equal")
    axes.set(
        xlabel=r"SNR $\|x - \hat x_0(x_t)\|^2$",
        ylabel=r"$\|\epsilon^*(x_t) - \epsilon\|^2$",
        title="The loss is a distance",
    )


def pythagoras(axes: Axes) -> None:
    """P2: ell - SNR dist^2 against nsr, for laws of dimension 0, 1 and 2."""
    levels = torch.logspace(-2, -0.5, 7, dtype=torch.float64)
    for number, case in enumerate((OFF[0], OFF[3], ON[0], ON[3], ON[4], ON[5])):
        x, distance = case.points()[:1], case.distance()[:1]
        ell = pointwise_loss(case.law, x.expand(7, -1), 1.0, levels)
        rest = ell - distance**2 / levels**2
        label = f"{case.name}, k = {case.k}"
        axes.semilogx(levels, rest, "os^vd*"[number] + "-", ms=4, color=COLOURS[case.k], label=label)
    axes.set(xlabel="nsr", ylabel=r"$\ell$ - SNR dist$^2$", ylim=(-1, 4), title="The loss reads off the dimension")


def faces(axes: Axes) -> None:
    """P2b: the same beyond the edges."""
    levels = torch.logspace(-2, -0.5, 7, dtype=torch.float64)
    for number, face in enumerate(face for face in FACES if face.law.dim == 2):
        x = torch.tensor(face.x[:1], dtype=torch.float64)
        square = (x - face.law.project(x)).square().sum(-1)
        rest = pointwise_loss(face.law, x.expand(7, -1), 1.0, levels) - square / levels**2
        label = f"{face.name}, 2k - f = {2 * face.k - face.f}"
        axes.semilogx(levels, rest, "os^vd"[number] + "-", ms=4, color=COLOURS[number], label=label)
    axes.set(xlabel="nsr", ylabel=r"$\ell$ - SNR dist$^2$", title="Beyond an edge, directions count twice")


def persistent_push(axes: Axes) -> None:
    """P3: nsr^2 / 2 times the push along a radius of the circle, towards larger radius."""
    radius = torch.linspace(0.1, 1.9, 10, dtype=torch.float64)
    x = torch.stack([radius, torch.zeros_like(radius)], -1)
    axes.plot(radius, 1 - radius, color="0.6", lw=4, label="Proj(x) - x")
    for number, nsr in enumerate((0.2, 0.4, 0.8)):
        found = nsr**2 / 2 * push(Sphere(2), x, nsr)[:, 0]
        axes.plot(radius, found, ls=STYLES[number], color=COLOURS[number], label=f"score, nsr {nsr}")
    axes.plot(radius, torch.zeros_like(radius), ":", color=COLOURS[3], label="adversarial: 0 (S2)")
    axes.set(xlabel="$|x|$", ylabel=r"nsr$^2$/2 $\cdot$ push outwards", title="The score term pushes to the circle")


def large_noise(axes: Axes) -> None:
    """I1: where the push points, from the nearest point at small noise to the mean at large noise."""
    levels = torch.logspace(-1.3, 1.3, 27).tolist()
    for number, (name, law, place, mean, _) in enumerate(WIDE[1:]):
        x = torch.tensor([place], dtype=torch.float64)
        target = [float((x + s**2 / 2 * push(law, x, s))[0, 0]) for s in levels]
        axes.semilogx(levels, target, ls=STYLES[number], color=COLOURS[number], label=f"{name}, x = {place[0]}")
        axes.semilogx(levels[-1], mean[0], "o", color=COLOURS[number])
        axes.semilogx(levels[0], law.project(x)[0], "s", color=COLOURS[number])
    axes.plot([], [], "ks", label="Proj(x)")
    axes.plot([], [], "ko", label="E[X]")
    axes.set(xlabel="nsr", ylabel=r"x - nsr$^2$/2 $\nabla\ell(x)$", title="From the nearest point to the mean")


def critical(axes: Axes) -> None:
    """I2: nsr^2 ell along a radius of the circle, below, at and above the critical noise."""
    radius = torch.linspace(0, 1.4, 22, dtype=torch.float64)
    x = torch.stack([radius, torch.zeros_like(radius)], -1)
    at = critical_by_integral(2)
    for number, nsr in enumerate((0.4, 0.6, at, 0.9)):
        loss = nsr**2 * pointwise_loss(Sphere(2), x, 1.0, nsr)
        label = f"nsr {nsr:.3f}" + (", critical" if nsr == at else "")
        axes.plot(radius, loss, ls=STYLES[number], color=COLOURS[number], label=label)
        axes.plot(radius[loss.argmin()], loss.min(), "o", color=COLOURS[number])
    axes.set(xlabel="$|x|$", ylabel=r"nsr$^2\,\ell$", title="The minimum leaves the circle for its centre")


def tails(axes: Axes) -> None:
    """I3: how often the gradient of one draw is longer than u, over x ~ Q around the centre of the circle."""
    _, circle = CENTRED[1]
    density = 1 / (2 * math.pi * WIDTH**2)
    u = torch.logspace(1, 9, 81, dtype=torch.float64)
    for number, nsr in enumerate((0.1, 0.03, 0.01)):
        for detach, style in ((False, "-"), (True, ":")):
            size, weights = gradient_sizes(circle, nsr, detach, 0.02, 7)
            share = torch.stack([weights[size > at].sum() for at in u])
            label = f"nsr {nsr}" + (", detached" if detach else ", full")
            axes.loglog(u[share > 0], share[share > 0], style, color=COLOURS[number], label=label)
    axes.loglog(u, math.pi * density / u, "k--", lw=1, label=r"$q\,\pi/u$")
    axes.set(
        xlabel="u", ylabel=r"$P(|\nabla| > u)$", ylim=(1e-9, 2), title="A power law between nsr$^{-2}$ and nsr$^{-4}$"
    )


PICTURES: dict[str, Callable[[Axes], None]] = {
    "S4": blind_divergences,
    "S5": metrics,
    "S6": thick,
    "S7": non_saturating,
    "S8": general_position,
    "P1": tweedie,
    "P2": pythagoras,
    "P2b": faces,
    "P3": persistent_push,
    "I1": large_noise,
    "I2": critical,
    "I3": tails,
}
