"""The pictures of some claims: each draws, on one pair of axes, what its claim compares. Loads matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib
import seaborn
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from theory.claims_e import games
from theory.claims_i import TWO_POINTS, critical_by_integral, line_rule, one_sample_moments
from theory.claims_l import A, G, coupled_law, decoupled_law, mean_steps
from theory.claims_p import FACES, OFF, ON
from theory.claims_s_beyond import adversarial_push, score_push, thick_cases
from theory.equilibrium import Loss, equilibrium
from theory.manifolds import Sphere
from theory.regularity import pointwise_loss

COLOURS = seaborn.color_palette("colorblind")


def pythagoras(axes: Axes) -> None:
    """P2: ell - SNR dist^2 against nsr, for laws of dimension 0, 1 and 2."""
    levels = torch.logspace(-2, -0.5, 7, dtype=torch.float64)
    for case in (OFF[0], OFF[3], ON[0], ON[3], ON[4], ON[5]):
        x, distance = case.points()[:1], case.distance()[:1]
        ell = pointwise_loss(case.law, x.expand(7, -1), 1.0, levels)
        rest = ell - distance**2 / levels**2
        axes.semilogx(levels, rest, "o-", ms=3, color=COLOURS[case.k], label=f"{case.name}, k = {case.k}")
    axes.set(xlabel="nsr", ylabel="ell - SNR dist$^2$", ylim=(-1, 4), title="The loss reads off the dimension")


def faces(axes: Axes) -> None:
    """P2b: the same beyond the edges."""
    levels = torch.logspace(-2, -0.5, 7, dtype=torch.float64)
    for number, face in enumerate(face for face in FACES if face.law.dim == 2):
        x = torch.tensor(face.x[:1], dtype=torch.float64)
        square = (x - face.law.project(x)).square().sum(-1)
        rest = pointwise_loss(face.law, x.expand(7, -1), 1.0, levels) - square / levels**2
        label = f"{face.name}, 2k - f = {2 * face.k - face.f}"
        axes.semilogx(levels, rest, "o-", ms=3, color=COLOURS[number], label=label)
    axes.set(xlabel="nsr", ylabel="ell - SNR dist$^2$", title="Beyond an edge, directions count twice")


def thick(axes: Axes) -> None:
    """S6: both pushes off a thick segment."""
    distance = torch.linspace(0.02, 0.9, 12, dtype=torch.float64)
    _, law, _ = thick_cases()[0]
    x = torch.stack([distance, torch.zeros_like(distance)], -1)
    axes.semilogy(distance, adversarial_push(law, x), color=COLOURS[0], label="adversarial: |grad log(1 - D*)|")
    axes.semilogy(distance, score_push(law, x), color=COLOURS[1], label="score: |grad ell|")
    axes.set(xlabel="distance (tau = 0.1)", ylabel="push", title="Off a thick segment")


def rest_points(axes: Axes) -> None:
    """E2: the masses of three points as lambda grows."""
    found = games()[0]
    lam = torch.linspace(0, 4, 81, dtype=torch.float64)
    styles: dict[Loss, str] = {"saturating": "-", "non-saturating": "--"}
    for loss, style in styles.items():
        q = torch.stack([equilibrium(found.p, found.ell, value, loss) for value in lam.tolist()])
        for cell in range(3):
            label = f"{loss}, ell = {found.ell[cell]:.2f}"
            axes.plot(lam, q[:, cell], style, color=COLOURS[cell], label=label)
    axes.set(xlabel="lambda", ylabel="mass at rest", title="Three points, weights 0.5, 0.3, 0.2")


def critical(axes: Axes) -> None:
    """I2: nsr^2 ell along a radius of the circle, below, at and above the critical noise."""
    radius = torch.linspace(0, 1.4, 22, dtype=torch.float64)
    x = torch.stack([radius, torch.zeros_like(radius)], -1)
    at = critical_by_integral(2)
    for number, nsr in enumerate((0.4, 0.6, at, 0.9)):
        loss = nsr**2 * pointwise_loss(Sphere(2), x, 1.0, nsr)
        label = f"nsr {nsr:.3f}" + (", critical" if nsr == at else "")
        axes.plot(radius, loss, color=COLOURS[number], label=label)
        axes.plot(radius[loss.argmin()], loss.min(), "o", color=COLOURS[number])
    axes.set(xlabel="radius", ylabel="nsr$^2$ ell", title="The minimum leaves the circle for its centre")


def noise(axes: Axes) -> None:
    """I3: the variance of the gradient midway between two points."""
    levels = torch.logspace(-1.6, -0.3, 14).tolist()
    zero = torch.zeros(1, dtype=torch.float64)
    for number, (name, detach, power) in enumerate((("full", False, -7), ("detached", True, -4))):
        values = [float(one_sample_moments(TWO_POINTS, zero, s, detach, line_rule())[0]) for s in levels]
        axes.loglog(levels, values, "o", color=COLOURS[number], label=name)
        constant = 16 / 15 / math.sqrt(2 * math.pi) if power == -7 else 4.0
        axes.loglog(levels, [constant * s**power for s in levels], color=COLOURS[number], label=f"nsr^{power}")
    axes.set(xlabel="nsr", ylabel="variance of one draw", title="Midway between two points")


def lazy(axes: Axes) -> None:
    """L2 and L3: the mean score step at every eighth step, coupled and decoupled."""
    order = [index for index in A.argsort().tolist() if G[index] == 1]
    for number, (name, law) in enumerate((("coupled", coupled_law), ("decoupled", decoupled_law))):
        steps = mean_steps(8, 0.99, name == "coupled")[1]
        axes.loglog(A[order], steps[order], "o", color=COLOURS[number], label=f"{name}: Adam")
        axes.loglog(A[order], law(8)[1][order], color=COLOURS[number], label=f"{name}: law")
    axes.set(xlabel="score gradient A / adversarial gradient g", ylabel="mean score step / lr", title="Every 8th step")


PICTURES: dict[str, Callable[[Axes], None]] = {
    "S6": thick,
    "P2": pythagoras,
    "P2b": faces,
    "E2": rest_points,
    "L2": lazy,
    "L3": lazy,
    "I2": critical,
    "I3": noise,
}


def draw(claim_id: str, path: Path) -> None:
    """The picture of a claim in a file, whose suffix says in which format.

    Raises:
        KeyError: the claim has no picture. ValueError: no such format. OSError: the file cannot be written.
    """
    picture = PICTURES[claim_id]
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        picture(axes)
        axes.legend(frameon=False, fontsize=7)
        figure.savefig(path, dpi=150)
