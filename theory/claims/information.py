"""P4 to P6 and C3: the score term as a divergence, under detaching, and with a score that is not exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from theory.claims.claim import Claim, Comparison, Control, Source, compare, compare_at_least
from theory.claims.drawing import COLOURS
from theory.levels import Level
from theory.manifolds import Box, Gaussians, Law, Mixture, Sphere
from theory.quadrature import gaussian_rule, legendre
from theory.regularity import EpsModel, eps_model_of, pointwise_loss, score_matching_loss

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# P4


def noise_entropy(dim: int, nsr: float) -> float:
    """The differential entropy of N(0, nsr^2 I_d), in nats."""
    return dim / 2 * math.log(2 * math.pi * math.e * nsr**2)


def expected_log_density(law: Law, x: Float[Tensor, "n d"], nsr: float) -> Float[Tensor, " n"]:
    """E_eps log p_t(x + nsr eps), at alpha = 1."""
    eps, weights = gaussian_rule(law.dim)
    return weights @ law.log_density(x + nsr * eps[:, None], 1.0, nsr)


NODES = 36


def integrated_loss(law: Law, x: Float[Tensor, "n d"], nsr: float) -> Float[Tensor, " n"]:
    """The integral of ell(x) over log SNR, from (all but) -inf to -2 log nsr."""
    log_snr, weights = legendre(-23.0, -2 * math.log(nsr), NODES)  # ell = O(SNR): the rest is below 1e-9
    return weights @ pointwise_loss(law, x.expand(NODES, *x.shape), 1.0, torch.exp(-log_snr / 2)[:, None])


def grid(dim: int, nsr: float) -> tuple[Float[Tensor, "m d"], float]:
    """A grid over [-1.5, 1.5]^d (on a line, [-3, 3]) and 8.5 nsr around it, and the volume of its cells."""
    reach = 3.0 if dim == 1 else 1.5
    axis = torch.linspace(-reach - 8.5 * nsr, reach + 8.5 * nsr, {1: 4001, 2: 301}[dim], dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * dim).reshape(-1, dim), float(axis[1] - axis[0]) ** dim


def divergence_and_information(law: Law, q: Gaussians, nsr: float) -> tuple[Tensor, Tensor]:
    """(KL(Q_t || P_t), I_Q(X; X_t)), integrated over the space of x_t."""
    y, cell = grid(law.dim, nsr)
    log_q, log_p = q.log_density(y, 1.0, nsr), law.log_density(y, 1.0, nsr)
    density = torch.exp(log_q)
    return cell * (density @ (log_q - log_p)), -cell * (density @ log_q) - noise_entropy(law.dim, nsr)


Named: TypeAlias = Sequence[tuple[str, Law]]
LAWS: Named = (
    ("two points on a line", Gaussians([(-1.0,), (1.0,)], weights=(0.7, 0.3))),
    ("a segment of a line", Box((-1.0,), (1.0,))),
    ("a point and a segment of a line", Mixture([Gaussians([(-1.5,)]), Box((0.0,), (1.0,))])),
    ("a circle", Sphere(2)),
)
ATOMS = ((-0.9, 0.2), (0.3, -0.4), (1.2, 0.7))


def check_kl(
    laws: Named = LAWS, nsr: float = 0.4, information: float = 1.0, factor: float = 0.5
) -> Iterator[Comparison]:
    for name, law in laws:
        x = torch.tensor(ATOMS, dtype=torch.float64)[:, : law.dim]
        q = Gaussians(x.tolist(), weights=(0.5, 0.3, 0.2))
        left = -expected_log_density(law, x, nsr) - noise_entropy(law.dim, nsr)
        right = factor * integrated_loss(law, x, nsr)
        yield compare(f"{name}: KL(N(x, nsr^2 I) || P_t) and its integral", left, right)
        divergence, mutual = divergence_and_information(law, q, nsr)
        mean = torch.tensor(q.weights, dtype=torch.float64) @ right
        yield compare(f"{name}: three atoms, KL(Q_t || P_t) + I", divergence + information * mutual, mean)


def show_kl(axes: Axes) -> None:
    """P4: KL(N(x, nsr^2 I) || P_t), by densities and by the integral of ell."""
    levels = (0.2, 0.3, 0.5, 0.8, 1.3, 2.0)
    for number, (name, law) in enumerate(LAWS[:3]):
        x = torch.tensor(ATOMS[:1], dtype=torch.float64)[:, : law.dim]
        by_density = [float(-expected_log_density(law, x, s) - noise_entropy(law.dim, s)) for s in levels]
        axes.loglog(levels, by_density, color=COLOURS[number], label=name)
        axes.loglog(
            levels, [float(integrated_loss(law, x, s)) / 2 for s in levels], "os^"[number], color=COLOURS[number]
        )
    axes.plot([], [], "ko", label=r"$\frac{1}{2}\int\ell\;d\log$SNR")
    axes.set(
        xlabel="nsr",
        ylabel=r"$KL(N(x, nsr^2 I)\,\|\,P_t)$",
        title=f"Integrated, the loss is a divergence (x = {ATOMS[0][0]})",
    )


P4 = Claim(
    id="P4",
    title="ell integrated over log SNR is a KL divergence; over Q, KL(Q_t || P_t) + I_Q(X; X_t)",
    statement=(
        "KL(N(alpha x, sigma^2 I) || P_t) = 1/2 * integral of ell(x) over log SNR from -inf to log SNR_t. Averaged\n"
        "over x ~ Q the right side is KL(Q_t || P_t) + I_Q(X; X_t): a reverse KL divergence, plus a mutual\n"
        "information that grows with the diversity of Q. So the loss over all levels down to nsr_t punishes\n"
        "diversity. The method averages over an interval of levels: what that optimises is C3."
    ),
    assumptions=(
        "P has second moments. Checked at nsr 0.4: the left sides are integrals over the space of x_t, the right side "
        "passes by no density at all.",
    ),
    source=Source(
        "in print", "Verdu 2010, mismatched estimation; pointwise: Kong, Brekelmans, Ver Steeg, arXiv 2302.03792"
    ),
    tolerance=1e-7,
    why=(
        "The integral over log SNR starts at -23, which leaves out less than 1e-9; its 36 Gauss-Legendre nodes "
        "and the trapezoidal rules agree to 1e-10."
    ),
    check=check_kl,
    controls=(
        Control("without the mutual information", {"laws": LAWS[:3], "information": 0.0}),
        Control("half the mutual information", {"laws": LAWS[:1], "information": 0.5}),
        Control("without the factor 1/2", {"laws": LAWS[:1], "factor": 1.0}),
        Control("the factor 0.55", {"laws": LAWS[:1], "factor": 0.55}),
    ),
    picture=show_kl,
)

# P5


def detached_gradient(
    law: Law, x: Float[Tensor, "n d"], nsr: float, own: EpsModel | None = None
) -> Float[Tensor, "n d"]:
    """E_eps of the gradient of `score_matching_loss(..., detach=True)`; with `own`, less the same for that score."""
    nodes, weights = gaussian_rule(law.dim)
    x = x.detach().requires_grad_()
    level, noise = Level.variance_exploding(nsr), nodes[:, None].expand(-1, *x.shape)
    total = score_matching_loss(x.expand_as(noise), eps_model_of(law), level, noise, detach=True)
    if own is not None:
        total = total - score_matching_loss(x.expand_as(noise), own, level, noise, detach=True)
    return torch.autograd.grad((weights @ total).sum(), x)[0]


def cross_entropy(law: Law, x: Tensor, nsr: float) -> Float[Tensor, ""]:
    """-2 sum over x of E_eps log p_t(x + nsr eps)."""
    return -2 * expected_log_density(law, x, nsr).sum()


def full_loss(law: Law, x: Tensor, nsr: float) -> Float[Tensor, ""]:
    """The sum of ell over x, whose gradient runs through the score model."""
    return pointwise_loss(law, x, 1.0, nsr).sum()


def kl_of_atoms(law: Law, x: Float[Tensor, "n d"], nsr: float) -> Float[Tensor, ""]:
    """2 n KL(Q_t || P_t) for Q uniform on the atoms x, as a function of where they are."""
    y, cell = grid(law.dim, nsr)
    squares = ((y[:, None] - x) / nsr).square().sum(-1)  # [m, n]
    log_q = (-squares / 2).logsumexp(1) - math.log(len(x) * (2 * math.pi * nsr**2) ** (law.dim / 2))
    return 2 * len(x) * cell * (torch.exp(log_q) @ (log_q - law.log_density(y, 1.0, nsr)))


Potential: TypeAlias = Callable[[Law, Tensor, float], Tensor]


def gradient_of(potential: Potential, law: Law, x: Tensor, nsr: float) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(potential(law, x, nsr), x)[0]


def check_detached(
    nsr: float = 0.4, potential: Potential = cross_entropy, subtract: bool = True
) -> Iterator[Comparison]:
    for name, law in LAWS:
        x = torch.tensor(ATOMS, dtype=torch.float64)[:, : law.dim]
        detached = detached_gradient(law, x, nsr)
        yield compare(
            f"{name}: detached, and -2 grad E log p_t",
            detached,
            gradient_of(potential, law, x, nsr),
            1 + detached.abs(),
        )
        own = eps_model_of(Gaussians(x.tolist())) if subtract else None
        left, right = detached_gradient(law, x, nsr, own), gradient_of(kl_of_atoms, law, x, nsr)
        yield compare(f"{name}: detached less the own score, and 2 grad KL(Q_t || P_t)", left, right, 1 + right.abs())
    name, law = LAWS[1]
    x = torch.tensor(ATOMS, dtype=torch.float64)[:, :1]
    all_levels = gradient_of(lambda law, x, nsr: integrated_loss(law, x, nsr).sum(), law, x, nsr)
    yield compare(
        f"{name}: detached at one level, and the full gradient over all noisier ones",
        detached_gradient(law, x, nsr),
        all_levels,
    )


def show_detached(axes: Axes) -> None:
    """P5: the expected gradient between two points, detached and full."""
    _, law = LAWS[0]
    x, nsr = torch.linspace(-1.6, 1.6, 65, dtype=torch.float64)[:, None], 0.5
    axes.plot(x, gradient_of(full_loss, law, x, nsr), "--", color=COLOURS[1], label=r"full: $\nabla\ell$")
    y = x.clone().requires_grad_()
    potential = torch.autograd.grad(-2 * expected_log_density(law, y, nsr).sum(), y)[0]
    axes.plot(x, potential, color=COLOURS[0], label=r"$-2\nabla E\log p_t$")
    axes.plot(x[::4], detached_gradient(law, x[::4], nsr), "o", color=COLOURS[0], label="detached")
    axes.set(xlabel="x; points at -1 and 1, nsr 0.5", ylabel="expected gradient", title="Detached: another potential")


P5 = Claim(
    id="P5",
    title="Detached, the push is the gradient of -2 E log p_t: of KL + I, or of KL alone with the own score subtracted",
    statement=(
        "With the Jacobian of the score model left out (score distillation) the expected gradient of the loss is\n"
        "    2 (alpha/sigma) E[eps*(x_t) - eps] = -2 grad_x E_eps log p_t(alpha x + sigma eps),\n"
        "the gradient of a potential, and of another one than ell. By P4 it is the full gradient of ell, integrated\n"
        "over the log SNR of all noisier levels. If the score of Q_t itself is subtracted (variational score\n"
        "distillation, distribution matching), what is left is 2 grad KL(Q_t || P_t): the information of P4 is gone."
    ),
    assumptions=(
        "As P4. Q is three atoms of equal mass; its gradient is that with respect to where they are, times three.",
        "The gradients of the library's own loss, `score_matching_loss(..., detach=True)`; its scale is stated there.",
    ),
    source=Source("in print", "Poole et al. 2022 (score distillation); the potentials: arXiv 2401.00909"),
    tolerance=1e-7,
    why="Both sides are quadrature of analytic functions, converged to 1e-10; errors are relative to 1 + the gradient.",
    check=check_detached,
    controls=(
        Control("the potentials exchanged: ell in the place of -2 E log p_t", {"potential": full_loss}),
        Control("-2.2 E log p_t in the place of -2 E log p_t", {"potential": lambda *at: 1.1 * cross_entropy(*at)}),
        Control("the own score is not subtracted", {"subtract": False}),
    ),
    picture=show_detached,
)

# P6


SHARP = "in line with the residual at x"


def perturbations(law: Law, x: Tensor, nsr: float) -> dict[str, EpsModel]:
    """delta of eps* + delta: fields of several kinds; SHARP reaches the bound at x."""
    generator = torch.Generator().manual_seed(6)
    frequency = 3 * torch.randn(law.dim, law.dim, generator=generator, dtype=torch.float64)
    exact = eps_model_of(law)
    return {
        "a constant": lambda y, level: torch.full_like(y, 0.2),
        "waves": lambda y, level: 0.5 * torch.sin(y @ frequency),
        "a score of too small a scale": lambda y, level: -0.3 * exact(y, level),
        SHARP: lambda y, level: 0.7 * (exact(y, level) - (y - x) / nsr),
    }


def learned_score(law: Law, nsr: float) -> EpsModel:
    """eps_model fitted to samples by denoising score matching: ridge regression on 200 random waves."""
    generator = torch.Generator().manual_seed(7)
    x = law.sample(4000, generator, torch.float64)
    eps = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    frequency = 3 * torch.randn(law.dim, 200, generator=generator, dtype=torch.float64)
    phase = 2 * math.pi * torch.rand(200, generator=generator, dtype=torch.float64)

    def features(y: Tensor) -> Tensor:
        return torch.cos(y @ frequency + phase)

    wave = features(x + nsr * eps)
    fit = torch.linalg.solve(wave.T @ wave + torch.eye(200, dtype=torch.float64), wave.T @ eps)
    return lambda y, level: features(y) @ fit


def check_imperfect(first: float = 2.0) -> Iterator[Comparison]:
    law, nsr = Sphere(2), 0.3
    nodes, weights = gaussian_rule(law.dim)
    level = Level.variance_exploding(nsr)
    exact, learned = eps_model_of(law), learned_score(law, nsr)
    for place in ((0.8, 0.6), (0.3, -0.2), (1.5, 0.4)):
        x = torch.tensor(place, dtype=torch.float64)
        x_t, points = x + nsr * nodes, x.expand_as(nodes)
        ell = weights @ score_matching_loss(points, exact, level, nodes)
        fields = perturbations(law, x, nsr) | {"learned": lambda y, level: learned(y, level) - exact(y, level)}
        for name, delta in fields.items():
            loss = weights @ (exact(x_t, level) + delta(x_t, level) - nodes).square().sum(-1)
            square = weights @ delta(x_t, level).square().sum(-1)
            bound = first * torch.sqrt(ell * square) + square
            yield compare_at_least(f"{name}, at {place}: the bound, over |ell_theta - ell|", bound, (loss - ell).abs())
            if name == SHARP:
                yield compare(f"{name}, at {place}: the bound is reached", loss - ell, bound)


def show_imperfect(axes: Axes) -> None:
    """P6: the change of ell by wrong scores of growing size, and its bound."""
    law, nsr, x = Sphere(2), 0.3, torch.tensor((0.8, 0.6), dtype=torch.float64)
    nodes, weights = gaussian_rule(2)
    level, points = Level.variance_exploding(nsr), x.expand(len(nodes), 2)
    exact, x_t = eps_model_of(law), x + nsr * nodes
    ell = weights @ score_matching_loss(points, exact, level, nodes)
    sizes = torch.logspace(-2, 0.5, 12, dtype=torch.float64)
    for number, (name, delta) in enumerate(perturbations(law, x, nsr).items()):
        field = delta(x_t, level)
        field = field / (weights @ field.square().sum(-1)).sqrt()
        losses = torch.stack([weights @ (exact(x_t, level) + a * field - nodes).square().sum(-1) for a in sizes])
        axes.loglog(sizes, (losses - ell).abs(), "os^d"[number], ms=5, color=COLOURS[number], label=name)
    axes.loglog(sizes, 2 * sizes * ell.sqrt() + sizes**2, color="0.4", label="the bound")
    axes.set(xlabel=r"$(E\|\delta\|^2)^{1/2}$", ylabel=r"$|\ell_\theta - \ell|$", title="On the circle, nsr 0.3")


P6 = Claim(
    id="P6",
    title="An imperfect score changes ell by at most 2 sqrt(ell E||delta||^2) + E||delta||^2, and that is sharp",
    statement=(
        "With eps_theta = eps* + delta and ell_theta the loss that it gives,\n"
        "    |ell_theta(x) - ell(x)| <= 2 sqrt(ell(x) E||delta||^2) + E||delta||^2,\n"
        "the means taken over x_t given x. Equality holds iff delta is a nonnegative\n"
        "multiple of eps* - eps given x, or ell(x) = 0."
    ),
    assumptions=(
        "E||delta(x_t)||^2 is finite. Nothing is asked of how delta arose: the fields are a constant, waves, a wrong "
        "scale, one aligned with the residual, and a score learned from 4000 samples.",
    ),
    source=Source("ours", "Cauchy and Schwarz"),
    tolerance=1e-9,
    why="The inequality holds for the weights of a quadrature rule as it does for the law: only rounding is left.",
    check=check_imperfect,
    controls=(
        Control("the bound without its first term", {"first": 0.0}),
        Control("half its first term", {"first": 1.0}),
        Control("0.95 of its first term", {"first": 1.9}),
    ),
    picture=show_imperfect,
)

# C3


class Balance(NamedTuple):
    """E_Q ell_P at a level, and the two parts that it is made of."""

    loss: Tensor
    fisher: Tensor  # sigma^2 E ||grad log q_t - grad log p_t||^2
    mmse: Tensor  # SNR E ||X - E[X | X_t]||^2, X ~ Q


def nodes_of(q: Gaussians) -> tuple[Float[Tensor, "m d"], Float[Tensor, " m"]]:
    """Points and masses of E_Q f: the atoms, or a rule around each mean."""
    means, weights = torch.tensor(q.means, dtype=torch.float64), q._weights
    if q.intrinsic_dim == 0:
        return means, weights
    eps, masses = gaussian_rule(q.dim, 24)
    return (means[:, None] + q._variance.sqrt()[:, None, None] * eps).flatten(0, 1), (
        weights[:, None] * masses
    ).flatten()


@lru_cache
def balance(law: Law, q: Gaussians, nsr: float) -> Balance:
    """The loss by quadrature over eps at each x; the parts by quadrature over the space of x_t, from Q's own score."""
    x, masses = nodes_of(q)
    loss = masses @ pointwise_loss(law, x, 1.0, nsr)
    y, cell = grid(law.dim, nsr)
    density = cell * torch.exp(q.log_density(y, 1.0, nsr))
    gap = q.score(y, 1.0, nsr) - law.score(y, 1.0, nsr)
    mmse = masses @ x.square().sum(-1) - density @ q.denoise(y, 1.0, nsr).square().sum(-1)
    return Balance(loss, nsr**2 * density @ gap.square().sum(-1), mmse / nsr**2)


