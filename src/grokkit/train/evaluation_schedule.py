"""When to evaluate: for a stated share of the training's cost, and where something happens, finely.

Evaluating every part in full at every step of the grid can cost a small model as much as its training. So there are
two kinds of evaluation: *full* ones, and *looks* (quick checks) at a few fixed rows of the training and of the test
part. A look that finds the accuracy surely below the target (three standard errors of so few rows) settles that nothing
has happened yet. A look that finds it nearer, or beyond, settles nothing and asks for a full evaluation. Where the
target is a loss, whose spread nobody knows beforehand, the look estimates its own error from the means of sixteen lots
of its rows, and surely means 3.6 of those: as rare, by Student's t of 15 degrees of freedom, as three of a known error.
A look at fewer than sixteen rows settles nothing in losses.

**The share** is a part of the training's cost. Its first half pays for full evaluations, as often as it lasts, and for
looks at the other steps of the grid, which take at most half of that half. A full evaluation that one of these looks
asks for may use all that is left of the share, and an advance of ``sustain`` + 1 full evaluations.

**Outside the share** is what a run must have to be read at all. F is the cost of a full evaluation, L that of a look:

- *The start.* At each of the first 30 steps of the grid after step 0 there is an evaluation, so that the curve shows
  how the run memorizes. It is a full one as long as these cost no more than half of the training until then, and
  else a look: at the usual grid that is at most the cost of 150 steps, and 30 L.
- *A bound on lateness.* Nothing stays unsettled while the steps taken grow by a tenth: before that a look is owed, and
  if it settles nothing, a full evaluation. So an event is known to a tenth of its step, or to one step of the grid
  where that is more, whatever a batch costs. At the usual grid these are at most 36 L for each tenfold of the steps,
  and 36 F where looks settle nothing; at the start, at most 30 F.
- *The window.* After an evaluation at the target the next ``sustain`` steps of the grid are evaluated in full, to see
  whether it stays there. The allowance for this grows by ``sustain``·F with every doubling of the steps beyond the
  start, so that an early fluke does not use up what the true event needs. Beyond it the window takes what the share or
  the bound gives. These evaluations are at least ten steps apart, also at the start: on a finer grid ``sustain`` of
  them would span fewer steps, and it would be easier to stay.
- *Dips.* If the configuration asks whether the run is stable (``after``), every step of the grid is evaluated in full
  from the first evaluation at the target on until that is settled: at the usual grid at most 78 F for each tenfold. A
  dip may be a single point deep, which a look cannot see.

All of these grow with the logarithm of the steps, and the training with the steps.

Costs are counted in floating-point operations, not in seconds: when to evaluate is then the same on every machine, and
every time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Literal

from grokkit.train.config import RunConfig
from grokkit.train.events import Events, evaluation_steps
from grokkit.train.score import Score

_START_STOPS = 30  # So many steps of the grid after step 0 are the start.
_WINDOW_STRIDE = 10  # steps, the usual grid's
_START_SHARE = 0.5  # Full evaluations of the start may cost this part of the training until then.

LOTS = 16  # of a look's rows, where the target is a loss
_LOSS_ERRORS = 3.6  # standard errors; scipy.stats.t(15).isf(scipy.stats.norm.sf(3)) = 3.59

Due = Literal["full", "quick check"] | None
"""What to do at a step of the grid."""

_Purse = Literal["share", "start", "window", "owed"]
"""Out of which an evaluation is paid. "owed" is for the bound on lateness, the first and the last step, and dips."""


@dataclass(frozen=True)
class EvaluationCost:
    """Floating-point operations of one full evaluation and of one quick check, and the rows of a quick check."""

    full: int
    look: int
    train_rows: int
    test_rows: int


class EvaluationSchedule:
    """Decides for one run, by its configuration and its curves alone."""

    def __init__(self, config: RunConfig, cost: EvaluationCost) -> None:
        settings = config.evaluation
        self.grid = evaluation_steps(config.budget, settings.every, settings.growth)
        self._share, self._cost = settings.share, cost
        self._target, self._target_loss, self._budget = config.target, config.target_loss, config.budget
        self._sustain, self._after = config.sustain, config.after
        spread = 3.0 * math.sqrt(config.target * (1.0 - config.target))
        self._train_margin = spread / math.sqrt(cost.train_rows)
        self._test_margin = spread / math.sqrt(cost.test_rows)
        self._start = self.grid[min(_START_STOPS, len(self.grid) - 1)]
        self._fulls: dict[_Purse, int] = {"share": 0, "start": 0, "window": 0, "owed": 0}
        self._looks = 0  # Only those out of the share are counted.
        self._settled_at = 0  # the last step at which it was clear what had happened
        self._purse: _Purse = "owed"  # due() chooses it for the stop, and evaluated() charges it.

    def next(self, step: int) -> int:
        """The next step of the grid after ``step``."""
        return self.grid[bisect_right(self.grid, step)]

    def due(self, step: int, flops: int, events: Events, *, is_at_target: bool) -> Due:
        """What to do at this step of the grid, until which the training has cost ``flops``; ``events`` and
        ``is_at_target`` are as the last full evaluation found them."""
        is_watched_for_dips = self._after > 0 and events.generalized_first_at is not None and events.stable_at is None
        if step in (0, self._budget) or is_watched_for_dips:
            return self._full("owed")
        if is_at_target:
            return self._in_window(step, flops)
        if step <= self._start and (self._fulls["start"] + 1) * self._cost.full <= _START_SHARE * flops:
            return self._full("start")
        if self._credit(flops, self._share / 2) >= self._cost.full:
            return self._full("share")
        if self._must_settle(step):
            self._purse = self._purse_beside_share(step)
            return "quick check"
        self._purse = "share"
        return "quick check" if (self._looks + 1) * self._cost.look <= self._share / 4 * flops else None

    def _in_window(self, step: int, flops: int) -> Due:
        """What to do at this step if the last full evaluation was at the target: never a look, because only full
        evaluations say whether the target is kept."""
        if self._credit(flops, self._share / 2) >= self._cost.full:
            return self._full("share")
        if step - self._settled_at < _WINDOW_STRIDE:
            return None
        if self._must_settle(step):
            return self._full(self._purse_beside_share(step))
        # With a start of 300 steps: 1 window for steps 301 to 599, 2 for 600 to 1199, 3 for 1200 to 2399.
        windows = (step // self._start).bit_length()
        if self._fulls["window"] < self._sustain * windows:
            return self._full("window")
        return self._full("share") if self._may_draw_advance(flops) else None

    def _full(self, purse: _Purse) -> Due:
        self._purse = purse
        return "full"

    def _must_settle(self, step: int) -> bool:
        """Whether something has to be settled at this step whatever the share says: at the start always, and later
        where the next step of the grid would be more than a tenth beyond what is settled."""
        return step <= self._start or 10 * self.next(step) > 11 * self._settled_at

    def _purse_beside_share(self, step: int) -> _Purse:
        return "start" if step <= self._start else "owed"

    def quick_checked(self, step: int, flops: int, train: Score, test: Score, events: Events) -> bool:
        """Count a look that found these; returns whether a full evaluation has to follow."""
        self._looks += self._purse == "share"
        if not self._may_have_happened(train, test, events):
            self._settled_at = step
            return False
        return self._purse != "share" or self._may_draw_advance(flops)

    def evaluated(self, step: int) -> int:
        """Count a full evaluation; returns the last step before it at which it was clear what had happened."""
        settled_at, self._settled_at = self._settled_at, step
        self._fulls[self._purse] += 1
        return settled_at

    def _may_draw_advance(self, flops: int) -> bool:
        """Whether the whole share, with its advance, still pays for a full evaluation."""
        return self._credit(flops, self._share) + (self._sustain + 1) * self._cost.full >= self._cost.full

    def _credit(self, flops: int, share: float) -> float:
        """What is left of ``share``, the whole one or half of it, of ``flops``; negative once the advance is drawn."""
        return share * flops - self._fulls["share"] * self._cost.full - self._looks * self._cost.look

    def _may_have_happened(self, train: Score, test: Score, events: Events) -> bool:
        """Whether a look that found these leaves it open that the run generalizes, or memorizes for the first time."""
        is_memorized = events.memorized_at is not None
        return self._is_near(test, self._test_margin) or (not is_memorized and self._is_near(train, self._train_margin))

    def _is_near(self, score: Score, margin: float) -> bool:
        """Whether the part of which a look found ``score`` may be at the target; ``margin`` is that of accuracies."""
        if self._target_loss is not None:
            return score.error is None or score.loss <= self._target_loss + _LOSS_ERRORS * score.error
        assert score.accuracy is not None, "build_problem refuses a target in accuracies where there are none"
        return score.accuracy >= self._target - margin

    def state(self) -> list[Any]:
        """What :meth:`restore` needs; between two stops, when no purse is chosen."""
        return [self._fulls, self._looks, self._settled_at]

    def restore(self, state: Any) -> None:
        self._fulls, self._looks, self._settled_at = state
