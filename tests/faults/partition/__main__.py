"""The partition, `./run partition`: strikes at hosts of one PostgreSQL and at the way to it, and reads the books."""

from __future__ import annotations

import argparse
import math
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults.partition.blows import Blow
from tests.faults.partition.course import drawn, partition


def main() -> int:
    """Strike; answers 1 where something was found."""
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-partition-"))
    try:
        blows = drawn(given.rounds, given.seed)
        outcome = partition(directory, blows, given.seed, given.hosts, seconds=given.seconds)
    except KeyboardInterrupt:
        shutil.rmtree(directory)
        return 130
    print(outcome)
    if outcome.findings:
        print(
            f"kept: {directory}; the same again, as far as it can be: --rounds {given.rounds} --seed {given.seed}"
        )
        return 1
    shutil.rmtree(directory)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run partition", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=len(Blow), help="how many; each blow once where not given"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which no round begins")
    parser.add_argument("--hosts", type=int, default=2, help="at one database; 2 where not given")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of blows and moments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
