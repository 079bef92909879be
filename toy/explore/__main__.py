"""python -m toy.explore: a page, on this machine only, with the gradients on a generated sample under sliders.

Exit status: 0 ended by Ctrl-C, or the page is written; 2 bad usage, 1 anything else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from theory.common.checks import whole
from theory.common.commandline import parse, run, usage
from theory.common.errors import Failure
from theory.common.signals import Terminated
from toy.explore.choices import Offer

PROG = "python -m toy.explore"
LARGEST = 5_000_000  # bytes of an exported page


@dataclass(frozen=True)
class Options:
    """Serve a page on 127.0.0.1 for distributions in the plane: both gradient fields, the loss ell, and the
    equilibrium of the game. Choose distribution, thickness, loss, noise-to-signal ratio and lambda; drag a point; play
    moves a cloud of samples by the gradients."""

    manifold: str = "mixed"
    """Where the page opens: a name of the catalogue that lies in the plane."""
    thickness: float = 0.1
    """And its thickness tau: the distribution is thickened by N(0, tau^2 I)."""
    loss: str = "saturating"
    """And the generator's loss: saturating or non-saturating."""
    port: int = 5006
    """Where to serve; 0 is any free port."""
    export: Path | None = None
    """Write the page to this .html instead, with its numbers in it, under 5 MB: it needs no server and no network. It
    holds a part of the distributions (mixed, ring, two-moons, 8-ring, box, and --manifold)."""

    def __post_init__(self) -> None:
        if whole("port", self.port) >= 2**16:
            raise ValueError(f"port must lie in 0 .. 65535; given {self.port}")
        if self.export is not None:
            if self.export.suffix != ".html":
                raise ValueError(f"export must be an .html; given {self.export}")
            if not self.export.parent.is_dir():
                raise ValueError(f"the directory of export does not exist: {self.export.parent}")
        self.offer()

    def offer(self) -> Offer:
        """What the page offers."""
        return Offer(self.manifold, self.thickness, self.loss)


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        offer = options.offer()
    if options.export is not None:
        return export(offer.exported(), options.export)
    from toy.explore.server import Server

    try:
        server = Server(offer, options.port)
    except OSError as error:
        raise Failure(f"port {options.port}: {error.strerror or error}; --port 0 takes a free one") from error
    try:
        print(f"http://127.0.0.1:{server.port} (Ctrl-C ends it)", flush=True)
        server.run()
    except Terminated:
        raise
    except KeyboardInterrupt:
        return 0
    return 0


def export(offer: Offer, path: Path) -> int:
    """Writes the page with its tables."""
    from rich.console import Console
    from rich.progress import track

    from theory.common import files
    from toy.explore.page import page
    from toy.explore.scene import packed

    console = Console(stderr=True)
    keys = track(offer.tables(), "tables", console=console, transient=True, disable=not console.is_terminal)
    html = page(offer, {key: packed(key) for key in keys}).encode()
    if len(html) > LARGEST:
        raise Failure(f"{path} would have {len(html) / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}")
    files.write(path, html)
    print(f"{path}: {len(html) / 1e6:.1f} MB, opens without a server")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
