"""What happened in a run, read off its evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLLAPSE_MARGIN = 0.10
"""How far test accuracy must fall below the target, after generalizing, to count as a collapse."""

COLLAPSE_FACTOR = 2.0
"""How many times the target a test loss must exceed, after generalizing, to count as a collapse."""


@dataclass(frozen=True)
class Events:
    """Steps of the events, None for what did not happen; see docs/results-format.md."""

    memorized_at: int | None
    generalized_first_at: int | None
    generalized_at: int | None
    collapsed_at: int | None
    memorized_resolution_steps: int | None
    first_resolution_steps: int | None
    resolution_steps: int | None
    """How finely each of the three is known: the distance to the last step at which it had surely not happened."""
    confirmed: bool
    """Whether ``sustain`` evaluations followed ``generalized_at``; False if the run ended before."""

    @property
    def delay_steps(self) -> int | None:
        if self.generalized_at is None or self.memorized_at is None:
            return None
        return self.generalized_at - self.memorized_at


def find_events(
    steps: Sequence[int],
    train: Sequence[float],
    test: Sequence[float],
    *,
    target: float,
    sustain: int,
    certain: Sequence[int] | None = None,
    margin: float = COLLAPSE_MARGIN,
) -> Events:
    """Events from accuracies, or whatever is better the higher it is, at the evaluated ``steps``.

    Generalization is sustained from the first evaluation at or above ``target`` of which the ``sustain``
    following ones are too; at the end of a run, those that there are. ``certain`` holds for each evaluation the
    last step before it for which the accuracies are known to lie on the side of the evaluation before; without
    it, the step of the evaluation before. More than ``margin`` below ``target`` again is a collapse.

    >>> find_events([0, 10, 20, 30], [0, 1, 1, 1], [0, 0, 1, 1], target=0.95, sustain=1).generalized_at
    20
    """
    before = [0, *steps] if certain is None else certain

    def resolution(at: int | None) -> int | None:
        return None if at is None else steps[at] - before[at]

    memorized, first = _first(train, target), _first(test, target)
    at = next(
        (i for i in range(len(test)) if all(value >= target for value in test[i : i + sustain + 1])),
        None,
    )
    collapsed = None
    if at is not None:
        later = range(at + sustain + 1, len(test))
        collapsed = next((steps[i] for i in later if test[i] < target - margin), None)
    return Events(
        memorized_at=None if memorized is None else steps[memorized],
        generalized_first_at=None if first is None else steps[first],
        generalized_at=None if at is None else steps[at],
        collapsed_at=collapsed,
        memorized_resolution_steps=resolution(memorized),
        first_resolution_steps=resolution(first),
        resolution_steps=resolution(at),
        confirmed=at is not None and len(test) > at + sustain,
    )


def find_loss_events(
    steps: Sequence[int],
    train: Sequence[float],
    test: Sequence[float],
    *,
    target: float,
    sustain: int,
    certain: Sequence[int] | None = None,
) -> Events:
    """The same from losses: an event is the first at or below ``target``, a collapse more than twice the target.

    >>> find_loss_events([0, 10, 20, 30], [9, 0.1, 0, 0], [9, 5, 0.2, 0.1], target=0.2, sustain=1).delay_steps
    10
    """
    lower = ([-loss for loss in losses] for losses in (train, test))
    margin = target * (COLLAPSE_FACTOR - 1)
    return find_events(steps, *lower, target=-target, sustain=sustain, certain=certain, margin=margin)


def _first(values: Sequence[float], target: float) -> int | None:
    return next((i for i, value in enumerate(values) if value >= target), None)


def evaluation_steps(budget: int, every: int, growth: float) -> list[int]:
    """Steps to evaluate after: 0, then every ``every``, or ``growth`` of the step where that is more; the last too.

    >>> evaluation_steps(100, 10, 0.5)
    [0, 10, 20, 30, 45, 67, 100]
    """
    steps = [0]
    while steps[-1] < budget:
        steps.append(min(budget, steps[-1] + max(every, int(growth * steps[-1]))))
    return steps
