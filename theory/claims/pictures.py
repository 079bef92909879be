"""The pictures of the claims: each draws, on one pair of axes, what its claim compares. Loads matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from matplotlib.axes import Axes

from theory.claims.drawing import COLOURS, STYLES
from theory.claims.noise import CENTRED, WIDE, WIDTH, critical_by_integral, gradient_sizes
from theory.claims.squared_distance import FACES, OFF, ON, points_around, push, score_without_alpha
from theory.manifolds import Sphere, make
from theory.regularity import pointwise_loss


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
    "P1": tweedie,
    "P2": pythagoras,
    "P2b": faces,
    "P3": persistent_push,
    "I1": large_noise,
    "I2": critical,
    "I3": tails,
}
