"""The memory that a worker keeps, in a process of its own: the setting cannot be taken back."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from grokkit.train.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def round_trip():
    blocks = [torch.ones(2**21) for _ in range(4)]  # 8 MiB each
for _ in range(10):
    round_trip()
before = faults()
for _ in range(20):
    round_trip()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc's allocator can be told")
def test_memory_is_used_again():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True).stdout)
        for how in ("keep", "return")
    }
    pages = 20 * 4 * 2**23 / 4096
    assert faults["keep"] < 0.01 * pages


AFTER_ANOTHER = """
import torch
from grokkit import attach, grokfast_ma
from grokkit.probe.memory import peak_bytes, reset_peak
from grokkit.train.allocator import keep_freed_memory
def work():
    model = torch.nn.Linear(1000, 1000)
    optimizer = torch.optim.SGD(model.parameters())
    attach(optimizer, grokfast_ma(window_size=50))  # 200 MB
    model(torch.ones(1, 1000)).sum().backward()
    optimizer.step()
torch.nn.Linear(1000, 1000)(torch.ones(1, 1000)).sum().backward()  # what PyTorch loads stays
keep_freed_memory()
reset_peak()
before = peak_bytes()
work()
keep_freed_memory()
reset_peak()
print(peak_bytes() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can reset a process's peak")
def test_a_run_does_not_count_what_the_one_before_has_left():
    out = subprocess.run([sys.executable, "-c", AFTER_ANOTHER], check=True, capture_output=True, text=True)
    assert int(out.stdout) < 150e6, "less than the window"
