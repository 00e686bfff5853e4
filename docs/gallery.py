"""python docs/gallery.py: make the pages that docs/gallery.md shows, for the site."""

import sys

from pieces.gallery import make

if __name__ == "__main__":
    sys.exit(make())
