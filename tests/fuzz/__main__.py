"""The fuzzer, `./run fuzz`: feeds whatever reads bytes of others with all sorts of them, and tells what breaks."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import traceback
from pathlib import Path

from tests.fuzz.one import has_atheris
from tests.fuzz.running import AT_ONCE, Course, fuzz
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz; answers 1 where something was found."""
    given = _parser().parse_args()
    targets = [TARGETS[name] for name in dict.fromkeys(given.target or TARGETS)]
    if given.input is not None:
        return max(_repeat(target, path) for target in targets for path in given.input)
    way = "atheris" if has_atheris() and not given.plain else "mutations"
    if way == "mutations":
        print("without atheris: mutations of the corpus, which no coverage guides")
    each = given.seconds * min(AT_ONCE, len(targets)) / len(targets)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        return fuzz(targets, Course(each, given.seed, way, given.keep))
    except KeyboardInterrupt:
        return 130


def _repeat(target: Target, path: Path) -> int:
    """Feed the target with what is in the file."""
    try:
        target.attempt(path.read_bytes())
    except Exception:
        traceback.print_exc()
        print(f"{target.name}: fails with {path}")
        return 1
    print(f"{target.name}: takes {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="for all targets together; 120 where not given"
    )
    parser.add_argument(
        "--target", nargs="+", choices=TARGETS, metavar="NAME", help=f"of {', '.join(TARGETS)}; else all"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the chance")
    parser.add_argument("--input", type=Path, nargs="+", metavar="FILE", help="only try what is in these")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where inputs that reached new code are put")
    parser.add_argument("--plain", action="store_true", help="mutations, though atheris is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
