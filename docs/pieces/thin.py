"""Fewer points of a run's curves, without losing an event: what is committed of them."""

from __future__ import annotations

import polars as pl

from pieces.crossing import first_sustained

POINTS = 40

COLUMNS = (
    "run_id",
    "method",
    "seed",
    "step",
    "train_seconds",
    "flops",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
)


def thinned(curve: pl.DataFrame, *, measure: str, target: float, sustain: int, events: list[int]) -> pl.DataFrame:
    """About POINTS rows of one run's ``curve``.

    Always kept are the first and the last, those at the steps ``events``, and for each part's ``measure`` both sides of
    every crossing of ``target``, the whole window in which it first stays, the worst point between two crossings, and
    the best of all. So whoever looks for the first sustained crossing among the rows kept finds that of all rows.
    """
    curve = curve.sort("step")
    kept = {0, curve.height - 1} | {i for i, step in enumerate(curve["step"]) if step in events}
    for part in ("train", "validation", "test"):
        kept |= _landmarks(curve, f"{part}_{measure}", measure, target, sustain)
    others = [i for i in range(curve.height) if i not in kept]
    room = max(POINTS - len(kept), 0)
    kept |= {others[i * len(others) // room] for i in range(min(room, len(others)))} if room else set()
    return curve[sorted(kept)].select(column for column in COLUMNS if column in curve.columns)


def _landmarks(curve: pl.DataFrame, column: str, measure: str, target: float, sustain: int) -> set[int]:
    """The rows that ``column`` needs kept. Rows without a value in it, as those of quick checks, do not count."""
    sign = 1 if measure == "accuracy" else -1
    at = [i for i, value in enumerate(curve[column]) if value is not None]
    value = [sign * curve[column][i] for i in at]
    if not value:
        return set()
    good = [v >= sign * target for v in value]
    crossings = [i for i in range(1, len(good)) if good[i] != good[i - 1]]
    places = {value.index(max(value))}
    for crossing in crossings:
        places |= {crossing - 1, crossing}
    for start, end in zip([0, *crossings], [*crossings, len(good)], strict=True):
        stretch = value[start:end]
        places.add(start + stretch.index(min(stretch)))
    stays = first_sustained(good, sustain)
    if stays is not None:
        places |= set(range(stays, stays + sustain + 1))
    return {at[place] for place in places}
