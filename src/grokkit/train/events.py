"""What happened in a run, read off its evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLLAPSE_MARGIN = 0.10
"""How far test accuracy must fall below the target, after generalizing, to count as a collapse."""


@dataclass(frozen=True)
class Events:
    """Steps of the events, None for what did not happen; see docs/results-format.md."""

    memorized_at: int | None
    generalized_first_at: int | None
    generalized_at: int | None
    collapsed_at: int | None
    resolution_steps: int | None
    confirmed: bool
    """Whether ``sustain`` evaluations followed ``generalized_at``; False if the run ended before."""

    @property
    def delay_steps(self) -> int | None:
        if self.generalized_at is None or self.memorized_at is None:
            return None
        return self.generalized_at - self.memorized_at


def find_events(
    steps: Sequence[int], train: Sequence[float], test: Sequence[float], *, target: float, sustain: int
) -> Events:
    """Events from accuracies at the evaluated ``steps``.

    Generalization is sustained from the first evaluation at or above ``target`` of which the ``sustain``
    following ones are too; at the end of a run, those that there are.

    >>> find_events([0, 10, 20, 30], [0, 1, 1, 1], [0, 0, 1, 1], target=0.95, sustain=1).generalized_at
    20
    """
    memorized = _first(steps, train, target)
    first = _first(steps, test, target)
    at = next(
        (i for i in range(len(test)) if all(value >= target for value in test[i : i + sustain + 1])),
        None,
    )
    if at is None:
        return Events(memorized, first, None, None, None, False)
    later = range(at + sustain + 1, len(test))
    collapsed = next((steps[i] for i in later if test[i] < target - COLLAPSE_MARGIN), None)
    resolution = steps[at] - steps[at - 1] if at else 0
    return Events(memorized, first, steps[at], collapsed, resolution, len(test) > at + sustain)


def _first(steps: Sequence[int], values: Sequence[float], target: float) -> int | None:
    return next((step for step, value in zip(steps, values, strict=True) if value >= target), None)


def evaluation_steps(budget: int, every: int, growth: float) -> list[int]:
    """Steps to evaluate after: 0, then every ``every``, or ``growth`` of the step where that is more; the last too.

    >>> evaluation_steps(100, 10, 0.5)
    [0, 10, 20, 30, 45, 67, 100]
    """
    steps = [0]
    while steps[-1] < budget:
        steps.append(min(budget, steps[-1] + max(every, int(growth * steps[-1]))))
    return steps
