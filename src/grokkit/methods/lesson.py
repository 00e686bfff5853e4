"""The rows that a method may learn from before the training begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


def _is_largest(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.argmax(-1) == targets


class Examples(NamedTuple):
    """Rows to learn from, whole: weak models train on full batches."""

    inputs: Tensor
    """(N, T) tokens, int64, or (N, F) numbers."""
    targets: Tensor


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What weak models learn, and how it is judged.

    Attributes:
        train, validation: rows to train on, and rows to stop by. The test part has no place here.
        vocabulary: V, rows of the embedding; None where inputs are numbers.
        outputs: of the model.
        inputs: their kind, see :class:`grokkit.models.TaskShape`; None where nobody has declared it.
        loss: of a batch's outputs and targets, the mean. Default cross-entropy.
        correct: bool, one a row. Default: whether the largest output is the target's.
    """

    train: Examples
    validation: Examples
    vocabulary: int | None
    outputs: int
    inputs: str | None = None
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    correct: Callable[[Tensor, Tensor], Tensor] = _is_largest
