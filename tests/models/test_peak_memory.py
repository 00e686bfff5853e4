"""Sharing prefixes needs no more memory than running every row, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "peak_memory.py"


def peak(form):
    return int(subprocess.run([sys.executable, PROGRAM, "--form", form], check=True, capture_output=True).stdout)


@pytest.mark.slow
def test_no_more_than_dense():
    dense = peak("answer position only")
    assert dense > 50e6, "a full batch is something"
    assert peak("prefixes shared") < dense
    assert peak("prefixes shared, freed memory kept") < dense
