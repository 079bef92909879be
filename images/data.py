"""python -m images.data: make an archive of images and labels for training and evaluation.

Exit status: 0 done, 2 bad usage or a bad source (one line, with the file that is wrong), 1 anything else. The archive
is written whole or not at all; the same source gives the same bytes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from theory.common.checks import whole
from theory.common.commandline import noted, parse, run, usage
from theory.common.errors import UsageError

if TYPE_CHECKING:
    from images.datasets.sources import Source

PROG = "python -m images.data"
SMALLEST, LARGEST = 8, 1024


@dataclass(frozen=True)
class Options:
    """Make an archive of images, as StyleGAN and EDM use them.

    SOURCE is digits or photos (scikit-learn's: no download), cifar-10-binary.tar.gz or cifar-10-python.tar.gz, a folder
    of images (a sub folder for each class), or an archive to be checked or made smaller. Nothing in it is executed.
    """

    source: Annotated[str, tyro.conf.Positional]
    """digits, photos, or a path (./digits is a folder)."""
    dest: Path
    """The archive, a .zip."""
    size: int | None = None
    """Height and width after a centre crop, a power of two; folders: 64 unless given. Lanczos' filter."""
    split: Literal["train", "test", "all"] | None = None
    """Of digits and CIFAR10; train unless given."""
    overwrite: bool = False
    """Replace --dest."""
    threads: int = max(1, os.cpu_count() or 1)
    """Threads that read images from a folder; the result does not depend on it."""

    def __post_init__(self) -> None:
        if self.size is not None and (self.size & (self.size - 1) or not SMALLEST <= self.size <= LARGEST):
            raise ValueError(f"size must be a power of two in {SMALLEST}..{LARGEST}; given {self.size}")
        if self.dest.suffix != ".zip":
            raise ValueError(f"dest must be a .zip; given {self.dest}")
        whole("threads", self.threads, 1)


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
    if options.dest.exists() and not options.overwrite:
        raise UsageError(f"{options.dest} exists: --overwrite replaces it")
    from images.datasets.archive import Archive, write
    from theory.common.terminal import tracked

    with noted("nothing was written"), usage():
        source = find(options)
        write(options.dest, tracked(source.items, "images", source.count))
    made = Archive(options.dest)
    classes = "no labels" if made.labels is None else f"{made.labels.max() + 1} classes"
    print(f"{options.dest}: {len(made)} images {list(made.shape)}, {classes}")
    for note in source.notes:
        print(f"note: {note}")
    return 0


def find(options: Options) -> Source:
    """The source that the options name.

    Raises:
        UsageError: there is none, or an option is not for it. Others: as the source's.
    """
    from images.datasets import sources

    path = Path(options.source)
    known = options.source in ("digits", "photos")
    if not known and not path.exists():
        raise UsageError(f"source must be digits, photos, or a file or folder that exists; given {options.source}")
    kind = options.source if known else "folder" if path.is_dir() else kind_of(path)
    if options.split is not None and kind not in ("digits", "cifar10"):
        raise UsageError(f"--split is for digits and CIFAR10; {options.source} is taken whole")
    if options.size is not None and kind not in ("folder", "zip"):
        raise UsageError(f"--size is for folders and archives; {options.source} stays at its own size")
    split = options.split or "train"
    if kind == "digits":
        return sources.digits(split)
    if kind == "photos":
        return sources.photos()
    if kind == "folder":
        return sources.folder(path, options.size or 64, options.threads)
    return sources.cifar(path, split) if kind == "cifar10" else sources.archive(path, options.size)


def kind_of(path: Path) -> str:
    """zip or cifar10, by the file's first bytes.

    Raises:
        UsageError: neither.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    for magic, kind in ((b"PK", "zip"), (b"\x1f\x8b", "cifar10")):
        if start.startswith(magic):
            return kind
    raise UsageError(f"{path} is no folder, no zip archive and no .tar.gz of CIFAR10")


if __name__ == "__main__":
    sys.exit(run(main))
