"""What an evaluation or a look finds of a network on some rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Score(NamedTuple):
    """Means over some rows.

    Attributes:
        loss: of the task.
        accuracy: None in a regression, where nothing is right or wrong.
        error: the standard error of ``loss``; None where only one lot of rows was looked at.
    """

    loss: float
    accuracy: float | None
    error: float | None = None


class Sums(NamedTuple):
    """Over a lot of rows: of the losses, and of how many of the answers are right, None in a regression."""

    rows: int
    loss: float
    correct: int | None


def in_lots(rows: Tensor, lots: int) -> Sequence[Tensor]:
    """``rows``, along its last axis, in so many parts, equal to within a row; in one if there are not as many rows."""
    return rows.tensor_split(lots if rows.shape[-1] >= lots else 1, dim=-1)


def score_of(lots: Sequence[Sums], answers: int) -> Score:
    """Over the rows of all ``lots``, each with so many ``answers``.

    >>> score_of([Sums(2, loss=2.0, correct=1), Sums(2, loss=6.0, correct=2)], answers=1)
    Score(loss=2.0, accuracy=0.75, error=1.0)
    """
    rows = sum(lot.rows for lot in lots)
    right = [lot.correct for lot in lots if lot.correct is not None]
    means = [lot.loss / lot.rows for lot in lots]
    return Score(
        loss=sum(lot.loss for lot in lots) / rows,
        accuracy=sum(right) / (rows * answers) if right else None,
        error=statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None,
    )
