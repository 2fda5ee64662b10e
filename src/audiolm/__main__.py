"""`python -m audiolm`, and so `torchrun -m audiolm train ...`."""

import sys

from audiolm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