def pythagoras_of_levels(at: Balance) -> Tensor:
    return at.fisher + at.mmse


Pairs: TypeAlias = Sequence[tuple[str, Law, Gaussians]]
PAIRS: Pairs = (
    ("two points, Q three atoms", LAWS[0][1], Gaussians([(-0.9,), (0.3,), (1.2,)], weights=(0.5, 0.3, 0.2))),
    ("two points, Q two Gaussians", LAWS[0][1], Gaussians([(-0.8,), (0.9,)], 0.2)),
    ("a segment, Q two Gaussians", LAWS[1][1], Gaussians([(-0.8,), (0.9,)], 0.2)),
    ("a circle, Q three atoms", LAWS[3][1], Gaussians(ATOMS, weights=(0.5, 0.3, 0.2))),
)
NARROW = (0.2, 0.5)  # an interval of nsr


@lru_cache
def mean_over_interval(law: Law, q: Gaussians, low: float, high: float) -> Float[Tensor, ""]:
    """The mean of E_Q ell over log SNR, nsr in [low, high]."""
    log_snr, weights = legendre(-2 * math.log(high), -2 * math.log(low), 16)
    x, masses = nodes_of(q)
    ell = pointwise_loss(law, x.expand(len(log_snr), *x.shape), 1.0, torch.exp(-log_snr / 2)[:, None])
    return weights @ (ell @ masses) / weights.sum()


