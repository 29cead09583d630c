"""`python -m bgjobd` is the command `bgjobd`."""

import sys

from bgjobd.main import main

if __name__ == "__main__":
    sys.exit(main())
