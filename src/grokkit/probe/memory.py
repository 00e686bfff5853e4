"""Peak resident memory of this process during a run.

Linux can reset the high-water mark, so that a worker that runs many runs knows each one's own. Elsewhere the
mark is that of the whole process, an upper bound.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def reset_peak() -> None:
    """Start a new measurement, where the system allows it."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        try:
            clear.write_text("5")
        except OSError:
            return  # a locked-down container: the mark stays that of the process


def peak_bytes() -> int:
    """Peak resident memory since :func:`reset_peak`, in bytes, PyTorch itself included."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
