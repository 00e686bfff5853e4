"""What happened in a run, read off its full evaluations.

Four ways to say "it generalizes", from the weakest to the strongest, stand side by side, because they rank methods
differently. With y(s) the held-out accuracy after s steps and T the target:

- it *reaches* the target at the first evaluation with y ≥ T;
- it *stays* there from the first evaluation with y ≥ T whose next ``sustain`` evaluations have y ≥ T too. All of them
  must lie within the run: a window that the budget or a non-finite loss cuts short shows nothing;
- it is *stable* from the first evaluation with y ≥ T after which y ≥ T − 0.01 for ``after`` steps, all within the run;
- its *dips* are the maximal stretches of evaluations with y < T − 0.01 after the first with y ≥ T.

A run counts as generalized when it stays or, if the study asks for that event, when it is stable. Costs to the target,
ratios and claims are all of the one event.

Where the target is a loss, "at the target" means at or below it, and a dip is a loss above 1.1 times the target.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Event = Literal["stays", "stable"]
EVENTS: tuple[Event, ...] = get_args(Event)

EVENTS_VERSION = 3
"""Part of a run's identity. It changes with what the events mean and when runs are evaluated, so that no run is found
again whose events say something else. 1: a window that the end of the run cut short counted as staying. 2: at small
batches an event could be seen at several times its step."""

COLLAPSE_MARGIN = 0.10
"""How far test accuracy must fall below the target, after generalizing, to count as a collapse."""

COLLAPSE_FACTOR = 2.0
"""How many times the target a test loss must exceed, after generalizing, to count as a collapse."""

DIP_MARGIN = 0.01
"""How far test accuracy must fall below the target, after reaching it, to count as a dip: more than one point."""

DIP_FACTOR = 1.1
"""How many times the target a test loss must exceed, after reaching it, to count as a dip."""

_ROUNDING = 1e-9  # Of a margin: 0.94 is exactly one point below 0.95, and differences of floats do not know it.


@dataclass(frozen=True)
class Events:
    """Steps of the events, None for what did not happen; see docs/results-format.md."""

    memorized_at: int | None
    generalized_first_at: int | None
    generalized_at: int | None
    stable_at: int | None
    collapsed_at: int | None
    below_until: int | None
    """The last evaluation of which it is known that the run generalized later, if at all: of one that did not stay, the
    last below the target, 0 without one; of one that was not stable, the last before ``holds_since``. None if it
    generalized."""
    holds_since: int | None
    """The first evaluation at the target that no dip has followed, if there is one."""
    dips: int | None
    deepest_dip: float | None
    """Number of dips, and how far below the target the deepest went; None for what never reached the target."""
    memorized_resolution_steps: int | None
    first_resolution_steps: int | None
    resolution_steps: int | None
    """How finely memorized, first and generalized are known: the distance to the last step at which it had surely not
    happened."""

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
    after: int = 0,
    event: Event = "stays",
    certain: Sequence[int] | None = None,
    collapse_margin: float = COLLAPSE_MARGIN,
    dip_margin: float = DIP_MARGIN,
) -> Events:
    """Events from accuracies, or whatever is better the higher it is, at the evaluated ``steps``.

    Args:
        steps: optimizer steps taken before each evaluation, increasing.
        train: what was found on training rows, and
        test: on held-out rows. A value that is not a number is below any target.
        target: at or above which an event has happened.
        sustain: how many following evaluations must be at the target as well.
        after: steps without a dip that make an evaluation stable; 0 if nobody asks, then none is.
        event: what counts as generalized: that it stays, or that it is stable.
        certain: for each evaluation, the last step before it for which the accuracies are known to lie on the side of
            the evaluation before; without it, the step of the evaluation before.
        collapse_margin: how far below ``target`` is a collapse, from the end of the window on that the event asks for.
        dip_margin: how far below ``target`` is a dip, from the first touch on.

    >>> find_events([0, 10, 20, 30], [0, 1, 1, 1], [0, 0, 1, 1], target=0.95, sustain=1).generalized_at
    20
    >>> find_events([0, 10, 20, 30], [0, 1, 1, 1], [0, 0, 0, 1], target=0.95, sustain=1).below_until
    20
    >>> find_events([0, 10, 20, 30], [1, 1, 1, 1], [1, 0, 1, 1], target=0.95, sustain=0, after=10, event="stable")
    ... # doctest: +ELLIPSIS
    Events(memorized_at=0, generalized_first_at=0, generalized_at=20, ...
    """
    before = [0, *steps] if certain is None else certain

    def resolution(at: int | None) -> int | None:
        return None if at is None else steps[at] - before[at]

    memorized, first = _first(train, target), _first(test, target)
    stable = _stable(steps, test, target, after, dip_margin) if after > 0 else None
    since = _first_since_dip(test, target, dip_margin)
    at = stable if event == "stable" else _first_sustained(test, target, sustain)
    collapsed = None
    if at is not None:
        window_end = bisect_right(steps, steps[at] + after) if event == "stable" else at + sustain + 1
        later = range(window_end, len(test))
        collapsed = next((steps[i] for i in later if is_dip(test[i], target, collapse_margin)), None)
    dips, deepest = (None, None) if first is None else _dips(test[first:], target, dip_margin)
    return Events(
        memorized_at=None if memorized is None else steps[memorized],
        generalized_first_at=None if first is None else steps[first],
        generalized_at=None if at is None else steps[at],
        stable_at=None if stable is None else steps[stable],
        collapsed_at=collapsed,
        below_until=None if at is not None else _below_until(steps, test, target, since if event == "stable" else None),
        holds_since=None if since is None else steps[since],
        dips=dips,
        deepest_dip=deepest,
        memorized_resolution_steps=resolution(memorized),
        first_resolution_steps=resolution(first),
        resolution_steps=resolution(at),
    )


def find_loss_events(
    steps: Sequence[int],
    train: Sequence[float],
    test: Sequence[float],
    *,
    target: float,
    sustain: int,
    after: int = 0,
    event: Event = "stays",
    certain: Sequence[int] | None = None,
) -> Events:
    """The same from losses: an event is the first at or below ``target``, a collapse more than twice the target, and
    a dip more than 1.1 times the target.

    >>> find_loss_events([0, 10, 20, 30], [9, 0.1, 0, 0], [9, 5, 0.2, 0.1], target=0.2, sustain=1).delay_steps
    10
    """
    return find_events(
        steps,
        [-loss for loss in train],
        [-loss for loss in test],
        target=-target,
        sustain=sustain,
        after=after,
        event=event,
        certain=certain,
        collapse_margin=target * (COLLAPSE_FACTOR - 1),
        dip_margin=target * (DIP_FACTOR - 1),
    )


def _first(values: Sequence[float], target: float) -> int | None:
    return next((i for i, value in enumerate(values) if value >= target), None)


def _first_sustained(test: Sequence[float], target: float, sustain: int) -> int | None:
    """The first evaluation at the target that ``sustain`` more at the target follow."""
    found, held = None, 0
    for i in reversed(range(len(test))):
        held = held + 1 if test[i] >= target else 0
        if held > sustain:
            found = i
    return found


def _stable(steps: Sequence[int], test: Sequence[float], target: float, after: int, margin: float) -> int | None:
    """The first evaluation at the target without a dip in the ``after`` steps that follow."""
    found, next_dip_at = None, math.inf
    for i in reversed(range(len(test))):
        if is_dip(test[i], target, margin):
            next_dip_at = steps[i]
        # The run must have lasted as long as it is said to be stable, or nobody has seen it.
        if test[i] >= target and steps[i] + after <= steps[-1] and steps[i] + after < next_dip_at:
            found = i
    return found


def _first_since_dip(test: Sequence[float], target: float, margin: float) -> int | None:
    """The first evaluation at the target that no dip follows."""
    found = None
    for i in reversed(range(len(test))):
        if is_dip(test[i], target, margin):
            break
        found = i if test[i] >= target else found
    return found


def _below_until(steps: Sequence[int], test: Sequence[float], target: float, holds_since: int | None) -> int:
    """The last evaluation below the target, before the evaluation ``holds_since`` if that is given. What stays at the
    target stays from a later one, because a window that holds this one is broken. What is stable may be so from
    ``holds_since``, and from nothing before it: a dip came, and sooner than the window's end."""
    below = (step for step, value in zip(steps[:holds_since], test, strict=False) if not value >= target)
    return max(below, default=0)


def _dips(test: Sequence[float], target: float, margin: float) -> tuple[int, float]:
    """How many stretches of dips there are, and how far below ``target`` the deepest goes."""
    count, deepest, within = 0, 0.0, False
    for value in test:
        dips = is_dip(value, target, margin)
        count += dips and not within
        if dips:
            deepest = max(deepest, math.inf if math.isnan(value) else target - value)
        within = dips
    return count, deepest


def is_dip(value: float, target: float, margin: float) -> bool:
    """Whether ``value`` is below ``target`` by more than ``margin``; what is not a number is."""
    return not target - value <= margin * (1 + _ROUNDING)


def evaluation_steps(budget: int, every: int, growth: float) -> list[int]:
    """Steps to evaluate after: 0, then every ``every``, or ``growth`` of the step where that is more; the last too.

    >>> evaluation_steps(100, 10, 0.5)
    [0, 10, 20, 30, 45, 67, 100]
    """
    steps = [0]
    while steps[-1] < budget:
        steps.append(min(budget, steps[-1] + max(every, int(growth * steps[-1]))))
    return steps
