"""When to evaluate: for a stated share of the training's cost, and where something happens, finely.

Evaluating every part in full at every step of the grid can cost a small model as much as its training. So half
of the share pays for regular full evaluations and for *looks*, at the other steps of the grid, at a few fixed
rows of the training and the test part. A look that finds an accuracy so near the target, or beyond it, that an
event may have happened brings a full evaluation at once, paid from the other half, with an advance of as many as
it takes to see a generalization sustained. A look that finds the accuracy surely below (three standard errors of
so few rows) bounds the event from below. Where the target is a loss, whose spread nobody knows beforehand, near means
below twice the target, which covers three standard errors of 128 rows if the losses' standard deviation is at most 3.8
times their mean. So an event is known to within the distance of two looks, and each
evaluation says how far back the last certain step lies.

Costs are counted in floating-point operations, not in seconds: when to evaluate is then the same on every
machine, and every time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from grokkit.train.config import RunConfig
from grokkit.train.events import COLLAPSE_FACTOR, COLLAPSE_MARGIN, Events, evaluation_steps

_NEAR = 2.0  # times the target loss: a look that finds no more may mean that the target is reached


@dataclass(frozen=True)
class EvaluationCost:
    """Floating-point operations of one full evaluation and of one look; the rows that a look sees."""

    full: int
    look: int
    train_rows: int
    test_rows: int


class Watch:
    """Decides for one run; a function of its configuration and its curves alone."""

    def __init__(self, config: RunConfig, cost: EvaluationCost) -> None:
        settings = config.evaluation
        self.grid = evaluation_steps(config.budget, settings.every, settings.growth)
        self._share, self._cost = settings.share, cost
        self._target, self._target_loss, self._budget = config.target, config.target_loss, config.budget
        self._after = config.after
        self._advance = (config.sustain + 1) * cost.full
        spread = 3.0 * math.sqrt(config.target * (1.0 - config.target))
        self._train_margin = spread / math.sqrt(cost.train_rows)
        self._test_margin = spread / math.sqrt(cost.test_rows)
        self._fulls = self._looks = 0  # that had to be paid for
        self._certain_at = 0

    def next(self, step: int) -> int:
        """The next step of the grid after ``step``."""
        return self.grid[bisect_right(self.grid, step)]

    def is_full_due(self, step: int, flops: int, events: Events) -> bool:
        """Whether a full evaluation is, without a look: the first and the last step, whenever it can be paid, and while
        a run that has reached the target is watched for dips."""
        return (
            step in (0, self._budget)
            or self._credit(flops, self._share / 2) >= self._cost.full
            or self._is_watched_for_dips(events)
        )

    def _is_watched_for_dips(self, events: Events) -> bool:
        """A dip may be a single point deep, which a look at a few rows cannot see."""
        return self._after > 0 and events.generalized_first_at is not None and events.stable_at is None

    def may_look(self, flops: int) -> bool:
        """Whether a look can be paid: looks take a quarter of the share at most."""
        return (self._looks + 1) * self._cost.look <= self._share / 4 * flops

    def looked(self, step: int, flops: int, train: float, test: float, last_test: float, events: Events) -> bool:
        """Count a look that found these accuracies, or losses if the target is one; returns whether a full evaluation
        has to follow. ``last_test`` is what the last one found."""
        self._looks += 1
        if not self._may_have_happened(train, test, last_test, events):
            self._certain_at = step
            return False
        return self._credit(flops, self._share) + self._advance >= self._cost.full

    def evaluated(self, step: int) -> int:
        """Count a full evaluation; returns the last step before it for which the state of affairs is known."""
        certain_at, self._certain_at = self._certain_at, step
        self._fulls += step not in (0, self._budget)
        return certain_at

    def _credit(self, flops: int, share: float) -> float:
        return share * flops - self._fulls * self._cost.full - self._looks * self._cost.look

    def _may_have_happened(self, train: float, test: float, last_test: float, events: Events) -> bool:
        if self._target_loss is not None:
            return self._may_have_happened_to_losses(train, test, last_test, events, self._target_loss)
        if events.memorized_at is None and train >= self._target - self._train_margin:
            return True
        if events.generalized_at is None:
            return last_test >= self._target or test >= self._target - self._test_margin
        return events.collapsed_at is None and test < self._target - COLLAPSE_MARGIN + self._test_margin

    def _may_have_happened_to_losses(
        self, train: float, test: float, last_test: float, events: Events, target: float
    ) -> bool:
        near = _NEAR * target
        if events.memorized_at is None and train <= near:
            return True
        if events.generalized_at is None:
            return last_test <= target or test <= near
        return events.collapsed_at is None and test > COLLAPSE_FACTOR * target / _NEAR

    def state(self) -> list[int]:
        """What :meth:`restore` needs."""
        return [self._fulls, self._looks, self._certain_at]

    def restore(self, state: Any) -> None:
        self._fulls, self._looks, self._certain_at = state
