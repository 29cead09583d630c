"""The torture, `./run torture`: kills a daemon and its processes while jobs run, and reads the books in the end."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.engines import on_postgresql
from tests.faults.torture.course import torture
from tests.postgresql import Places, started


def main() -> int:
    """Torture; answers 1 where something was found."""
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-torture-"))
    try:
        with ExitStack() as stack:
            if given.engine == "postgresql":
                stack.enter_context(on_postgresql(Places(stack.enter_context(started()))))
            outcome = torture(directory, given.seconds, given.seed, given.container)
    except KeyboardInterrupt:
        shutil.rmtree(directory)
        return 130
    print(outcome)
    if outcome.findings:
        print(
            f"kept: {directory}; the same again, as far as it can be: --seconds {given.seconds:g} --seed {given.seed}"
        )
        return 1
    shutil.rmtree(directory)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; 60 where not given")
    parser.add_argument(
        "--container", action="store_true", help="the daemon is pid 1 of one (bubblewrap, root)"
    )
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), help="sqlite where not given")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the random moments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
