"""Run the command as ``python -m flare_train``."""

import sys

from flare_train.cli import main

if __name__ == "__main__":
    sys.exit(main())
