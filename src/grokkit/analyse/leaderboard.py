"""One row per method: how often, how soon, how much sooner than the baseline. Keys as in docs/results-format.md."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from grokkit.analyse.distributions import fisher_two_sided
from grokkit.analyse.logrank import logrank
from grokkit.analyse.paired import EXACT, Error, PairedRatio, Time, paired_ratio
from grokkit.analyse.survival import (
    COLUMNS,
    COSTS,
    Cost,
    Median,
    Times,
    column,
    delays,
    given_up,
    median_time,
    times_to_target,
)
from grokkit.errors import unknown


def leaderboard(runs: pl.DataFrame, methods: list[str], baseline: str, claim: Cost = "flops") -> list[dict[str, Any]]:
    """The rows of leaderboard.json, baseline first, then ``methods`` in their order.

    ``runs`` has one row per run with the keys of run.json; a column that it lacks counts as null. ``claim`` is the cost
    that ``p`` is about, as in study.json; steps in place of FLOPs that no run has, as in records of before. Every value
    is a plain Python one, None where a number does not exist (a median not reached, a ratio without a pair), so that
    the rows are valid JSON.

    Raises:
        InputError: if ``baseline`` is not one of ``methods``.
    """
    if baseline not in methods:
        raise unknown("baseline", baseline, methods)
    order = [baseline, *(method for method in methods if method != baseline)]
    base = runs.filter(pl.col("method") == baseline)
    if claim == "flops" and column(runs, COLUMNS[claim].spent).is_null().all():
        claim = "steps"
    return [_row(runs.filter(pl.col("method") == method), method, base, baseline, claim) for method in order]


def _row(own: pl.DataFrame, method: str, base: pl.DataFrame, baseline: str, claim: Cost) -> dict[str, Any]:
    steps = times_to_target(own)
    successes = int(steps.reached.sum())
    itself = method == baseline
    off = pace_error(own, base)
    ratios = _ratios(own, base, off)
    if itself:  # its ratio is 1 by definition, which no interval or test is about
        ratios = {
            cost: PairedRatio(ratio.value, pairs=ratio.pairs, complete=ratio.complete) for cost, ratio in ratios.items()
        }
    rank = None if itself else logrank(steps, times_to_target(base))
    p_success = None if itself else _p_success(successes, own.height, column(base, "generalized_at"))
    claimed = ratios[claim]
    row = {
        "method": method,
        "runs": own.height,
        "successes": successes,
        "given_up": given_up(own),
        "success_rate": successes / own.height if own.height else None,
        **_median("steps", median_time(steps)),
        **_median("train_seconds", _median_cost(own, "seconds")),
        **_median("flops", _median_cost(own, "flops")),
        **_events(own),
        **_ratio("steps", ratios["steps"]),
        **_ratio("seconds", ratios["seconds"]),
        "pace_error_low": off.smaller,
        "pace_error_high": off.larger,
        **_ratio("flops", ratios["flops"]),
        "pairs": claimed.pairs,
        "complete_pairs": claimed.complete,
        "p": claimed.p if ratios["steps"].p is not None or claimed.p is not None else p_success,
        "p_success": p_success,
        "logrank_p": rank.p if rank else None,
        "logrank_direction": rank.direction if rank else None,
        "logrank_least_p": rank.least if rank else None,
        **_best("accuracy", column(own, "best_test_accuracy")),
        **_best("loss", column(own, "best_test_loss")),
    }
    if given_up(own):
        row |= dict.fromkeys(name for name in row if name.startswith(_OF_WHOLE_RUNS))
    if given_up(own) or given_up(base):
        row |= dict.fromkeys(["p_success", "logrank_p", "logrank_direction", "logrank_least_p"])
        row["p"] = claimed.p
    return row


def _ratios(own: pl.DataFrame, base: pl.DataFrame, off: Error) -> dict[Cost, PairedRatio]:
    """In each cost; those of seconds may be ``off`` by what measuring a step's leaves open."""
    return {
        cost: paired_ratio(
            times_by_seed(own, base, cost), times_by_seed(base, own, cost), off if cost == "seconds" else EXACT
        )
        for cost in COSTS
    }


def _events(own: pl.DataFrame) -> dict[str, float | int | None]:
    """When the events came that are not claimed on, and what came after the target."""
    return {
        "median_delay_steps": median_time(delays(own)).value,
        "median_first_steps": _median_event(own, "generalized_first_at"),
        "median_stable_steps": _median_event(own, "stable_at"),
        "stable": None if column(own, "stable_at").is_null().all() else int(column(own, "stable_at").count()),
        "dips": _largest(own, "dips", whole=True),
        "deepest_dip": _deepest(own),
    }


_OF_WHOLE_RUNS = ("success_rate", "median_", "stable", "best_")
"""What a row says of runs that had their whole budget: nothing, where some were given up."""


def ratio_keys(cost: Cost) -> dict[str, str]:
    """What a row calls the parts of the ratio in ``cost``; those of steps have the short names."""
    short = "" if cost == "steps" else f"{cost}_"
    return {
        "value": f"ratio_{cost}_vs_baseline",
        "low": f"ratio_{short}ci_low",
        "high": f"ratio_{short}ci_high",
        "bound": f"ratio_{short}bound",
        "side": f"ratio_{short}bound_side",
        "p": f"p_{cost}",
        "p_unfavourable": f"p_{cost}_unfavourable",
        "spread": f"ratio_{short}spread",
        "resolution": f"ratio_{short}resolution",
    }


