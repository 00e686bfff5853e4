"""A suite in numbers: one a method over all held-out tasks, and on how many tasks it is how near the best.

On each task the study of that task says what multiple of the baseline's cost a method needs, seed by seed. Over T tasks
with the ratios R₁ … R_T the method's one number is their geometric mean, and its interval the t interval on log R₁ …
log R_T: tasks are the sample, and what the seeds of a task leave open is part of the spread between tasks. So it
speaks of tasks such as these, and not of these alone; with fewer than three tasks there is none.

Failures are in it. On a task where fewer than three pairs are complete, and not all, the ratio has every censored run
at what it had spent: of these seeds it is "at least" that where the method's runs did not arrive, "at most" where the
baseline's did not. One such task makes the number a bound, without a test: the near end of its interval, from three
tasks on. A task on which runs of both did not arrive, with fewer than three complete pairs, tells nothing of their
ratio, and is counted as such.

Where evaluations were far apart, the test is made again with every run as early as it may have been, as it would least
have the difference; what does not survive that is not claimed.

Performance profile (Dolan & Moré 2002): ρ(τ) is the share of tasks on which a method's cost is at most τ times that of
the best method, each task's weight being divided among its seeds. A run that did not arrive never is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from grokkit.analyse.distributions import t_quantile, t_two_sided
from grokkit.analyse.leaderboard import leaderboard, ratio_keys, times_by_seed
from grokkit.analyse.paired import COARSE, ENOUGH, PairedRatio, Side, is_near, not_finer_than, plain_ratio, resolution
from grokkit.analyse.survival import Cost, times_to_target


class Cell(NamedTuple):
    """A method's ratio on one task as it enters its number. ``side`` says that it is a bound; ``larger`` and
    ``smaller`` by what factors it could be so, for all that is known of when runs arrived."""

    value: float | None
    side: Side | None = None
    larger: float = 1.0
    smaller: float = 1.0


def task_rows(runs: pl.DataFrame, methods: Sequence[str], baseline: str, cost: Cost) -> list[dict[str, Any]]:
    """The leaderboard of one task, and in each row ``cell``, the :class:`Cell` that enters the method's number."""
    base = runs.filter(pl.col("method") == baseline)
    rows = leaderboard(runs, list(methods), baseline, cost)
    for row in rows:
        row["cell"] = _cell(row, runs.filter(pl.col("method") == row["method"]), base, cost)._asdict()
    return rows


def _cell(row: Mapping[str, Any], own: pl.DataFrame, base: pl.DataFrame, cost: Cost) -> Cell:
    times = times_by_seed(own, base, cost), times_by_seed(base, own, cost)
    is_estimate = row[ratio_keys(cost)["low"]] is not None
    value, side = (row[ratio_keys(cost)["value"]], None) if is_estimate else plain_ratio(*times)
    return Cell(value, side, *resolution(*times))


def suite_rows(
    tasks: Sequence[Sequence[Mapping[str, Any]]], methods: Sequence[str], baseline: str, cost: Cost
) -> list[dict[str, Any]]:
    """One row a method, the baseline first, from the :func:`task_rows` of each task.

    The keys are those of leaderboard.json, so that :func:`grokkit.analyse.claims` can be asked what may be said, with
    tasks in the place of seeds: ``pairs`` are the tasks that say something. ``tasks`` are those on which it was run,
    ``whole`` those of them on which all its runs arrived.
    """
    order = [baseline, *(method for method in methods if method != baseline)]
    rows = []
    for method in order:
        own = [row for rows_of_task in tasks for row in rows_of_task if row["method"] == method and row["runs"]]
        cells = [Cell(**row["cell"]) for row in own]
        found = PairedRatio(1.0, pairs=len(own), complete=len(own)) if method == baseline else over_tasks(cells)
        runs, successes, late = (sum(row[name] for row in own) for name in ("runs", "successes", "given_up"))
        rows.append(
            {
                "method": method,
                "tasks": len(own),
                "whole": sum(row["successes"] == row["runs"] for row in own),
                "runs": runs,
                "successes": successes,
                "given_up": late,
                "success_rate": successes / runs if runs and not late else None,  # as on each task
                "pairs": found.pairs,
                "complete_pairs": found.complete,
                **{key: getattr(found, part) for part, key in ratio_keys(cost).items()},
            }
        )
    return rows


