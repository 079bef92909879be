"""python -m images.ranks --nproc_per_node=2 -m images.train ...: torchrun, of which an end is told in one line.

All options of torchrun are taken (torchrun --help), --nnodes and --rdzv_endpoint among them. Where a process is lost,
torchrun prints its own report around the one line of ours; here that line is all. If the processes are asked to stop
(SIGTERM, SIGHUP, Ctrl-C), each ends its step and saves.

Exit status: 0 done, 2 bad usage, 143 or 129 after SIGTERM or SIGHUP, 1 anything else.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from theory.common import signals
from theory.common.commandline import run
from theory.common.errors import Failure, Lost, Stopped, UsageError

PROG = "python -m images.ranks"
WAIT = 2.0  # seconds after which another process than the first tells what only it has found wrong


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {PROG} [OPTIONS OF TORCHRUN] -m images.train|images.sample [OPTIONS]\n\n{__doc__}")
        return 0
    if "-m" not in arguments:
        raise UsageError(f"name what to run: {PROG} {' '.join(arguments)} -m images.train ...; given {arguments[0]}")
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from images.training.parallel import SAID

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            options = torchrun.parse_args(arguments)
    except SystemExit:
        raise UsageError(f"{told.getvalue().splitlines()[-1].partition('error: ')[2]} (see {PROG} --help)") from None
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in ("torch.distributed.elastic", "torch.distributed.run", "torch.distributed.launcher"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory() as directory:
        said = Path(directory) / "said"
        os.environ[SAID] = str(said)
        try:
            torchrun.run(options)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode > 0 or said.exists():  # it has told why, or another process has
                return max(1, failure.exitcode)
            name = signal.Signals(-failure.exitcode).name
            raise Lost(f"process {rank} was ended by {name} (out of memory?); --resume continues") from None
        except SignalException as error:  # the processes have told
            return signals.status(error.sigval)
    return 0


def once(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """main(arguments) under torchrun, where what is wrong is mostly wrong in all processes: the first one tells it.

    Another one that finds something waits WAIT seconds to be ended with the first one, and tells it then.
    """

    @functools.wraps(main)
    def told(arguments: list[str]) -> int:
        try:
            return main(arguments)
        except Stopped as error:
            if os.environ.get("RANK", "0") != "0":  # all of them stop
                raise SystemExit(error.status) from None
            raise
        except Failure as error:
            if os.environ.get("RANK", "0") != "0" and not isinstance(error, Lost):
                signal.pthread_sigmask(signal.SIG_BLOCK, signals.REQUESTS)
                if signal.sigtimedwait(signals.REQUESTS, WAIT) is not None:
                    raise SystemExit(error.status) from None
            raise

    return told


if __name__ == "__main__":
    sys.exit(run(main))
