import sys
from pathlib import Path

# Neither the pieces of the pages nor the programs that measure what these show are part of the package.
sys.path += [str(Path(__file__).parents[2] / folder) for folder in ("docs", "benchmarks")]
