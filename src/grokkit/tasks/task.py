"""What a task is, and how its rows are split into training, validation and test.

Shape letters: N rows, T tokens, B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from grokkit.errors import InputError
from grokkit.rng import stream


@dataclass(frozen=True, eq=False)
class Task:
    """A classification task, whole: every row there is. :func:`split` says which rows are trained on.

    Attributes:
        name: the task in canonical form, e.g. ``"a*b mod 97"``.
        inputs_NT: int64 tokens in 0…vocabulary−1.
        targets_N: int64 classes in 0…classes−1.
        vocabulary: number of distinct tokens.
        classes: width of a model's output.
        pair_groups: int64, one number a row; rows with the same number say the same thing (a·b and b·a), and
            ``split(..., by_group=True)`` keeps them together. None where there are no such rows.
        description: one line for people.
    """

    name: str
    inputs_NT: Tensor
    targets_N: Tensor
    vocabulary: int
    classes: int
    pair_groups: Tensor | None
    description: str

    def loss(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """Cross-entropy in nats, the mean over the batch."""
        return functional.cross_entropy(outputs_BC, targets_B)

    def correct(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """Bool, one a row: whether the largest output is the target's."""
        return outputs_BC.argmax(-1) == targets_B


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, int64 and ascending; disjoint, and together every row of the task.

    Ascending, because the order of training rows belongs to the batches' random stream, not to the split's.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def split(task: Task, *, train_fraction: float, validation_fraction: float, seed: int, by_group: bool = False) -> Split:
    """Split a task's rows at random; the model has no part in it.

    The rows (or groups) are put in one random order, drawn from the stream ``(seed, "split")``; the training
    part is its beginning, then validation, then test. So a smaller training fraction gives a subset of the
    rows of a larger one, and the validation fraction does not move the training rows.

    Args:
        task: the task.
        train_fraction: share of all rows to train on, in (0, 1).
        validation_fraction: share of all rows to tune on, in [0, 1); the rest is the test part.
        seed: of the run.
        by_group: keep the rows of each of ``task.pair_groups`` in one part. Each fraction is then met to
            within one group, otherwise to within one row.

    Raises:
        InputError: a fraction out of its range, both together leaving no test, a part that was asked for but
            gets no row, or ``by_group`` for a task without groups.

    >>> from grokkit.tasks import modular_task
    >>> parts = split(modular_task("mul:97"), train_fraction=0.5, validation_fraction=0.1, seed=0)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (4704, 941, 3764)
    """
    if not 0 < train_fraction < 1:
        raise InputError(
            f"train fraction {train_fraction} is not between 0 and 1, both excluded; 0.5 is a common choice"
        )
    if not 0 <= validation_fraction < 1:
        raise InputError(
            f"validation fraction {validation_fraction} is not at least 0 and below 1; take 0 for no validation part"
        )
    if train_fraction + validation_fraction >= 1:
        raise InputError(
            f"train fraction {train_fraction} and validation fraction {validation_fraction} leave no test; "
            f"their sum must be below 1: lower one of them"
        )
    rows = len(task.targets_N)
    if not by_group:
        groups_N = torch.arange(rows)
    elif task.pair_groups is not None:
        groups_N = task.pair_groups.unique(return_inverse=True)[1]
    else:
        raise InputError(
            f"{task.name!r} cannot be split by group: only tasks of two operands that can be exchanged have "
            f"groups; leave by_group off"
        )
    sizes_G = groups_N.bincount()
    order_G = torch.randperm(len(sizes_G), generator=stream(seed, "split"))
    ordered_sizes_G = sizes_G[order_G]
    middles_G = 2 * ordered_sizes_G.cumsum(0) - ordered_sizes_G  # in half rows
    train_rows = round(train_fraction * rows)
    ends = torch.tensor([train_rows, train_rows + round(validation_fraction * rows)])
    part_G = torch.empty_like(order_G)
    part_G[order_G] = torch.bucketize(middles_G, 2 * ends)  # a group goes where its middle falls
    part_N = part_G[groups_N]
    train, validation, test = (torch.nonzero(part_N == part).flatten() for part in range(3))
    for name, part, wanted in (
        ("train", train, f"train fraction {train_fraction}"),
        ("validation", validation, f"validation fraction {validation_fraction}"),
        ("test", test, f"train fraction {train_fraction} with validation fraction {validation_fraction}"),
    ):
        if len(part) == 0 and not (name == "validation" and validation_fraction == 0):
            raise InputError(
                f"{wanted} of {rows} rows leaves the {name} part empty; it needs at least one row"
                f"{' or group' if by_group else ''}: change the fraction, or take a larger task"
            )
    return Split(train, validation, test)
