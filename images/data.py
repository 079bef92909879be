"""python -m images.data: make an archive of images and labels for training and evaluation.

Exit status: 0 done, 2 bad usage or a bad source (one line, with the file that is wrong), 1 anything else. The archive
is written whole or not at all; the same source gives the same bytes.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
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

    SOURCE is digits or photos (scikit-learn's: no download), cifar-10-binary.tar.gz or cifar-10-python.tar.gz, IDX
    files (MNIST, Fashion-MNIST: their folder, or that of images), a folder of images (a sub folder for each class), an
    LMDB of LSUN, or an archive to be checked or made smaller. Nothing in it is executed.
    """

    source: Annotated[str, tyro.conf.Positional]
    """digits, photos, or a path (./digits is a folder)."""
    dest: Path
    """The archive, a .zip."""
    size: int | None = None
    """Height and width after a centre crop, a power of two; folders, LSUN: 64 unless given. Lanczos' filter."""
    channels: Literal[1, 3] | None = None
    """1 is grey, 3 RGB; folders and LSUN: 3 unless given, archives: as they are."""
    split: Literal["train", "test", "all"] | None = None
    """Of digits, CIFAR10 and IDX files; train unless given."""
    skip_bad: bool = False
    """Leave out images that cannot be read, and list them."""
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
        options.dest.parent.mkdir(parents=True, exist_ok=True)
        write(options.dest, tracked(source.items, "images", source.count), source.classes)
    made = Archive(options.dest)
    classes = "no labels" if made.labels is None else f"{made.labels.max() + 1} classes"
    print(f"{options.dest}: {len(made)} images {list(made.shape)}, {classes}")
    if made.classes is not None:
        print(f"classes (in dataset.json): {listed(made.classes)}")
    for note in source.notes:
        print(note if note.startswith("skipped: ") else f"note: {note}")
    return 0


def listed(classes: list[str]) -> str:
    """0 = cat, 1 = dog, ...; at most 20 of them."""
    from images.formats.messages import shown

    told = ", ".join(f"{label} = {shown(name)}" for label, name in enumerate(classes[:20]))
    return told + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")


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
    kind = options.source if known else kind_of(path)
    if options.split is not None and kind not in ("digits", "cifar10", "idx"):
        raise UsageError(f"--split is for digits, CIFAR10 and IDX files; {options.source} is taken whole")
    if kind not in ("folder", "zip", "lmdb"):
        for name, value in (("size", options.size), ("channels", options.channels), ("skip-bad", options.skip_bad)):
            if value:
                raise UsageError(f"--{name} is for folders, LSUN and archives; {options.source} stays as it is")
    split = options.split or "train"
    if kind == "digits":
        return sources.digits(split)
    if kind == "photos":
        return sources.photos()
    if kind == "cifar10":
        return sources.cifar(path, split)
    if kind == "idx":
        return sources.mnist(path, split)
    how = sources.How(options.size, options.channels or 3, options.skip_bad, options.threads)
    if kind == "zip":
        return sources.archive(path, replace(how, channels=options.channels))
    return {"folder": sources.folder, "lmdb": sources.database}[kind](path, replace(how, size=options.size or 64))


def kind_of(path: Path) -> str:
    """folder, lmdb, idx, zip or cifar10: by the names in a folder, by a file's first bytes and its name.

    Raises:
        UsageError: none of them.
    """
    from images.datasets import idx

    if path.is_dir():
        return "lmdb" if (path / "data.mdb").exists() else "idx" if idx.is_folder(path) else "folder"
    with open(path, "rb") as file:
        start = file.read(4)
    if start.startswith(b"\x1f\x8b"):
        return "idx" if "ubyte" in path.name else "cifar10"
    for magic, kind in ((b"PK", "zip"), (idx.START, "idx")):
        if start.startswith(magic):
            return kind
    raise UsageError(f"{path} is no folder, no zip archive, no .tar.gz of CIFAR10 and no IDX file")


if __name__ == "__main__":
    sys.exit(run(main))
