"""When a filter acts: from one step on, and until another. Its state is kept all the while."""

from __future__ import annotations

from typing import Any, NamedTuple

from grokkit.errors import InputError
from grokkit.methods.settings import whole


class ActingSteps(NamedTuple):
    """``start`` ≤ step < ``stop``, steps counted from 0; no end where ``stop`` is None."""

    start: int
    stop: int | None

    def at(self, step: Any) -> Any:
        """Whether it acts at ``step``; for a tensor of a step a tensor, so that it can stand in a captured program."""
        return step >= self.start if self.stop is None else (step >= self.start) & (step < self.stop)


def acting_steps(start_step: object, stop_step: object) -> ActingSteps:
    """The settings ``start_step`` and ``stop_step``, checked.

    Raises:
        InputError: unless they are whole numbers, ``stop_step`` the larger one or None.
    """
    start = whole("start_step", start_step, 0, 0)
    if stop_step is None:
        return ActingSteps(start, None)
    stop = whole("stop_step", stop_step, 1, None)
    if stop <= start:
        raise InputError(
            f"stop_step={stop} is not possible: after start_step={start}, or the filter never acts; leave it out"
        )
    return ActingSteps(start, stop)
