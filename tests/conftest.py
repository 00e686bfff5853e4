import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import reference/

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden():
    """Load one of the recorded arrays, e.g. ``golden("grokfast_filters")``."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")
