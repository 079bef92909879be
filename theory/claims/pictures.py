"""The pictures of the claims: each draws, on one pair of axes, what its claim compares. Loads matplotlib."""

from __future__ import annotations

from collections.abc import Callable

import torch
from matplotlib.axes import Axes

from theory.claims.drawing import COLOURS, STYLES
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


PICTURES: dict[str, Callable[[Axes], None]] = {
    "P1": tweedie,
    "P2": pythagoras,
    "P2b": faces,
    "P3": persistent_push,
}
