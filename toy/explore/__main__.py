"""python -m toy.explore: one page, on this machine only, where the pulls on a generated sample can be touched.

Exit status: 0 ended by Ctrl-C, 2 bad usage, 1 anything else.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from theory.common.checks import choose
from theory.common.commandline import complain, parse
from theory.common.errors import UsageError

PROG = "python -m toy.explore"


@dataclass(frozen=True)
class Options:
    """Serve a page on 127.0.0.1 with both gradient fields, ell, and where the game comes to rest, for a law in the
    plane: drag the noise-to-signal ratio, lambda and a point."""

    manifold: str = "ring"
    """The real law: a name of the catalogue that lies in the plane."""
    thickness: float = 0.0
    """tau: the law is thickened by N(0, tau^2 I)."""
    port: int = 5006
    """Where to serve; 0 is any free port."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port must lie in 0 .. 65535; given {self.port}")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parse(Options, arguments, PROG)
        from theory.manifolds import make, names

        choose(options.manifold, names(), "manifold")
        law = make(options.manifold, thickness=options.thickness)
        if law.dim != 2:
            flat = ", ".join(name for name in names() if make(name).dim == 2)
            raise UsageError(
                f"{options.manifold} lies in R^{law.dim}, and the page shows the plane: choose from {flat}"
            )
    except (UsageError, ValueError) as error:
        return complain(error, 2)
    try:
        from toy.explore.page import serve
    except ModuleNotFoundError as error:
        return complain(f"{error.name} is not installed: pip install -e '.[explore]'", 1)
    name = options.manifold + (f", thickened by {options.thickness:g}" if options.thickness else "")
    try:
        server = serve(law, name, options.port)
    except OSError as error:
        return complain(f"port {options.port}: {error.strerror or error}; --port 0 takes a free one", 1)
    print(f"http://127.0.0.1:{server.port} (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run_until_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
