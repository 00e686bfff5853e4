"""python docs/reliability.py: see pieces/reliability.py."""

import sys
from pathlib import Path

from pieces.reliability import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent.parent))