def difference_of_ends(low: Tensor, high: Tensor, length: float) -> Tensor:
    """2 [(KL + I) at the low noise - (KL + I) at the high] / length."""
    return 2 * (low.sum() - high.sum()) / length


def check_levels(
    parts: Callable[[Balance], Tensor] = pythagoras_of_levels,
    ends: Callable[[Tensor, Tensor, float], Tensor] = difference_of_ends,
    pairs: Pairs = PAIRS,
) -> Iterator[Comparison]:
    for name, law, q in pairs:
        for nsr in (0.2, 0.4):
            found = balance(law, q, nsr)
            what = f"{name}, nsr {nsr}: E_Q ell and sigma^2 Fisher + SNR mmse"
            yield compare(what, found.loss, parts(found), 1 + found.loss.abs())
        low, high = (torch.stack(divergence_and_information(law, q, nsr)) for nsr in NARROW)
        measured, length = mean_over_interval(law, q, *NARROW), 2 * math.log(NARROW[1] / NARROW[0])
        what = f"{name}: mean of E_Q ell over nsr {NARROW[0]} to {NARROW[1]}, and KL + I at its ends"
        yield compare(what, measured, ends(low, high, length), 1 + measured.abs())


def show_levels(axes: Axes) -> None:
    """E_Q ell against nsr, and its two parts."""
    levels = torch.logspace(-1.2, 0.5, 18).tolist()
    name, law, q = PAIRS[0]
    found = [balance(law, q, nsr) for nsr in levels]
    axes.loglog(levels, [float(at.loss) for at in found], "ko", ms=4, label=r"$E_Q\,\ell_P$")
    axes.loglog(
        levels, [float(at.fisher) for at in found], "-", color=COLOURS[0], label=r"$\sigma^2$ Fisher$(Q_t\,\|\,P_t)$"
    )
    axes.loglog(levels, [float(at.mmse) for at in found], "--", color=COLOURS[1], label="SNR mmse(Q)")
    axes.loglog(levels, [float(at.fisher + at.mmse) for at in found], "k-", lw=0.8, label="their sum")
    axes.set(xlabel="nsr", ylabel="at one level", title=name, ylim=(1e-6, None))


