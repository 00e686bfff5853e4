import mmap
import sys

import pytest

from grokkit.probe.memory import peak_bytes, reset_peak

SIZE = 64 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_peak_is_that_since_the_reset():
    reset_peak()
    before = peak_bytes()
    with mmap.mmap(-1, SIZE) as block:  # from the system and back to it, whatever the allocator keeps
        block.write(b"x" * SIZE)
        during = peak_bytes()
    assert during - before > 0.9 * SIZE
    reset_peak()
    assert peak_bytes() < during - (32 << 20)
