"""python -m images.plan: parameters, FLOPs, memory and hours of training by a recipe, computed without training.

No tensor is allocated: `images.plan.costs` runs the trainer on tensors without values. Exit status: 0 done, 2 bad
usage, 1 anything else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from images.plan.devices import DEVICES, Device
from images.plan.provenance import provenance
from images.recipes import COUPLINGS, RECIPES, Recipe
from theory.common.checks import choose, positive, whole
from theory.common.commandline import parse, run, usage

if TYPE_CHECKING:
    from rich.console import Console

    from images.plan.costs import Costs
    from images.plan.footprint import Footprint

PROG = "python -m images.plan"
FREQUENCIES = (1, 8, 16)
GPUS = (1, 2, 4, 8, 16, 32, 64)
USABLE = 0.9  # of a device's memory: its context, its libraries' workspaces and the allocator's gaps take the rest


@dataclass(frozen=True)
class Options:
    """Compute parameters, FLOPs, memory and hours of a recipe at its full length."""

    recipe: str = "cifar10"
    """digits, digits-vanilla, photos, fashion, fashion-biggan, cifar10-small, stacked-mnist, cifar10,
    cifar10-stylegan2, cifar10-biggan, imagenet64, imagenet64-aurora, imagenet128, imagenet128-biggan or
    lsun-bedroom."""
    gpus: int | None = None
    """Number of GPUs, with equal shares of every batch; the largest of 1, 2, 4 and 8 that divides it if not given."""
    device: str = "h100"
    """h200, h100, h100-pcie, a100, a100-40gb, l40s or rtx4090."""
    utilisation: float = 0.3
    """The share of the device's peak rate that training reaches: an assumption, not a measurement. The score model is
    counted at that rate too; in float32 (score_precision) it is slower."""
    coupling: str | None = None
    """summed, own-step, two-adams, decoupled or bounded; the recipe's last if not given."""
    json: bool = False
    """Print one JSON object, in bytes, FLOPs and hours."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", choose(self.recipe, tuple(RECIPES), "recipe"))
        object.__setattr__(self, "device", choose(self.device, tuple(DEVICES), "device"))
        if self.gpus is not None:
            whole("gpus", self.gpus, 1)
        if positive("utilisation", self.utilisation) > 1:
            raise ValueError(f"utilisation must lie in (0, 1]; given {self.utilisation}")
        if self.coupling is not None:
            object.__setattr__(self, "coupling", choose(self.coupling, COUPLINGS, "coupling"))
        if self.coupling == "gan":
            raise ValueError("a plan is for a coupling with a score term; given gan")
        recipe = RECIPES[self.recipe]
        if self.gpus is not None and recipe.batch % (self.gpus * recipe.together):
            groups = f" in groups of {recipe.together}" if recipe.together > 1 else ""
            raise ValueError(f"gpus must divide the batch of {recipe.batch}{groups}; given {self.gpus}")


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        found = plan(options)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    return 0


def plan(options: Options) -> dict[str, Any]:
    """The plan as --json prints it, in bytes, FLOPs and hours."""
    from images.plan.costs import costs
    from images.plan.footprint import Footprint

    recipe, device = RECIPES[options.recipe], DEVICES[options.device]
    coupling = options.coupling or recipe.couplings[-1]
    gpus = options.gpus or max(n for n in counts(recipe) if n <= 8)
    share = max(2, recipe.batch // gpus)
    more, some = (costs(recipe, coupling, batch) for batch in (share, share // 2))
    flops = flops_by_part(recipe, more)
    hours = flops["mean step"] * recipe.steps / (device.flops * options.utilisation) / 3600  # on one
    footprint = Footprint(recipe, coupling, some, more)
    rows = [row_of(n, footprint, device, hours) for n in counts(recipe, gpus)]
    return {
        "recipe": recipe.recipe,
        "coupling": coupling,
        "device": {"name": options.device, **device._asdict()},
        "gpus": gpus,
        "utilisation": options.utilisation,
        "parameters": {"generator": more.generator, "discriminator": more.discriminator, "score": more.score},
        "flops": flops,
        "every": {"penalties": recipe.penalty_every, "path lengths": recipe.path_every, "score term": recipe.every},
        "score_term": {k: frequency(recipe, flops, k) for k in FREQUENCIES},
        "memory": next(row["memory"] for row in rows if row["gpus"] == gpus),
        "images": recipe.images,
        "steps": recipe.steps,
        "hours": hours / gpus,
        "by_gpus": [row | {"memory": row["memory"]["total"]} for row in rows],
        "sources": provenance(recipe),
    }


def counts(recipe: Recipe, chosen: int = 1) -> list[int]:
    """Numbers of GPUs that have equal shares of the batch."""
    return sorted(n for n in {*GPUS, chosen} if recipe.batch % (n * recipe.together) == 0)


# FLOPs of the whole batch


def flops_by_part(recipe: Recipe, measured: Costs) -> dict[str, float]:
    """FLOPs of a step of all GPUs together: each part when it acts, and the mean over steps."""
    scale = recipe.batch / measured.batch
    parts = {
        "discriminator": measured.d.flops * scale * recipe.d_steps,
        "penalties": (measured.d_penalised.flops - measured.d.flops) * scale * recipe.d_steps,
        "generator": measured.g.flops * scale,
        "path lengths": (measured.g_path.flops - measured.g.flops) * scale,
        "score term": (measured.g_scored.flops - measured.g_path.flops) * scale,
    }
    return parts | {"mean step": without_score(recipe, parts) + parts["score term"] / recipe.every}


def without_score(recipe: Recipe, parts: dict[str, float]) -> float:
    """FLOPs of a mean step without the score term."""
    lazy = parts["penalties"] / recipe.penalty_every + parts["path lengths"] / recipe.path_every
    return parts["discriminator"] + parts["generator"] + lazy


def frequency(recipe: Recipe, parts: dict[str, float], k: int) -> dict[str, float]:
    """The score term at every k-th step: FLOPs a step, and over those of a step without it."""
    flops = parts["score term"] / k
    return {"flops": flops, "over_step": flops / without_score(recipe, parts)}


def row_of(gpus: int, footprint: Footprint, device: Device, hours: float) -> dict[str, Any]:
    """The plan on so many GPUs; hours: on one."""
    limit = USABLE * device.memory
    images, memory = footprint.fitting(gpus, limit)
    share = footprint.recipe.batch // gpus
    fits = memory["total"] <= limit
    return {"gpus": gpus, "share": share, "micro": images, "memory": memory, "fits": fits, "hours": hours / gpus}


# Tables


def show(found: dict[str, Any]) -> None:
    """Tables on a terminal, aligned lines through a pipe."""
    from theory.common.terminal import console

    out = console()
    device, gpus = found["device"], found["gpus"]
    usable, hours = USABLE * device["memory"], found["hours"]
    out.print(
        f"{found['recipe']}, coupling {found['coupling']}: {found['images']:,} images, {found['steps']:,} steps, on "
        f"{gpus} x {device['name']}: {hours:,.1f} hours at {100 * found['utilisation']:g} % of "
        f"{device['flops'] / 1e12:,.1f} TFLOP/s of dense bf16 (an assumption), without loading, evaluation and "
        "communication.",
    )
    table(out, ("parameters", "M"), ((name, f"{n / 1e6:,.2f}") for name, n in found["parameters"].items()))
    parts, every = found["flops"], found["every"]
    table(
        out,
        ("FLOPs of a step, all GPUs", "T when it acts", "every", "T a step", "part"),
        (
            (name, f"{n / 1e12:,.3f}", f"{k}", f"{n / k / 1e12:,.3f}", f"{100 * n / k / parts['mean step']:.1f} %")
            for name, n in parts.items()
            if n
            for k in (every.get(name, 1),)
        ),
    )
    table(
        out,
        ("score term at every k-th step", "T a step", "on top"),
        (
            (f"k = {k}", f"{c['flops'] / 1e12:,.3f}", f"{100 * c['over_step']:.1f} %")
            for k, c in found["score_term"].items()
        ),
    )
    row = next(row for row in found["by_gpus"] if row["gpus"] == gpus)
    table(
        out,
        (f"memory of a GPU, {row['micro']} images at once", "GB"),
        ((name, f"{n / 1e9:,.2f}") for name, n in found["memory"].items()),
    )
    lines = (
        (f"{r['gpus']}", f"{r['share']}", f"{r['micro']}" if r["fits"] else "none fits", f"{r['memory'] / 1e9:,.1f}",
         f"{r['hours']:,.1f}") for r in found["by_gpus"]
    )  # fmt: skip
    table(out, ("GPUs", "images each", "at once (--micro)", "GB", "hours"), lines)
    out.print(f"Tensors may take {usable / 1e9:,.1f} of a GPU's {device['memory'] / 1e9:,.0f} GB.")
    out.print(f"Source of rate and memory: {device['source']}.")
    out.print("Sources of the recipe's numbers:")
    for fields, source in found["sources"].items():
        out.print(f"  {fields.replace(' ', ', ')}: {source}.")


def table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table whose first column is text, the others numbers."""
    from rich.box import SIMPLE
    from rich.table import Table

    first, *numbers = columns
    drawn = Table(first, box=SIMPLE if out.is_terminal else None, padding=(0, 2, 0, 0))
    for name in numbers:
        drawn.add_column(name, justify="right")
    for row in rows:
        drawn.add_row(*row)
    out.print(drawn)
    if not out.is_terminal:
        out.print()


if __name__ == "__main__":
    sys.exit(run(main))
