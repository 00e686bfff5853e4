"""What came of a trial of a search, and what is written of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Result(NamedTuple):
    """What came of a trial."""

    number: int
    method: str
    """The method with its settings, as somebody would type it."""
    settings: Mapping[str, Any]
    costs: Sequence[float]
    """Of each run that arrived, to the target; of each that did not, what it had spent when last seen below it."""
    arrived: int
    progress: float
    """How far the runs got, 1 for all at the target: the mean of their best accuracy, or of target loss over best loss,
    as a share."""
    given_up: int
    failed: int
    spared: int
    """Runs that were not made, because the trial was out."""
    spent: Mapping[str, float]
    repeat: int
    """Which search of its method it is of, the first being 0."""

    @property
    def has_arrived(self) -> bool:
        return self.arrived == len(self.costs) and not self.failed + self.spared

    @property
    def cost(self) -> float:
        """The geometric mean over seeds and tasks: a bound, unless all arrived."""
        return geometric_mean(self.costs)

    @property
    def value(self) -> float | None:
        """What the search is told; less is better."""
        if self.failed:
            return None
        if self.has_arrived:
            return math.log10(self.cost)
        # Whole numbers for the runs that did not, less than one for how far they got, so that the first come first.
        # Those that it was spared are taken not to have arrived either.
        return 1000.0 + (len(self.costs) + self.spared - self.arrived) + (1.0 - self.progress)


def geometric_mean(costs: Sequence[float]) -> float:
    """Of costs of at least one step, or FLOP: nothing cheaper can be told apart."""
    return math.exp(sum(math.log(max(cost, 1.0)) for cost in costs) / max(len(costs), 1))


def cost_of(record: Mapping[str, Any], cost: str) -> float:
    """To the target, or that of its last evaluation below it."""
    names = {"steps": ("generalized_at", "below_until"), "flops": ("flops_to_target", "flops_below_until")}[cost]
    value = record[names[0] if record["generalized_at"] is not None else names[1]]
    return float(value if value is not None else record[cost])


def progress_of(record: Mapping[str, Any]) -> float:
    if record["generalized_at"] is not None:
        return 1.0
    settings = record["config"]
    if settings["target_loss"] is None:
        best = record["best_test_accuracy"]
        return 0.0 if best is None else min(1.0, best / settings["target"])
    best = record["best_test_loss"]
    return 0.0 if best is None else min(1.0, settings["target_loss"] / max(best, settings["target_loss"]))


def best_record(results: Sequence[Result]) -> dict[str, Any] | None:
    """The record of the best trial; of equal ones the first."""
    done = [result for result in results if result.value is not None]
    return record_of(min(done, key=lambda result: (result.value, result.repeat, result.number))) if done else None


def spent_by(results: Sequence[Result]) -> dict[str, Any]:
    """What the search took. A setting that was drawn twice has run once, and is paid once."""
    once = {result.method: result for result in results}.values()
    total = {name: sum(result.spent[name] for result in once) for name in ("steps", "flops", "train_seconds")}
    runs = sum(len(result.costs) for result in once)
    return {"trials": len(results), "runs": runs, **total}


def record_of(result: Result) -> dict[str, Any]:
    own = {"cost": result.cost if result.costs else None, "has_arrived": result.has_arrived, "value": result.value}
    return {**result._asdict(), **own}
