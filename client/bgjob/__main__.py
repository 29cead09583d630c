"""`python -m bgjob` is the command `bgjob`."""

import sys

from bgjob.command import main

if __name__ == "__main__":
    sys.exit(main())
