"""Denormal numbers, those below 1.2e-38 in float32, taken for zero while a run is trained on a CPU.

Large decay takes the weights of a run that fails there, and the moments of a parameter that gets no gradient fall there
in any run. A product of such numbers can take a CPU a hundred times as long. Beside any number that is not as small
they make no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Within it, in this thread, a CPU that can takes denormal numbers for zero; afterwards as before."""
    before = are_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def treatment() -> str:
    """What runs on this machine's CPU do with them, for the provenance of a run: ``zero``, or ``kept``."""
    with denormals_are_zero():
        return "zero" if are_zero() else "kept"


def are_zero() -> bool:
    """Whether this thread takes denormal numbers for zero."""
    return not bool(torch.tensor(2.0**-130) * 1.0)