def over_tasks(cells: Sequence[Cell]) -> PairedRatio:
    """The geometric mean of a method's ratios, with its interval, or as a bound.

    >>> found = over_tasks([Cell(0.5), Cell(0.5), Cell(4.0)])
    >>> round(found.value, 3), round(found.low, 4), round(found.high, 1), round(found.p, 2)
    (1.0, 0.0507, 19.7, 1.0)
    >>> found = over_tasks([Cell(0.5), Cell(0.5), Cell(4.0, "at least")])
    >>> found.value, round(found.bound, 4), found.side
    (None, 0.0507, 'at least')
    """
    values = [cell.value for cell in cells if cell.value is not None]
    sides: set[Side] = {cell.side for cell in cells if cell.value is not None and cell.side is not None}
    n, complete = len(values), sum(cell.value is not None and cell.side is None for cell in cells)
    if not values or len(sides) > 1:
        return PairedRatio(pairs=n, complete=complete)
    logs = np.log(np.array(values))
    mean = float(logs.mean())
    if n < ENOUGH:
        return PairedRatio(value=None if sides else float(np.exp(mean)), pairs=n, complete=complete)
    spread = float(logs.std(ddof=1))
    reach = t_quantile(0.975, n - 1) * spread / np.sqrt(n)
    told = [cell for cell in cells if cell.value is not None]
    with np.errstate(divide="ignore"):
        larger, smaller = (float(np.exp(np.log(own).mean())) for own in zip(*[cell[2:] for cell in told], strict=True))
    if sides:
        side = sides.pop()
        near = float(np.exp(mean - reach)) * smaller if side == "at least" else float(np.exp(mean + reach)) * larger
        return PairedRatio(bound=near, side=side, pairs=n, complete=complete)
    value, low, high = (float(np.exp(log)) for log in (mean, mean - reach, mean + reach))
    is_coarse = any(cell.larger > 1 / (1 - COARSE) or cell.smaller < 1 - COARSE for cell in told)
    may_decide = is_coarse or is_near(value, low, high, larger, smaller)
    return not_finer_than(
        PairedRatio(
            value=value,
            low=low,
            high=high,
            p=_p(logs),
            p_unfavourable=_p_unfavourable(told, logs) if may_decide else None,
            pairs=n,
            complete=complete,
            spread=spread,
        ),
        larger,
        smaller,
    )


def _p(logs: NDArray[np.float64]) -> float:
    """Two-sided, of "their mean is 0", by the t test."""
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / np.sqrt(len(logs))
    t = abs(mean) / error if error else np.inf if mean else 0.0
    return t_two_sided(t, len(logs) - 1)


def _p_unfavourable(told: Sequence[Cell], logs: NDArray[np.float64]) -> float:
    """p where the runs of each task arrived as the difference would least have it."""
    is_less = float(logs.mean()) < 0
    with np.errstate(divide="ignore"):
        moved = logs + np.log([cell.larger if is_less else cell.smaller for cell in told])
    return _p(moved) if np.isfinite(moved).all() and (moved.mean() < 0) == is_less else 1.0


class Profiles(NamedTuple):
    """``steps``: method → [τ, ρ(τ)] wherever ρ rises, from τ = 1 on. ``until``: the τ beyond which they are not known,
    because runs were given up; None if none were."""

    steps: dict[str, list[list[float]]]
    until: float | None


def profiles(tasks: Sequence[pl.DataFrame], methods: Sequence[str], cost: Cost) -> Profiles:
    """The performance profiles of ``methods`` over ``tasks``.

    Args:
        tasks: the runs of each task, one row a run, ``method`` being one of ``methods``. The seeds that all of these
            have are taken; a task without one counts for nobody.
    """
    shares: dict[str, dict[float, float]] = {method: {1.0: 0.0} for method in methods}
    until: float | None = None
    compared = [shared for runs in tasks if (shared := _shared_seeds(runs, methods, cost))]
    for seeds in compared:
        for by_method in seeds.values():
            best = min((run.cost for run in by_method.values() if run.reached), default=0.0)
            if best <= 0:  # nobody arrived; or somebody was at the target before the first step, which is no race
                continue
            for method, run in by_method.items():
                tau = run.cost / best
                if run.reached:
                    shares[method][tau] = shares[method].get(tau, 0.0) + 1.0 / (len(seeds) * len(compared))
                elif run.given_up:
                    until = tau if until is None else min(until, tau)
    steps: dict[str, list[list[float]]] = {}
    for method, of_tau in shares.items():
        at = sorted(of_tau)
        risen = np.cumsum([of_tau[tau] for tau in at])
        steps[method] = [[float(tau), min(1.0, float(share))] for tau, share in zip(at, risen, strict=True)]
    return Profiles(steps, until)


class _Run(NamedTuple):
    """``cost``: to the target, or what it had spent when it was last seen below it."""

    cost: float
    reached: bool
    given_up: bool


def _shared_seeds(runs: pl.DataFrame, methods: Sequence[str], cost: Cost) -> dict[int, dict[str, _Run]]:
    """Seed → method → run, of the seeds that all methods have."""
    found: dict[int, dict[str, _Run]] = {}
    for method in methods:
        own = runs.filter(pl.col("method") == method)
        if own.is_empty():
            return {}
        times = times_to_target(own, cost)
        columns = (own["seed"].to_list(), times.time.tolist(), times.reached.tolist(), own["status"].to_list())
        for seed, time, reached, status in zip(*columns, strict=True):
            found.setdefault(seed, {})[method] = _Run(time, reached, status == "given up")
    return {seed: by_method for seed, by_method in found.items() if len(by_method) == len(methods)}
