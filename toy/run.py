"""python -m toy.run: train a GAN with and without the score matching regularity, compare, draw, store.

Exit status: 0 done, 2 bad usage, 1 anything else (what was done is saved; --resume continues it bit for bit).
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import tyro

from theory.common.checks import choose, few, flag, whole
from theory.common.commandline import new_directory, noted, parse, run, usage, value_of
from theory.common.errors import Diverged, FileError, OutOfMemory, Stopped, UsageError, out_of_memory
from theory.common.files import held, read_json
from theory.common.logs import LOGS, log_of
from theory.common.parts import choose_or_own, is_own, label
from theory.common.processes import children, started
from toy.config import ADDED, ARMS, CHOICES, MANIFOLDS, PRESETS, Arm, Config, as_dict, differences, field_of

PROG = "python -m toy.run"


@dataclass(frozen=True)
class Options(Config):
    __doc__ = Config.__doc__

    preset: str = "saturated"
    """Source of the other defaults: saturated (the ring in the plane, a strong discriminator trained ahead, the
    generator started off the manifold: the discriminator is certain of every sample), healthy (non-saturating, R1,
    ring in R^32) or lazy (healthy, the score term every 8th step)."""
    out: Path | None = None
    """Directory for the results; a new one under runs/ if not given."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Continue the run in --out, with its options."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run in --out."""
    processes: int = max(1, os.cpu_count() or 1)
    """Processes; the results do not depend on it."""
    tune: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only find each arm's best learning rate and lambda, on seeds that no comparison uses, and print them."""
    log: tuple[str, ...] = ()
    """What hears of every evaluation when it comes, beside metrics.csv: tensorboard (event files in the directory),
    or your own: FILE.py:NAME, see toy/OWN_PARTS.md."""
    animate: Path | None = None
    """Also film the first seed of each arm, a .gif or .mp4 of samples and gradients; trains it once more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "preset", choose(self.preset, PRESETS, "preset"))
        whole("processes", self.processes, 1)
        for name in ("resume", "overwrite", "tune"):
            flag(name, getattr(self, name))
        object.__setattr__(self, "log", tuple(choose_or_own("log", log, LOGS) for log in self.log))
        if self.resume and self.overwrite:
            raise ValueError("give --resume or --overwrite, not both")
        if self.resume and self.out is None:
            raise ValueError("which run? --resume needs --out, its directory")
        if self.animate is not None and not self.adversarial:
            raise ValueError(f"animate shows a discriminator's gradient: generator must be gan; given {self.generator}")
        if self.animate is not None and self.tune:
            raise ValueError("give --animate or --tune, not both")


def main(arguments: list[str]) -> int:
    try:
        return command(arguments)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise OutOfMemory("not enough memory: lower --width, --dim, --batch, --samples or --seeds") from error


def command(arguments: Sequence[str]) -> int:
    with usage():
        options = options_of(arguments)
        config = Config(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)})
        checkpoint = options.out / "checkpoint.pt" if options.resume and options.out else None
        in_worker(options.processes, check, config, options.processes, checkpoint, options.animate, options.out)
    if options.tune:
        from toy.sweep.tuning import tune

        tune(options.preset, config, options.processes)
        return 0
    from toy.jobs.run_directory import begin

    directory = prepare(options, config)
    directory.mkdir(parents=True, exist_ok=True)
    with held(directory):
        if not options.resume:
            begin(config, directory)
        execute(config, directory, options)
    return 0


def options_of(arguments: Sequence[str]) -> Options:
    """What the arguments say, the rest from a preset or the run to be resumed.

    Raises:
        UsageError, ValueError: they cannot be meant, or one would be ignored.
    """
    default = defaults(arguments)
    try:
        options = parse(Options, arguments, PROG, default=default)
    except UsageError as error:
        raise UsageError(hint(str(error)) or str(error)) from None
    for name, why in options.without_effect().items():
        for option, value in changed(name, *map(attrgetter(name), (options, default))):
            raise UsageError(f"{option} has no effect: {why}; given {value}")
    return options


def changed(name: str, value: Any, default: Any) -> list[tuple[str, Any]]:
    """What of an option differs from its default: (name, value); of an arm, of each of its options."""
    if isinstance(value, Arm):
        options = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(Arm)]
        return [(f"{name}.{key}", given) for key, given in options if given != getattr(default, key)]
    return [(name, value)] if value != default else []


def hint(refusal: str) -> str:
    """What unrecognised arguments may have meant: an option of an arm, or a name without its option; empty if neither.

    Args:
        refusal: the message of `parse`.
    """
    found = re.match(r"Unrecognized options: (.*?)(;| \(see)", refusal)
    named = {"manifold": MANIFOLDS, "arms": ARMS, **CHOICES, "preset": PRESETS}
    for word in found[1].split(", ") if found else []:
        name = word.split("=")[0].removeprefix("--")
        if word.startswith("--") and name in {field.name for field in dataclasses.fields(Arm)}:
            return f"{name} is an option of an arm: {', '.join(f'--{arm}.{name}' for arm in ARMS)}; given {word}"
        for option, choices in named.items():
            if word.casefold() in (choice.casefold() for choice in choices):
                meant = f"--{option.replace('_', '-')} {word}"
                return f"{word} stands without its option; did you mean {meant}?"
    return ""


def in_worker(processes: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns in one of the processes that will train, so that the parent does without torch.

    They start here, and no Ctrl-C reaches them: it is the parent's.
    """
    import joblib

    with started(), children():
        calls = joblib.Parallel(n_jobs=processes, return_as="generator")([joblib.delayed(function)(*arguments)])
    (found,) = calls
    return found


