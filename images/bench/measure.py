"""Time and memory of our networks against diffusers', and the time of the score term.

The two sides of a ratio take turns in one process; the ratio of times is the median over turns (on a CPU, of the
process's own time on one thread).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from images.bench.peers import peer_of, randomise
from images.denoisers.adm import ADM, ADMConfig
from images.denoisers.precondition import Network
from images.denoisers.small import Denoiser, train
from images.denoisers.song import SongConfig, SongUNet
from images.generators.families import networks_of
from images.recipes import COUPLINGS, RECIPES
from images.training.inputs import real_images
from images.training.trainer import Trainer

BATCH, SIDE, ROUNDS = 4, 32, 10
LAZY_ROUNDS = 40


def networks(width: int = 128) -> dict[str, Network]:
    """Both networks at CIFAR10's shape, with about the parameters of EDM's at width 128."""
    adm = ADMConfig(SIDE, width=width, multipliers=(1, 2, 2), blocks=3, attention=(1, 2), head_channels=64, classes=0)
    song = SongConfig(SIDE, width=width, multipliers=(1, 2, 2), blocks=4, attention=(1,), classes=0, least_group=1)
    return {"ADM": ADM(adm), "SongUNet": SongUNet(song)}


def step(network: Callable[..., Tensor], y: Tensor, t: Tensor) -> None:
    """One forward and backward pass, gradients and all."""
    network(y.clone().requires_grad_(), t).square().mean().backward()


def seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak(call: Callable[[], object], device: torch.device) -> int:
    """The most bytes that PyTorch holds during a call beyond those before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


def ratios(network: Network, device: torch.device, rounds: int = ROUNDS) -> dict[str, float]:
    """{"time", "memory"}: ratios of the network to its peer."""
    peer = peer_of(network)
    grads = next(network.parameters()).requires_grad
    peer.requires_grad_(grads)
    y = torch.randn(BATCH, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    t = torch.linspace(1, 999, BATCH, device=device)
    own: nn.Module = network.to(device)
    peer = peer.to(device)

    def run_own() -> None:
        step(own, y, t)

    def run_peer() -> None:
        step(lambda y, t: peer(y, t).sample, y, t)

    memory = peak(run_own, device) / peak(run_peer, device)  # and warm
    own.zero_grad()
    peer.zero_grad()
    turns = [seconds(run_own, device) / seconds(run_peer, device) for _ in range(rounds)]
    return {"time": round(median(turns), 3), "memory": round(memory, 3)}


def compare(width: int = 128, device: str = "cpu", rounds: int = ROUNDS) -> dict[str, dict[str, dict[str, float]]]:
    """{network: {use: {"time", "memory"}}}."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, network in networks(width).items():
        randomise(network)
        found[name] = {}
        for use in ("train", "score"):
            network.requires_grad_(use == "train")
            found[name][use] = ratios(network, torch.device(device), rounds)
    return found


def lazy_term(rounds: int = LAZY_ROUNDS) -> dict[str, float]:
    """{coupling: time of a mean step / time of one without the score term - 1}, on a CPU.

    A turn is the least number of steps in which the score term and the penalties act as often as in the mean.
    """
    recipe = RECIPES["digits"]
    data = real_images(recipe, None, Path())
    score = train(dataclasses.replace(Denoiser.of(recipe), steps=0), data)  # as fast as a trained one
    arms = {name: Trainer(recipe, name, 0, networks_of, data, None if name == "gan" else score) for name in COUPLINGS}
    turn = math.lcm(recipe.every, recipe.penalty_every)

    def steps(trainer: Trainer) -> None:
        for _ in range(turn):
            trainer.step()

    for trainer in arms.values():
        steps(trainer)  # warm
    turns = [{name: seconds(partial(steps, arm), arm.device) for name, arm in arms.items()} for _ in range(rounds)]
    return {name: round(median(times[name] / times["gan"] for times in turns) - 1, 3) for name in arms if name != "gan"}
