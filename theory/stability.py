"""How the game with the score term behaves near its rest point: eigenvalues of the Dirac-GAN (claim C5).

P is a point mass at 0, the generator a point theta, the discriminator D(x) = psi x (Mescheder, Geiger, Nowozin 2018):

    L(theta, psi) = f(theta psi) + const;    theta descends L + lambda ell,  psi ascends L - gamma psi^2 / 2.

For a point mass ell(theta) = SNR theta^2, so that the flow linearised at theta = psi = 0 has the matrix

    J = [[-2 lambda SNR, -f'(0)],
         [f'(0),         -gamma]].

The score term is to the generator what R1 with gamma = 2 lambda SNR is to the discriminator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from theory.common.checks import at_least, flag, positive, real, whole


class Steps(NamedTuple):
    """The step sizes of the two players."""

    generator: float
    discriminator: float


def dirac_eigenvalues(
    score: float,
    slope: float = 0.5,
    gamma: float = 0.0,
    step: float | Steps | None = None,
    alternating: bool = False,
    every: int = 1,
) -> Complex[np.ndarray, " 2"]:
    """The two eigenvalues of the linearised game, of larger modulus (of the flow: of larger real part) first.

    Without a step: those of J, of the flow d(theta, psi)/dt; it is stable iff both have a negative real part.
    With steps: those of the map of one cycle of `every` steps; the game converges iff both have a modulus below 1, and
    `dirac_rate` is the rate a step. One step of lengths (h_g, h_d) is

        simultaneous   theta' = theta - h_g (s theta + f' psi),   psi' = psi + h_d (f' theta - gamma psi)
        alternating    theta' as before,                          psi' = psi + h_d (f' theta' - gamma psi)

    with s = 2 lambda SNR. Whichever player moves first, the eigenvalues are the same: the two maps differ by a change
    of basis. Under the lazy strategy s is 0 in every - 1 steps of a cycle and every * s in one of them.

    - Simultaneous, h_g = h_d = h, complex eigenvalues: stable iff h < (s + gamma) / (s gamma + f'^2).
    - Alternating, complex eigenvalues: modulus sqrt((1 - h_g s)(1 - h_d gamma)): stable if s + gamma > 0.
    - Adam with beta1 = 0 under gradient noise of standard deviation n, large against the gradient: its mean step is
      that of gradient descent with the step lr / n; give Steps(lr / n_generator, lr / n_discriminator). Without noise
      Adam's steps do not shrink with the gradient, and there is no linearisation.
    - On the normal directions of a manifold 2 SNR becomes the second derivative of ell, 2 SNR + O(1); on the tangent
      directions of one with constant ell it is 0: there only gamma damps.

    >>> import numpy as np
    >>> flow = dirac_eigenvalues(score=0.1)
    >>> (np.round(flow.real, 6) == -0.05).all()
    np.True_
    >>> round(dirac_rate(0.1, step=0.1), 6)  # simultaneous steps
    -0.003764
    >>> round(dirac_rate(0.1, step=0.1, alternating=True), 6)
    -0.005025

    Args:
        score: s = 2 lambda SNR >= 0, the second derivative of lambda ell.
        slope: f'(0), not 0; 1/2 for the logistic losses.
        gamma: of R1, >= 0.
        step: h > 0 of both players, or `Steps`; None for the flow.
        alternating: whether the discriminator sees the generator's last step.
        every: k >= 1, the score term acts at every k-th step with k times its weight.

    Raises:
        ValueError: an argument is out of its range.
    """
    score, gamma = at_least("score", score, 0), at_least("gamma", gamma, 0)
    if real("slope", slope) == 0:
        raise ValueError("slope must not be 0: the discriminator would have no gradient")
    every, alternating = whole("every", every, least=1), flag("alternating", alternating)
    if step is None:
        if every > 1 or alternating:
            raise ValueError("step must be given for alternating or lazy steps; the flow has none")
        return _sorted(_flow(score, slope, gamma), key=np.real)
    steps = step if isinstance(step, Steps) else Steps(step, step)
    for name, size in steps._asdict().items():
        positive(f"step of the {name}", size)
    idle = _one_step(0.0, slope, gamma, steps, alternating)
    acting = _one_step(every * score, slope, gamma, steps, alternating)
    return _sorted(np.linalg.matrix_power(idle, every - 1) @ acting, key=np.abs)


def dirac_rate(
    score: float,
    slope: float = 0.5,
    gamma: float = 0.0,
    step: float | Steps = 0.1,
    alternating: bool = False,
    every: int = 1,
) -> float:
    """log of the factor by which the distance to the rest point changes a step: below 0 iff the game converges.

    log max |eigenvalue| / every of `dirac_eigenvalues`, whose arguments and errors it has.
    """
    largest = np.abs(dirac_eigenvalues(score, slope, gamma, step, alternating, every))[0]
    return math.log(largest) / every if largest > 0 else -math.inf


def _flow(score: float, slope: float, gamma: float) -> Float[np.ndarray, "2 2"]:
    return np.array([[-score, -slope], [slope, -gamma]])


def _one_step(score: float, slope: float, gamma: float, steps: Steps, alternating: bool) -> Float[np.ndarray, "2 2"]:
    """The matrix of one step of both players."""
    flow = np.array(steps)[:, None] * _flow(score, slope, gamma)
    generator, discriminator = np.eye(2), np.eye(2)
    generator[0] += flow[0]
    discriminator[1] += flow[1]
    return discriminator @ generator if alternating else np.eye(2) + flow


def _sorted(matrix: Float[np.ndarray, "2 2"], key: Callable[[np.ndarray], np.ndarray]) -> Complex[np.ndarray, " 2"]:
    values = np.linalg.eigvals(matrix).astype(np.complex128)
    return values[np.argsort(-key(values), kind="stable")]