def defaults(arguments: Sequence[str]) -> Options:
    """The preset that is named; without one, with --resume, the options of the run in --out.

    Raises:
        UsageError, ValueError: an unknown preset; nothing to resume.
    """
    name, out = value_of("--preset", arguments), value_of("--out", arguments)
    if name is None and out is not None and "--resume" in arguments:
        return from_dict(stored(Path(out)))
    name = choose(name or "saturated", PRESETS, "preset")
    return from_dict(dataclasses.asdict(PRESETS[name]), preset=name)


def from_dict(values: dict[str, Any], **more: Any) -> Options:
    """Options from a configuration as config.json holds it."""
    return Options(**{**values, **{arm: Arm(**values[arm]) for arm in map(field_of, ARMS)}, **more})


def stored(directory: Path) -> dict[str, Any]:
    """The configuration of the run in a directory.

    Raises:
        UsageError: there is none, or it is not of this version.
    """
    path = directory / "config.json"
    known = {field.name for field in dataclasses.fields(Config)}
    try:
        values = read_json(path, "configuration")
        if not isinstance(values, dict):
            raise UsageError(f"{path} is damaged: it holds no options")
        if {*values, *ADDED} != known:
            other = few(sorted({*values, *ADDED} ^ known))
            raise UsageError(f"{path} is of another version: it lacks or adds {other}")
        from_dict(values)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"nothing to resume: {path} does not exist") from None
    except FileError:  # as it says; or an own part is not there, or has changed
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged: {str(error)[:200]}") from None
    return values


def check(config: Config, processes: int, checkpoint: Path | None, film: Path | None, out: Path | None) -> None:
    """In a worker, which has torch: raises what is wrong with the device, the law, its size, classes, own parts, the
    checkpoint or the film."""
    from theory.common.seeds import generator
    from toy.device import device_of
    from toy.jobs.job import check_memory
    from toy.laws import law_of, training_law
    from toy.training.checkpoint import load
    from toy.training.classes import Classes
    from toy.training.draws import INIT
    from toy.training.games import game_of
    from toy.training.gan import generator_of
    from toy.training.penalties import penalty_of
    from toy.training.score_models import eps_model

    device_of(config)
    law = law_of(config)
    training_law(config)
    check_memory(config, law.dim, processes)
    game_of(config.loss)
    penalty_of(config.regulariser)
    if is_own(config.score):
        eps_model(config, law)
    labels = len(Classes(law)) if config.conditional else 0
    if is_own(config.generator):
        generator_of(config, config.latent + labels, law.dim, 1).initialise([generator(config.first_seed, INIT)])
    if config.conditional:
        classes = Classes(law)
        for count in (config.batch, config.samples):
            classes.parts(count)
    if film is not None:
        from toy.pictures.animation import check_path

        check_path(Path(film.name) if film.parent == out else film)  # --out itself is made later
    if checkpoint is not None and checkpoint.exists():
        load(checkpoint, config)


def prepare(options: Options, config: Config) -> Path:
    """The directory of the run, which need not exist.

    Raises:
        UsageError: it is not empty, and neither --resume nor --overwrite was given; it is no directory; the run to
            be resumed has another configuration.
    """
    directory = (
        new_directory(f"{Path(label(options.manifold)).stem}-{options.preset}") if options.out is None else options.out
    )
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out must be a directory; given the file {directory}")
    if options.resume:
        differing = differences(stored(directory), as_dict(config))
        if differing:
            raise UsageError(f"cannot resume {directory} with other options: {few(differing, between='; ')}")
        return directory
    if directory.exists() and any(directory.iterdir()) and not options.overwrite:
        raise UsageError(f"{directory} is not empty: --resume continues the run in it, --overwrite replaces it")
    return directory


def execute(config: Config, directory: Path, options: Options) -> None:
    """Trains, compares, draws, stores.

    Raises:
        Failure, OSError, KeyboardInterrupt, BrokenProcessPool: with a note of what was saved.
    """
    again = f"{PROG} --out {directory} --resume continues from the last checkpoint"
    with (
        noted(f"the metrics until then are in {directory}", Diverged),
        noted(again, Stopped, KeyboardInterrupt, BrokenProcessPool, OSError),
    ):
        from theory.common.files import write, write_json
        from theory.common.statistics import summary
        from toy.jobs.local import train
        from toy.jobs.run_directory import defined
        from toy.outcome import floors, outcomes

        logs = [log_of(log, directory) for log in options.log]
        table, arrays = train(config, directory, options.processes, logs)
        from toy.pictures.run_figure import draw, png
        from toy.pictures.terminal import print_report

        floor = in_worker(options.processes, floors, config)
        found = summary(defined(table)) | {"floor": floor, "outcomes": outcomes(table, floor)}
        write_json(directory / "summary.json", found)
        write(directory / "figure.png", png(draw(dataclasses.asdict(config), table, found, arrays)))
        print_report(config, found, directory)
        if options.animate is not None:
            in_worker(options.processes, shoot, config, options.animate)
            print(f"filmed: {options.animate}")


def shoot(config: Config, path: Path) -> None:
    """In a worker, which has torch: the film."""
    from toy.jobs.film import film

    film(config, path)


if __name__ == "__main__":
    sys.exit(run(main))
