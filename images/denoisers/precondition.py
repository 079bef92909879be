"""From a network F(y, t) to a score model eps_theta(x_t, level): the preconditionings of DDPM, EDM, VP and VE.

A network was trained at one alpha for each noise-to-signal ratio nsr = sigma / alpha. Any other level of the same nsr
is that one with x_t rescaled, and eps is the same in both (claim P1), so that one network serves every level.
"""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from images.denoisers.adm import ADM
from images.denoisers.song import SongUNet
from images.formats.messages import shown
from theory.levels import Interval, Level, Scalars, schedule
from theory.regularity import EpsModel

Network: TypeAlias = ADM | SongUNet


class ScoreModel(nn.Module):
    """eps_theta(x_t, level, labels), an estimate of the noise in x_t = alpha x + sigma eps.   [b, c, h, w]

    alpha and sigma are numbers or tensors [b]; labels are whole numbers [b], or None. x_t's gradient runs through the
    network. `interval` holds the noise-to-signal ratios that the network was trained on.

    Raises:
        ValueError: x_t is no batch of images; a level is neither a number nor [b], or lies outside the interval.
            Tensors on an accelerator are not read, which would stop it: their levels are taken to the nearest end of
            the interval.
    """

    interval: Interval

    def forward(
        self, x_t: Float[Tensor, "b c h w"], level: Level, labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        self.check(x_t, labels)
        alpha, sigma = (torch.as_tensor(value, dtype=torch.float64) for value in (level.alpha, level.sigma))
        for name, value in (("alpha", alpha), ("sigma", sigma)):
            if value.shape not in ((), (len(x_t),)):
                raise ValueError(f"level.{name} must be a number or [{len(x_t)}]; given {list(value.shape)}")
        nsr = (sigma / alpha).to(x_t.device).expand(len(x_t))  # [b]
        if nsr.device.type == "cpu":
            check_nsr(nsr, self.interval)
        scale = 1 / alpha.to(x_t.device)
        y = x_t * (scale if scale.ndim == 0 else scale[:, None, None, None]).to(x_t.dtype)  # x + nsr eps
        return self.eps(y, nsr, labels)

    def check(self, x_t: Tensor, labels: Tensor | None) -> None:
        """ValueError unless x_t is a batch of images."""
        if x_t.ndim != 4:
            raise ValueError(f"x_t must be [b, c, h, w]; given {tuple(x_t.shape)}")

    def eps(
        self, y: Float[Tensor, "b c h w"], nsr: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        """The estimate of eps in y = x + nsr eps; nsr in float64."""
        raise NotImplementedError

    def of(self, labels: Int[Tensor, " b"] | None = None) -> EpsModel:
        """(x_t, level) -> eps for these labels: what `score_matching_loss` takes."""
        return partial(self, labels=labels)

    def denoise(
        self, x_t: Float[Tensor, "b c h w"], level: Level, labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """x0hat = (x_t - sigma eps_theta) / alpha."""
        alpha, sigma = (per_image(value, x_t) for value in (level.alpha, level.sigma))
        return (x_t - sigma * self(x_t, level, labels)) / alpha


class Score(ScoreModel):
    """A network of ours under a preconditioning. A class-conditional ADM needs labels, a SongUNet without them is
    unconditional.

    Raises:
        ValueError: as `ScoreModel`; x_t has other channels than the network; labels where there are no classes, none
            where an ADM has them, or outside 0..classes - 1.
    """

    options: ClassVar[tuple[str, ...]]  # attributes that, with the network, make it again
    title: ClassVar[str]  # of the preconditioning

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def check(self, x_t: Tensor, labels: Tensor | None) -> None:
        config = self.network.config
        if x_t.ndim != 4 or x_t.shape[1] != config.channels_in:
            raise ValueError(f"x_t must be [b, {config.channels_in}, h, w]; given {tuple(x_t.shape)}")
        check_labels(labels, len(x_t), config.classes, isinstance(self.network, ADM))


class DDPMScore(Score):
    """eps_theta(x_t) = F(x_t / sqrt(alpha^2 + sigma^2), t): a network trained on the indices t of a DDPM schedule.

    t is where the level's nsr lies in the schedule, linear in log nsr between indices, so that the levels of
    `index_level` give back their whole t. Channels beyond those of an image, a learned variance, are dropped.

    Source: Ho, Jain, Abbeel 2020; Dhariwal, Nichol 2021.
    """

    log_nsr: Tensor
    options = ("schedule",)
    title = "DDPM"

    def __init__(self, network: Network, name: str):
        super().__init__(network)
        self.schedule = name
        alpha, sigma = schedule(name)
        self.interval = Interval(float(sigma[0] / alpha[0]), float(sigma[-1] / alpha[-1]))
        self.register_buffer("log_nsr", torch.log(sigma / alpha), persistent=False)  # [1000], float64, ascending

    def index(self, nsr: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The fractional index t in [0, 999] of each noise-to-signal ratio; float64."""
        return index_in(self.log_nsr, nsr)

    def eps(
        self, y: Float[Tensor, "b c h w"], nsr: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        variance_preserving = y * per_image((1 + nsr**2) ** -0.5, y)
        return self.network(variance_preserving, self.index(nsr).to(y.dtype), labels)[:, : y.shape[1]]


class EDMScore(Score):
    """eps_theta = s y / (s^2 + d^2) - d / sqrt(s^2 + d^2) F(y / sqrt(s^2 + d^2), k log(s) / 4), s = nsr, y = x_t/alpha.

    This is (y - D(y; s)) / s of EDM's denoiser D = c_skip y + c_out F with d = sigma_data, written without the
    difference of nearly equal images. k = time_scale is 1 in EDM and 1000 in consistency_models.

    Source: Karras, Aittala, Aila, Laine 2022, table 1.
    """

    options = ("sigma_data", "time_scale")
    title = "EDM"

    def __init__(self, network: Network, sigma_data: float = 0.5, time_scale: float = 1.0):
        super().__init__(network)
        for name, value in (("sigma_data", sigma_data), ("time_scale", time_scale)):
            check_size(name, value)
        self.sigma_data, self.time_scale = sigma_data, time_scale
        self.interval = Interval(1e-4, 1e4)  # far beyond training's 0.002..80, within float32's reach

    def eps(
        self, y: Float[Tensor, "b c h w"], nsr: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        nsr = nsr.clamp(self.interval.low, self.interval.high)
        root = (nsr**2 + self.sigma_data**2).sqrt()
        t = (self.time_scale / 4 * nsr.log()).to(y.dtype)
        estimate = self.network(y * per_image(1 / root, y), t, labels)
        return y * per_image(nsr / root**2, y) - estimate * per_image(self.sigma_data / root, y)


class VPScore(Score):
    """eps_theta = F(y / sqrt(1 + s^2), (M - 1) t(s)), s = nsr: networks trained on the continuous VP process.

    t(s) = (sqrt(beta_min^2 + 2 beta_d log(1 + s^2)) - beta_min) / beta_d is the inverse of
    s(t) = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1), trained on for t from `least` to 1; M = steps.

    Source: Song et al. 2021 in the form of Karras, Aittala, Aila, Laine 2022, table 1.
    """

    options = ("beta_d", "beta_min", "steps", "least")
    title = "VP"

    def __init__(
        self, network: Network, beta_d: float = 19.9, beta_min: float = 0.1, steps: int = 1000, least: float = 1e-5
    ):
        super().__init__(network)
        for name, value in (("beta_d", beta_d), ("beta_min", beta_min), ("steps", steps), ("least", least)):
            check_size(name, value)
        self.beta_d, self.beta_min, self.steps, self.least = beta_d, beta_min, steps, least
        low, high = (math.sqrt(math.expm1(beta_d * t**2 / 2 + beta_min * t)) for t in (least, 1.0))
        self.interval = Interval(low, high)

    def eps(
        self, y: Float[Tensor, "b c h w"], nsr: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        nsr = nsr.clamp(self.interval.low, self.interval.high)
        t = ((self.beta_min**2 + 2 * self.beta_d * torch.log1p(nsr**2)).sqrt() - self.beta_min) / self.beta_d
        return self.network(y * per_image((1 + nsr**2) ** -0.5, y), ((self.steps - 1) * t).to(y.dtype), labels)


class VEScore(Score):
    """eps_theta = -F(y, log(s / 2)), s = nsr from low to high: networks trained on the VE process.

    Source: Song et al. 2021 in the form of Karras, Aittala, Aila, Laine 2022, table 1.
    """

    options = ("low", "high")
    title = "VE"

    def __init__(self, network: Network, low: float = 0.02, high: float = 100.0):
        super().__init__(network)
        for name, value in (("low", low), ("high", high)):
            check_size(name, value)
        self.low, self.high = low, high
        self.interval = Interval(low, high)

    def eps(
        self, y: Float[Tensor, "b c h w"], nsr: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        nsr = nsr.clamp(self.low, self.high)
        return -self.network(y, (nsr / 2).log().to(y.dtype), labels)


def index_in(log_nsr: Float[Tensor, " n"], nsr: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The fractional place of each noise-to-signal ratio in an ascending table of logarithms, linear in between; from 0
    to n - 1, float64."""
    value = nsr.log().clamp(log_nsr[0], log_nsr[-1])
    above = torch.searchsorted(log_nsr, value).clamp(1, len(log_nsr) - 1)
    low, high = log_nsr[above - 1], log_nsr[above]
    return above - 1 + (value - low) / (high - low)


def per_image(value: Scalars, x: Tensor) -> Tensor | float:
    """A number as it is; one number an image as [b, 1, 1, 1] of x's dtype."""
    if not isinstance(value, Tensor):
        return value
    value = value.to(x)
    return value[:, None, None, None] if value.ndim else value


def check_size(name: str, value: float) -> None:
    """ValueError unless value is a number in [1e-6, 1e6]: squares and exponentials of it are then numbers too."""
    if not isinstance(value, int | float) or not 1e-6 <= value <= 1e6:
        raise ValueError(f"{name} must lie in [1e-6, 1e6]; given {shown(value)}")


def check_nsr(nsr: Float[Tensor, " b"], known: Interval) -> None:
    """ValueError unless every noise-to-signal ratio lies in the interval, up to rounding in float32."""
    low, high = float(nsr.min()), float(nsr.max())
    if not (known.low * (1 - 1e-5) <= low and high <= known.high * (1 + 1e-5)):
        raise ValueError(
            f"the level's sigma/alpha must lie in [{known.low:.5g}, {known.high:.5g}], this model's interval; "
            f"given [{low:.5g}, {high:.5g}]"
        )


def check_labels(labels: Tensor | None, n: int, classes: int, needed: bool) -> None:
    """ValueError unless the labels are n whole numbers in 0..classes - 1, or absent where they may be."""
    if labels is None:
        if classes and needed:
            raise ValueError(f"this score model is class-conditional: give labels, {n} numbers in 0..{classes - 1}")
        return
    if not classes:
        raise ValueError("this score model has no classes: give no labels")
    if labels.shape != (n,) or labels.is_floating_point():
        raise ValueError(f"labels must be [{n}] whole numbers; given {tuple(labels.shape)} of {labels.dtype}")
    if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels must lie in 0..{classes - 1}, the classes of this score model; "
            f"given {int(labels.min())}..{int(labels.max())}"
        )
