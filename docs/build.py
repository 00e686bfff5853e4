"""python docs/build.py [--check]: see pieces/pages.py."""

import sys
from pathlib import Path

from pieces.pages import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent.parent))
