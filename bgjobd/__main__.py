"""`python -m bgjobd` and the script `bgjobd` are the command `bgjobd`."""

import gc
import sys


def main() -> int:
    """Import the command and run it; answers the exit code."""
    gc.disable()  # nearly all that an import makes stays: looking through it again and again is an eighth of the start
    from bgjobd.main import main as run

    gc.freeze()
    gc.enable()
    return run()


if __name__ == "__main__":
    sys.exit(main())
