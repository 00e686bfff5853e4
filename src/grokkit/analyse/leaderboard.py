"""One row per method: how often, how soon, how much sooner than the baseline. Keys as in docs/results-format.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from grokkit.analyse.paired import paired_ratio
from grokkit.analyse.survival import delays, logrank_p, median_time, times_to_target
from grokkit.errors import unknown


def leaderboard(runs: pl.DataFrame, methods: list[str], baseline: str) -> list[dict[str, Any]]:
    """The rows of leaderboard.json, baseline first, then ``methods`` in their order.

    ``runs`` has one row per run with the keys of run.json. Every value is a plain Python one, None where a
    number does not exist (a median not reached, a ratio without a pair), so that the rows are valid JSON.
    """
    if baseline not in methods:
        raise unknown("baseline", baseline, methods)
    order = [baseline, *(method for method in methods if method != baseline)]
    base = runs.filter(pl.col("method") == baseline)
    return [_row(runs.filter(pl.col("method") == method), method, base, baseline) for method in order]


def _row(own: pl.DataFrame, method: str, base: pl.DataFrame, baseline: str) -> dict[str, Any]:
    steps = times_to_target(own, "steps")
    median_steps = median_time(steps)
    median_seconds = median_time(times_to_target(own, "seconds"))
    successes = int(steps.reached.sum())
    in_steps = paired_ratio(_by_seed(own, "generalized_at"), _by_seed(base, "generalized_at"))
    in_seconds = paired_ratio(_by_seed(own, "train_seconds_to_target"), _by_seed(base, "train_seconds_to_target"))
    itself = method == baseline  # its ratio is 1 by definition, which no interval or test is about
    return {
        "method": method,
        "runs": own.height,
        "successes": successes,
        "success_rate": successes / own.height if own.height else None,
        "median_steps": median_steps.value,
        "median_steps_low": median_steps.low,
        "median_steps_high": median_steps.high,
        "median_train_seconds": median_seconds.value,
        "median_train_seconds_low": median_seconds.low,
        "median_train_seconds_high": median_seconds.high,
        "median_delay_steps": median_time(delays(own)).value,
        "ratio_steps_vs_baseline": in_steps.value,
        "ratio_ci_low": None if itself else in_steps.low,
        "ratio_ci_high": None if itself else in_steps.high,
        "ratio_seconds_vs_baseline": in_seconds.value,
        "ratio_seconds_ci_low": None if itself else in_seconds.low,
        "ratio_seconds_ci_high": None if itself else in_seconds.high,
        "pairs": in_steps.pairs,
        "logrank_p": None if itself else logrank_p(steps, times_to_target(base, "steps")),
        **_best("accuracy", own["best_test_accuracy"]),
        **_best("loss", own["best_test_loss"]),
    }


def _best(measure: str, values: pl.Series) -> dict[str, float | None]:
    """The median over runs of the best that each evaluated, and the least and the greatest of them."""
    found = values.drop_nulls().cast(pl.Float64)
    names = f"best_{measure}", f"best_{measure}_low", f"best_{measure}_high"
    if found.is_empty():
        return dict.fromkeys(names)
    return dict(zip(names, np.quantile(found.to_numpy(), [0.5, 0.0, 1.0]).tolist(), strict=True))


def _by_seed(runs: pl.DataFrame, column: str) -> dict[int, float]:
    reached = runs.filter(pl.col("generalized_at").is_not_null() & pl.col(column).is_not_null())
    return dict(zip(reached["seed"].to_list(), reached[column].cast(pl.Float64).to_list(), strict=True))
