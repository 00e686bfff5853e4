import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import reference/

torch.set_num_threads(1)  # the tests' tensors are tiny: threads only wait for one another

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden():
    """Load one of the recorded arrays, e.g. ``golden("grokfast_filters")``."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")
