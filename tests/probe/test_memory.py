import sys

import pytest
import torch

from grokkit.probe.memory import peak_bytes, reset_peak


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_peak_is_that_since_the_reset():
    reset_peak()
    before = peak_bytes()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    during = peak_bytes()
    assert during - before > 0.9 * block.numel()
    del block
    reset_peak()
    assert peak_bytes() < during - (32 << 20)
