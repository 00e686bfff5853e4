"""What `import grokkit` adds to importing torch and numpy: median over fresh interpreters, in milliseconds.

python benchmarks/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

PROGRAM = """
import time, numpy, torch
start = time.perf_counter()
import grokkit
print(time.perf_counter() - start)
"""


def main() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)  # bytecode is compiled once
    times = [
        1e3 * float(subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True).stdout)
        for _ in range(9)
    ]
    low, middle, high = statistics.quantiles(times, n=4)
    print(f"import grokkit after torch and numpy: {middle:.1f} ms [{low:.1f}-{high:.1f}]")


if __name__ == "__main__":
    main()
