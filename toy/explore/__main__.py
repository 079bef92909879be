"""python -m toy.explore: a page, on this machine only, with the gradients on a generated sample under sliders.

Exit status: 0 ended by Ctrl-C, 2 bad usage, 1 anything else.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass

from theory.common.checks import at_least, choose, whole
from theory.common.commandline import parse, run, usage
from theory.common.errors import Failure
from toy.config import MANIFOLDS

PROG = "python -m toy.explore"


@dataclass(frozen=True)
class Options:
    """Serve a page on 127.0.0.1 for a distribution in the plane: both gradient fields, the loss ell, and the
    equilibrium of the game. Drag the noise-to-signal ratio, lambda and a point."""

    manifold: str = "ring"
    """The real distribution: a name of the catalogue that lies in the plane."""
    thickness: float = 0.0
    """tau: the distribution is thickened by N(0, tau^2 I)."""
    port: int = 5006
    """Where to serve; 0 is any free port."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "manifold", choose(self.manifold, MANIFOLDS, "manifold"))
        at_least("thickness", self.thickness, 0)
        if whole("port", self.port) >= 2**16:
            raise ValueError(f"port must lie in 0 .. 65535; given {self.port}")


def main(arguments: list[str]) -> int:
    with usage():
        options = parse(Options, arguments, PROG)
        from theory.manifolds import make

        law = make(options.manifold, thickness=options.thickness)
        if law.dim != 2:
            flat = ", ".join(name for name in MANIFOLDS if make(name).dim == 2)
            raise ValueError(f"{options.manifold} lies in R^{law.dim}, the page shows the plane: choose from {flat}")
    from toy.explore.page import serve

    name = options.manifold + (f", thickened by {options.thickness:g}" if options.thickness else "")
    try:
        server = serve(law, name, options.port)
    except OSError as error:
        raise Failure(f"port {options.port}: {error.strerror or error}; --port 0 takes a free one") from error
    print(f"http://127.0.0.1:{server.port} (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run_until_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
