"""Keep freed memory in the process.

A training step frees and takes the same tens of megabytes again and again. The C library's allocator gives large
blocks back to the system at once, and the system hands out pages one by one, cleared: on small models that costs
a fifth of the step. A worker that does nothing but train has no one to give the memory back to.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_THRESHOLD = 32 * 2**20  # the most that glibc accepts for the second
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """From now on, for the whole process; what earlier work has left is collected and given back first.

    So the peak of a run's memory is its own: an optimizer and its hooks refer to each other, and would stay until
    Python looks for such circles. Does nothing where the allocator is not glibc's.
    """
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt"):
        library.malloc_trim(0)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