def _ratio(cost: Cost, found: PairedRatio) -> dict[str, Any]:
    return {key: getattr(found, part) for part, key in ratio_keys(cost).items()}


def _median(name: str, median: Median) -> dict[str, float | None]:
    return {f"median_{name}": median.value, f"median_{name}_low": median.low, f"median_{name}_high": median.high}


def _median_cost(own: pl.DataFrame, cost: Cost) -> Median:
    """None where what some run spent is unknown: records of before have no FLOPs."""
    times = times_to_target(own, cost)
    return median_time(times) if np.isfinite(times.time).all() else Median(None, None, None)


def _median_event(own: pl.DataFrame, name: str) -> float | None:
    """The median step of an event that has no bound of its own: a run without it is as late as its budget."""
    event = column(own, name)
    time = event.fill_null(column(own, "budget")).to_numpy().astype(np.float64)
    return median_time(Times(time, event.is_not_null().to_numpy())).value


def _largest(own: pl.DataFrame, name: str, *, whole: bool = False) -> float | int | None:
    largest: Any = column(own, name).max()
    return None if largest is None else int(largest) if whole else float(largest)


def _deepest(own: pl.DataFrame) -> float | None:
    """None without a dip, and where one was not finite: no number is deeper."""
    is_finite = (column(own, "dips").fill_null(0) == 0) | column(own, "deepest_dip").is_not_null()
    return _largest(own, "deepest_dip") if is_finite.all() else None


def _best(measure: str, values: pl.Series) -> dict[str, float | None]:
    """The median over runs of the best that each evaluated, and the least and the greatest of them."""
    found = values.drop_nulls()
    names = f"best_{measure}", f"best_{measure}_low", f"best_{measure}_high"
    if found.is_empty():
        return dict.fromkeys(names)
    return dict(zip(names, np.quantile(found.to_numpy(), [0.5, 0.0, 1.0]).tolist(), strict=True))


def times_by_seed(runs: pl.DataFrame, others: pl.DataFrame, cost: Cost) -> dict[int, Time]:
    """Seed → what is known of its cost; without the seeds whose cost is not known at all.

    Seconds of two processors make no ratio, so they leave out seeds in which ``others`` ran on another one.
    """
    times, columns = times_to_target(runs, cost), COLUMNS[cost]
    share = _share_unseen(column(runs, "resolution_steps"), column(runs, "generalized_at"))
    starts = [0.0] * runs.height if columns.start is None else column(runs, columns.start).fill_null(0.0).to_list()
    elsewhere = _processors(others) if cost == "seconds" else {}
    here = _processors(runs) if cost == "seconds" else {}
    known: dict[int, Time] = {}
    for seed, value, reached, coarse, start in zip(
        runs["seed"].to_list(), times.time.tolist(), times.reached.tolist(), share.to_list(), starts, strict=True
    ):
        if not np.isfinite(value) or here.get(seed) != elsewhere.get(seed, here.get(seed)):
            continue
        # It may have happened some steps earlier; the start was paid whole before the first of them.
        early = value - (value - start) * coarse if reached and coarse is not None else None
        known[seed] = Time(value, reached, early)
    return known


def _share_unseen(resolution: pl.Series, at: pl.Series) -> pl.Series:
    """What part of its steps before an event may have come after it: all but the first since the evaluation before,
    which was no earlier than the start. None of no steps, since a run that was at the target before its first step was
    not there any earlier."""
    unseen = pl.when(resolution > at).then(at - 1).when(resolution < 1).then(0.0).otherwise(resolution - 1)
    return pl.select(pl.when(at == 0).then(0.0).otherwise(unseen / at)).to_series()


def pace_error(own: pl.DataFrame, base: pl.DataFrame) -> Error:
    """How far the ratio of two arms' seconds may be off because those of a step were measured, where ``pace_rounds``
    says what they were in rounds in which all arms took turns: from the second least to the second greatest ratio of a
    round, the interval of a median that holds it in 96 cases of a hundred with nine rounds; the least to the greatest
    with fewer than eight, whose interval is not as sure.
    """
    if any("pace_rounds" not in runs.columns or not runs["pace_rounds"].count() for runs in (own, base)):
        return EXACT
    ours, theirs = (runs["pace_rounds"].drop_nulls()[0].to_numpy() for runs in (own, base))
    ratios, measured = np.sort(ours / theirs), float(np.median(ours) / np.median(theirs))
    end = 1 if len(ratios) >= 8 else 0
    return Error(min(1.0, ratios[end] / measured), max(1.0, ratios[-1 - end] / measured))


def _processors(runs: pl.DataFrame) -> dict[int, str | None]:
    if "provenance" not in runs.columns:
        return {}
    named = [json.loads(text or "{}").get("processor") for text in runs["provenance"]]
    return dict(zip(runs["seed"].to_list(), named, strict=True))


def _p_success(successes: int, runs: int, base_events: pl.Series) -> float | None:
    """Fisher's exact test of "both arms get there equally often"; None where all runs did, or none."""
    base_successes = int(base_events.count())
    base_runs = len(base_events)
    if not runs or not base_runs or successes + base_successes in (0, runs + base_runs):
        return None
    return fisher_two_sided(successes, runs, base_successes, base_runs)