C3 = Claim(
    id="C3",
    title="At each level E_Q ell is a Fisher divergence plus the mmse of Q; over an interval, the change of KL + I",
    statement=(
        "At each level\n"
        "    E_Q ell_P = sigma^2 Fisher(Q_t || P_t) + SNR mmse(Q),\n"
        "    Fisher(Q_t || P_t) = E_Q ||grad log q_t - grad log p_t||^2,   mmse(Q) = E_Q ||X - E_Q[X | X_t]||^2.\n"
        "With P4, the mean of E_Q ell over an interval of log SNR of length L is\n"
        "    (2 / L) [(KL(Q_t || P_t) + I_Q(X; X_t)) at its low-noise end - the same at its high-noise end].\n"
        "This is what the narrowed interval optimises. Its second part punishes the diversity of Q that the noise of\n"
        "the interval confuses: as nsr -> 0, SNR mmse(Q) tends to 0 for separate points and to k for a smooth Q of\n"
        "dimension k. So small noise asks for no collapse of modes; noise of the size of their distance does."
    ),
    assumptions=(
        "P and Q have second moments. The loss is a quadrature over eps at each x; the other sides are integrals over "
        "the space of x_t, with the score, the posterior mean and the density of Q_t.",
    ),
    source=Source("ours", "orthogonality; its second part with Guo, Shamai, Verdu 2005 (I-MMSE)"),
    tolerance=1e-8,
    why=(
        "All are quadratures of analytic functions, converged to 1e-9 or better; errors are relative to 1 + the loss."
    ),
    check=check_levels,
    controls=(
        Control("without the mmse", {"parts": lambda at: at.fisher, "pairs": PAIRS[:1]}),
        Control("half the mmse", {"parts": lambda at: at.fisher + at.mmse / 2, "pairs": PAIRS[:1]}),
        Control("1.1 times the Fisher divergence", {"parts": lambda at: 1.1 * at.fisher + at.mmse, "pairs": PAIRS[:1]}),
        Control(
            "over the interval: KL alone, without I",
            {"ends": lambda low, high, length: difference_of_ends(low[:1], high[:1], length), "pairs": PAIRS[:1]},
        ),
        Control(
            "over the interval: the low-noise end alone, as over all levels",
            {"ends": lambda low, high, length: difference_of_ends(low, 0 * high, length), "pairs": PAIRS[:1]},
        ),
        Control(
            "over the interval: (1 / L) in the place of (2 / L)",
            {"ends": lambda low, high, length: difference_of_ends(low, high, 2 * length), "pairs": PAIRS[:1]},
        ),
    ),
    picture=show_levels,
)

CLAIMS: tuple[Claim, ...] = (P4, P5, P6, C3)
