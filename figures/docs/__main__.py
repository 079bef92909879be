"""python -m figures.docs: the site, out/docs/index.html; it is read without a server and asks for nothing.

Its pages are made from what exists: README, report, captions and scripts of the figures, executed tutorials, claims and
proofs, docstrings. A broken link, a page without a place, or a number that the results do not have is an error.

Needs a checkout and the extra docs. Exit status: 0 done; 1 the site does not build; 2 bad usage.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from theory.common.commandline import complain, parse, run
from theory.common.errors import UsageError
from theory.common.files import naming, workplace

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Options:
    """Build the site."""

    out: Path = workplace() / "out" / "docs"
    """Where to; what is there already is replaced, when the site is whole."""


def main(arguments: list[str]) -> int:
    options = parse(Options, arguments, "python -m figures.docs")
    if workplace() != HERE.parents[1]:
        raise UsageError("the site is made from a checkout; this package is installed")
    if options.out.exists() and not (options.out.is_dir() and is_replaceable(options.out)):
        raise UsageError(f"--out {options.out} is there, and is no site: nothing is replaced")
    complaint = build(options.out)
    if complaint:
        return complain(complaint, 1)
    print(options.out / "index.html")
    return 0


def is_replaceable(directory: Path) -> bool:
    """Whether a directory is empty or holds a site."""
    return not any(directory.iterdir()) or (directory / "objects.inv").exists()


def build(out: Path) -> str:
    """Builds the site there; what went wrong, "" if nothing. What mkdocs warns of is an error, and told."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # a notice of the theme about another program
    importlib.import_module("material")  # if it is missing, `run` says so in a line
    from mkdocs.commands.build import build as made
    from mkdocs.config import load_config
    from mkdocs.exceptions import MkDocsException

    from figures.docs.pages import site, write

    pages, nav = site()
    log = logging.getLogger("mkdocs")
    log.addHandler(logging.StreamHandler(sys.stderr))
    log.setLevel(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as temporary, replaced(out) as partial:
            write(pages, Path(temporary))
            places = {"docs_dir": temporary, "site_dir": str(partial)}
            made(load_config(str(HERE / "mkdocs.yml"), **places, nav=nav, strict=True))
    except MkDocsException as error:
        return f"the site does not build: {error}"
    return ""


@contextlib.contextmanager
def replaced(directory: Path) -> Iterator[Path]:
    """A directory beside this one, to be made, that takes its place when the block ends well; else this one stays.

    Raises:
        OSError: it cannot be written; names this directory where it names nothing else.
    """
    directory = directory.resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
    try:
        with naming(directory, partial):
            yield partial
            shutil.rmtree(directory, ignore_errors=True)
            os.replace(partial, directory)
    except OSError as error:  # of a copy it names the source
        if error.filename2 is None or not Path(error.filename2).is_relative_to(partial):
            raise
        raise OSError(error.errno, error.strerror, str(directory)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(run(main))
