import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import reference/

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background; programs started here inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # the tests' tensors are tiny: threads only wait for one another


def pytest_collection_modifyitems(items):
    """Files that train to generalization, or start processes, come first: what is last should be short."""
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call):
    """What a command that failed had written stands with the test's failure."""
    report = yield
    if call.excinfo and isinstance(error := call.excinfo.value, subprocess.CalledProcessError):
        for name, text in (("stdout", error.stdout), ("stderr", error.stderr)):
            if text:
                report.sections.append((f"{name} of the command", text if isinstance(text, str) else text.decode()))
    return report


@pytest.fixture(autouse=True, scope="session")
def _cache_of_their_own(tmp_path_factory):
    """Prepared data are kept for all tests, those of other processes included, and nowhere else."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # which all workers have in common
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROKKIT_CACHE", str(base / "prepared"))
        yield


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden():
    """Load one of the recorded arrays, e.g. ``golden("grokfast_filters")``."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")
