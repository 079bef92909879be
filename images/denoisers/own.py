"""`eps_model`: the score model of a file, of a diffusers network with its scheduler, or of any module that says what it
predicts, as `theory.regularity.score_matching_loss` takes it."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from images.denoisers import published
from images.denoisers.precondition import ScoreModel, index_in, per_image
from theory.common.checks import choose
from theory.levels import SCHEDULES, Interval, schedule

PREDICTS = ("eps", "v", "x0")
DIFFUSERS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # a scheduler's prediction_type
INDEXED = tuple(name for name in SCHEDULES if name.startswith("ddpm"))


def eps_model(
    model: str | os.PathLike[str] | nn.Module,
    scheduler: Any = None,
    *,
    predicts: str | None = None,
    levels: str | Float[Tensor, " n"] | None = None,
    interval: Interval | tuple[float, float] | None = None,
) -> ScoreModel:
    """The score model: called with (x_t, level) it returns eps, its `of(labels)` is that of classes.

        eps_model("edm-cifar10-32x32-uncond-vp.pkl")                         a file that `images.scores` reads
        eps_model(unet, scheduler)                                           a network of diffusers
        eps_model(module, predicts="v", levels="ddpm-linear")                any module
        eps_model(module, predicts="x0", levels="sigma", interval=(0.002, 80))

    Pixels run from -1 to 1. Any level alpha, sigma inside the model's `interval` of nsr = sigma / alpha can be asked
    for, a number or one an image: x_t is rescaled to the alpha at which the network was trained, and eps is the same
    (claim P1). The network F is called as F(input, time), or F(input, time, labels) where there are labels, with

        levels                       input                       time, [b]
        "ddpm-linear", "ddpm-cosine" x_t / sqrt(alpha^2 + sigma^2)   the index t of this nsr, linear in log nsr
        a tensor of alpha_bar        the same                    its index t there, from 0
        "sigma"                      x_t / alpha                 nsr

    t is a fraction between two indices. With a, s = (alpha, sigma) / sqrt(alpha^2 + sigma^2), the level at which
    a^2 + s^2 = 1, F returns, by `predicts`, eps; x0; or v = a eps - s x0. A tuple stands for its first entry, an
    object with `.sample` for that, and channels beyond those of the input, a learned variance, are dropped.

    The module is frozen in place: its parameters take no gradient, and it is in evaluation mode. A network in half
    precision gets its input in that, its time in float32.

    Args:
        scheduler: of diffusers, any that has alphas_cumprod; it tells `predicts` and `levels`.
        interval: noise-to-signal ratios that the module was trained on; needed for "sigma", and an index's own range
            otherwise.

    Raises:
        ValueError: a part that is missing, unknown or given twice; a network that needs more than input, time and
            labels; one that takes whole t only. FileError, OSError: as `published.load`.
    """
    if isinstance(model, str | os.PathLike):
        if not (scheduler is predicts is levels is interval is None):
            raise ValueError("a file says itself what its network predicts: give the file alone")
        return published.load(Path(model)).score
    if not isinstance(model, nn.Module):
        raise ValueError(f"eps_model needs a file or an nn.Module; given {type(model).__name__}")
    if isinstance(model, ScoreModel):
        raise ValueError("this is a score model already: use it as it is")
    if scheduler is not None:
        if predicts is not None or levels is not None:
            raise ValueError("the scheduler says what the network predicts and at which levels: give it alone")
        predicts, levels = of_scheduler(scheduler)
    if predicts is None or levels is None:
        raise ValueError(
            f"give the scheduler of diffusers, or predicts ({', '.join(PREDICTS)}) and levels "
            f"({', '.join(INDEXED)}, sigma, or a tensor of alpha_bar)"
        )
    check_arguments(model)
    known = Interval(*interval) if isinstance(interval, tuple) else interval
    return OwnScore(model, predicts, levels, known).requires_grad_(False).eval()


class OwnScore(ScoreModel):
    """The score model of a module that predicts eps, v or x0; see `eps_model`.

        eps = F,    eps = (y - F) / nsr,    eps = (nsr y + sqrt(1 + nsr^2) F) / (1 + nsr^2),    y = x_t / alpha

    for F = eps, x0 and v.

    Raises:
        ValueError: no such prediction or schedule; alpha_bar that does not fall within (0, 1); no interval for sigma,
            or one beyond the schedule.
    """

    log_nsr: Tensor | None

    def __init__(
        self, network: nn.Module, predicts: str, levels: str | Float[Tensor, " n"], interval: Interval | None = None
    ):
        super().__init__()
        self.network, self.predicts = network, choose(predicts, PREDICTS, "prediction")
        table = None
        if isinstance(levels, Tensor):
            table = table_of(levels)
        elif choose(levels, (*INDEXED, "sigma"), "levels") != "sigma":
            alpha, sigma = schedule(levels)
            table = torch.log(sigma / alpha)
        place = next((parameter.device for parameter in network.parameters()), None)
        self.register_buffer("log_nsr", table if table is None else table.to(place), persistent=False)  # ascending
        if table is None:
            if interval is None:
                raise ValueError("levels sigma need an interval: the noise-to-signal ratios that it was trained on")
            self.interval = interval
            return
        whole = Interval(float(table[0].exp()), float(table[-1].exp()))
        self.interval = interval or whole
        if not whole.low * (1 - 1e-5) <= self.interval.low <= self.interval.high <= whole.high * (1 + 1e-5):
            raise ValueError(
                f"interval must lie within the schedule's, {whole.low:.5g} to {whole.high:.5g}; "
                f"given {self.interval.low:.5g} to {self.interval.high:.5g}"
            )

    def eps(
        self, y: Float[Tensor, "b c h w"], nsr: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b c h w"]:
        nsr = nsr.clamp(self.interval.low, self.interval.high)
        scale = per_image((1 + nsr**2) ** -0.5, y)  # a
        time, given = (nsr, y) if self.log_nsr is None else (index_in(self.log_nsr, nsr), scale * y)
        found = self.predicted(given, time, labels)
        ratio = per_image(nsr, y)
        if self.predicts == "eps":
            return found
        if self.predicts == "x0":
            return (y - found) / ratio
        return scale**2 * ratio * y + scale * found

    def predicted(self, given: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        """F in the input's precision, whatever the network's."""
        parameter = next(self.network.parameters(), given)
        time = time.to(torch.promote_types(parameter.dtype, torch.float32))
        more = () if labels is None else (labels,)
        found = self.network(given.to(parameter.dtype), time, *more)
        found = found[0] if isinstance(found, tuple) else getattr(found, "sample", found)
        return found.to(given.dtype)[:, : given.shape[1]]


def of_scheduler(scheduler: Any) -> tuple[str, Float[Tensor, " n"]]:
    """(predicts, alpha_bar) of a scheduler of diffusers.

    Raises:
        ValueError: it has no alphas_cumprod, or another prediction.
    """
    name = type(scheduler).__name__
    table = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(table, Tensor):
        raise ValueError(
            f"{name} has no alphas_cumprod, and so no levels of variance-preserving noise: state predicts and levels"
        )
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if kind not in DIFFUSERS:
        raise ValueError(f"{name} has prediction_type {kind!r}; known are {', '.join(DIFFUSERS)}")
    return DIFFUSERS[kind], table


def table_of(alpha_bar: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log nsr at the indices of alpha_bar, which falls; an alpha_bar of 0 at its end, infinite noise, is left out.

    Raises:
        ValueError: fewer than two levels; they do not fall within (0, 1).
    """
    values = alpha_bar.detach().double().cpu().flatten()
    if len(values) and values[-1] == 0:
        values = values[:-1]
    if len(values) < 2 or not ((values > 0) & (values < 1)).all() or not (values.diff() < 0).all():
        raise ValueError(f"levels must be alpha_bar, falling within (0, 1); given {list(alpha_bar.shape)} others")
    return ((1 - values) / values).log() / 2


def check_arguments(network: nn.Module) -> None:
    """ValueError unless a network can be called with an input and a time alone, and takes fractions for the latter."""
    name, needed = type(network).__name__, []
    with_default = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in list(inspect.signature(network.forward).parameters.values())[2:]:
        if parameter.default is parameter.empty and parameter.kind not in with_default:
            needed.append(parameter.name)
    if needed:
        raise ValueError(f"{name} needs {', '.join(needed)} too: wrap it in a module of (input, time) that gives them")
    if getattr(getattr(network, "config", None), "time_embedding_type", None) == "learned":
        raise ValueError(f"{name} has an embedding for each whole t: levels between them cannot be asked for")
