"""python docs/collect.py DIR NAME: see pieces/collect.py."""

import sys
from pathlib import Path

from pieces.collect import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent.parent))
