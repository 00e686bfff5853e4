"""The pieces that ``docs/build.py`` writes into the pages, from ``docs/results``."""
