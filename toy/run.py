"""python -m toy.run: train a GAN with and without the score matching regularity, compare, draw, store.

Exit status: 0 done, 2 bad usage, 1 anything else (what was done is saved; --resume continues it bit for bit).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theory.common.checks import choose
from theory.common.commandline import complain, new_directory, parse, reason, value_of
from theory.common.errors import CheckpointError, Diverged, Stopped, UsageError, out_of_memory
from toy.config import PRESETS, Config, as_dict, differences
from toy.jobs.interrupts import held

PROG = "python -m toy.run"


@dataclass(frozen=True)
class Options(Config):
    __doc__ = Config.__doc__

    preset: str = "saturated"
    """Where the other defaults come from: saturated (the paper's mechanism: ring in the plane, a strong
    discriminator trained ahead, the generator started off the manifold), healthy (non-saturating, R1, ring in R^32)
    or lazy (healthy, the score term every 8th step)."""
    out: Path | None = None
    """Directory for the results; a new one under runs/ if not given."""
    resume: bool = False
    """Continue the run in --out, with its options."""
    overwrite: bool = False
    """Replace the run in --out."""
    processes: int = max(1, os.cpu_count() or 1)
    """Processes; the results do not depend on it."""
    tune: bool = False
    """Find each arm's best learning rate and lambda on seeds that no comparison uses, print them, and stop."""
    animate: Path | None = None
    """Also film the first seed of each arm: a .gif or .mp4 of samples and fields. Each arm is trained once more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        choose(self.preset, tuple(PRESETS), "preset")
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1; given {self.processes}")
        if self.resume and self.overwrite:
            raise ValueError("give --resume or --overwrite, not both")
        if self.resume and self.out is None:
            raise ValueError("which run? --resume needs --out, its directory")
        if self.animate is not None and self.generator != "gan":
            raise ValueError(f"animate shows a discriminator's pull: generator must be gan; given {self.generator}")
        if self.animate is not None and self.tune:
            raise ValueError("give --animate or --tune, not both")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return command(sys.argv[1:] if arguments is None else list(arguments))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return complain("there is not enough memory for that many seeds, samples or parameters at once", 1)


def command(arguments: Sequence[str]) -> int:
    try:
        options = options_of(arguments)
        config = Config(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)})
        checkpoint = options.out / "checkpoint.pt" if options.resume and options.out else None
        in_worker(options.processes, check, config, checkpoint, options.animate, options.out)
        directory = None if options.tune else prepare(options, config)
    except (UsageError, CheckpointError, ValueError, TypeError) as error:
        return complain(error, 2)
    except OSError as error:
        return complain(reason(error), 1)
    except KeyboardInterrupt:
        return complain("interrupted", 1)
    return search(options, config) if directory is None else execute(config, directory, options)


def options_of(arguments: Sequence[str]) -> Options:
    """What the arguments say, the rest from a preset or the run to be resumed.

    Raises:
        UsageError, ValueError: they cannot be meant, or one would be ignored.
    """
    default = defaults(arguments)
    options = parse(Options, arguments, PROG, default=default)
    for name, why in options.without_effect().items():
        if getattr(options, name) != getattr(default, name):
            raise UsageError(f"{name} has no effect: {why}; given {getattr(options, name)}")
    return options


def in_worker(processes: int, function: Callable[..., None], *arguments: Any) -> None:
    """Calls the function in one of the processes that will train, so that the parent does without torch.

    They start here, and no Ctrl-C reaches them: it is the parent's.
    """
    import joblib

    with held():
        calls = joblib.Parallel(n_jobs=processes, return_as="generator")([joblib.delayed(function)(*arguments)])
    list(calls)


def defaults(arguments: Sequence[str]) -> Options:
    """The preset that is named; without one, with --resume, the options of the run in --out.

    Raises:
        UsageError: an unknown preset; nothing to resume.
    """
    name, out = value_of("--preset", arguments), value_of("--out", arguments)
    if name is None and out is not None and "--resume" in arguments:
        return from_dict(stored(Path(out)))
    name = name or "saturated"
    try:
        choose(name, tuple(PRESETS), "preset")
    except ValueError as error:
        raise UsageError(str(error)) from None
    return from_dict(dataclasses.asdict(PRESETS[name]), preset=name)


def from_dict(values: dict[str, Any], **more: Any) -> Options:
    """Options from a configuration as config.json holds it."""
    from toy.config import ARMS, Arm

    values = dict(values, arms=tuple(values["arms"]))
    for arm in ARMS:
        values[arm] = Arm(**values[arm])
    return Options(**values, **more)


def stored(directory: Path) -> dict[str, Any]:
    """The configuration of the run in a directory.

    Raises:
        UsageError: there is none, or it is not of this version.
    """
    path = directory / "config.json"
    known = {field.name for field in dataclasses.fields(Config)}
    try:
        values = json.loads(path.read_text())
        if set(values) != known:
            raise UsageError(f"{path} is of another version: it lacks or adds {', '.join(set(values) ^ known)}")
        from_dict(values)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"nothing to resume: {path} does not exist") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is damaged: {error}") from None
    return values


def check(config: Config, checkpoint: Path | None, film: Path | None, out: Path | None) -> None:
    """In a worker, which has torch: raises what is wrong with the law, its classes, the checkpoint or the film."""
    from theory.manifolds import make
    from toy.training.checkpoint import load
    from toy.training.classes import Classes

    law = make(config.manifold, dim=config.dim, thickness=config.thickness)
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
    """The directory of the run, with its config.json.

    Raises:
        UsageError: it is not empty, and neither --resume nor --overwrite was given; it is no directory; the run to
            be resumed has another configuration. OSError: it cannot be written.
    """
    from toy.jobs.local import begin

    directory = new_directory(f"{options.manifold}-{options.preset}") if options.out is None else options.out
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out must be a directory; given the file {directory}")
    if options.resume:
        differing = differences(stored(directory), as_dict(config))
        if differing:
            raise UsageError(f"cannot resume {directory} with other options: {'; '.join(differing)}")
        return directory
    if directory.exists() and any(directory.iterdir()) and not options.overwrite:
        raise UsageError(f"{directory} is not empty: --resume continues the run in it, --overwrite replaces it")
    begin(config, directory)
    return directory


def search(options: Options, config: Config) -> int:
    """Tries the grid of settings and prints what it found; the exit status."""
    from toy.sweep.tuning import tune

    try:
        tune(options.preset, config, options.processes)
    except (Diverged, Stopped) as error:
        return complain(error, 1)
    except KeyboardInterrupt:
        return complain("interrupted", 1)
    except BrokenProcessPool:
        return complain("a process was killed (out of memory?)", 1)
    return 0


def shoot(config: Config, path: Path) -> None:
    """In a worker, which has torch: the film."""
    from toy.jobs.film import film

    film(config, path)


def execute(config: Config, directory: Path, options: Options) -> int:
    """Trains, compares, draws, stores; the exit status."""
    from toy.jobs.local import train, write_json

    again = f"{PROG} --out {directory} --resume"
    try:
        table, arrays = train(config, directory, options.processes)
        from theory.common import files
        from theory.common.statistics import summary
        from toy.pictures.run_figure import draw, png
        from toy.pictures.terminal import print_report

        found = summary(table)
        write_json(directory / "summary.json", found)
        files.write(directory / "figure.png", png(draw(dataclasses.asdict(config), table, found, arrays)))
        print_report(config, found, directory)
        if options.animate is not None:
            in_worker(options.processes, shoot, config, options.animate)
            print(f"filmed: {options.animate}")
    except Diverged as error:
        return complain(f"{error}; the metrics until then are in {directory}", 1)
    except Stopped:
        return complain(f"stopped; what was done is saved: {again} continues", 1)
    except CheckpointError as error:
        return complain(error, 2)
    except KeyboardInterrupt:
        return complain(f"interrupted; {again} continues from the last checkpoint", 1)
    except BrokenProcessPool:
        return complain(f"a process was killed (out of memory?); {again} continues from the last checkpoint", 1)
    except OSError as error:
        return complain(f"{reason(error)}; once that is mended, {again} continues from the last checkpoint", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
