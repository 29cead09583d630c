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
from typing import Final

from tests import postgresql
from tests.engines import on_postgresql
from tests.faults.torture.course import Outcome, torture
from tests.faults.torture.site_course import torture_hosts
from tests.faults.torture.watching import Progress
from tests.postgresql import Places

_PAUSE_OF_HOSTS: Final = 2.0


def main() -> int:
    """Torture; answers 1 where something was found."""
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-torture-"))
    try:
        outcome = _torture(directory, given)
    except KeyboardInterrupt:
        shutil.rmtree(directory)
        return 130
    print(outcome)
    if outcome.findings:
        again = f"--seconds {given.seconds:g} --seed {given.seed} --hosts {given.hosts}"
        again += "" if given.pause is None else f" --pause {given.pause:g}"
        print(f"kept: {directory}; the same again, as far as it can be: {again}")
        return 1
    shutil.rmtree(directory)
    return 0


def _torture(directory: Path, given: argparse.Namespace) -> Outcome:
    aim = Progress(given.jobs, given.kills, given.crashes)
    if given.hosts > 1:
        return torture_hosts(
            directory,
            given.seconds,
            given.seed,
            given.hosts,
            _PAUSE_OF_HOSTS if given.pause is None else given.pause,
            given.lost_after,
            aim=aim,
            keeps_all=given.keep,
        )
    with ExitStack() as stack:
        if given.engine == "postgresql":
            stack.enter_context(on_postgresql(Places(stack.enter_context(postgresql.server()))))
        return torture(
            directory,
            given.seconds,
            given.seed,
            given.container,
            aim=aim,
            keeps_all=given.keep,
            pause=given.pause,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, at most; 60 where not given")
    parser.add_argument("--jobs", type=int, default=0, help="until so many are acknowledged, if not before")
    parser.add_argument("--kills", type=int, default=0, help="and daemons have ended so often")
    parser.add_argument("--crashes", type=int, default=0, help="of hosts: and the server so often")
    parser.add_argument(
        "--keep", action="store_true", help="nothing is pruned, and the tallies are held against a recount"
    )
    parser.add_argument(
        "--container", action="store_true", help="the daemon is pid 1 of one (bubblewrap, root)"
    )
    parser.add_argument(
        "--hosts", type=int, default=1, help="so many daemons at a server of PostgreSQL, which is killed too"
    )
    parser.add_argument(
        "--pause",
        type=float,
        help="seconds between two deeds at a host; most wait until the daemon can run jobs, where this is given",
    )
    parser.add_argument(
        "--lost-after", type=float, default=20.0, help="of hosts: seconds until one is given up"
    )
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), help="sqlite where not given")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the random moments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
