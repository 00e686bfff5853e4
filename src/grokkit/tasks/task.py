"""What a task is, and how its rows are split into training, validation and test.

Shape letters: N rows, T tokens (or F features), B batch, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from grokkit.errors import InputError
from grokkit.models.card import TaskShape
from grokkit.rng import stream
from grokkit.tasks.examples import Table

ANSWERS_AT_ONCE = 2048  # of a model, in an evaluation

Objective = Literal["cross-entropy", "logistic", "exponential", "mse", "regression"]


@dataclass(frozen=True, eq=False)
class Task:
    """A task, whole: every row there is. :func:`split` says which rows are trained on.

    Attributes:
        name: the task in canonical form, e.g. ``"a*b mod 97"``.
        inputs: the kind of its inputs, see :class:`grokkit.models.TaskShape`; a model's card says which it reads.
        inputs_NT: int64 tokens in 0…vocabulary−1, or float32 features; molecules have a third axis.
        targets_N: int64 classes in 0…classes−1; under ``logistic`` and ``exponential`` float32, 1 or −1; under
            ``regression`` float32. Under cross-entropy a row may have a class at each of its T places, (N, T).
        vocabulary: number of distinct tokens; None where inputs are no tokens.
        classes: width of a model's output; 1 where targets are ±1 or a number.
        groups: int64, one number a row; a split keeps rows with the same number, such as a·b and b·a, in one part. None
            where every row is alone.
        description: one line for people.
        modulus: P of modular arithmetic, where tokens 0…P−1 are numbers; None for other tasks.
        operators: that stand in its expression.
        objective: what :meth:`loss` is. Default cross-entropy.
        parts: how its rows are split, if that is given with them; None for a split at random.
        more_rows: how to get a task like this with more rows, for an error to end on; empty where there is no way.
    """

    name: str
    inputs: str
    inputs_NT: Tensor
    targets_N: Tensor
    vocabulary: int | None
    classes: int
    description: str
    objective: Objective = "cross-entropy"
    modulus: int | None = None
    operators: tuple[str, ...] = ()
    groups: Tensor | None = None
    parts: Split | None = None
    more_rows: str = ""

    is_table: ClassVar[bool] = True
    """Whether rows are entries of ``inputs_NT`` and ``targets_N``, the same ones each time."""

    @property
    def answers(self) -> int:
        """Targets of a row: 1, or one a place."""
        return self.targets_N[:1].numel()

    @property
    def rows_at_once(self) -> int:
        """In an evaluation: bounds the memory, costs no speed."""
        return max(1, ANSWERS_AT_ONCE // self.answers)

    @property
    def shape(self) -> TaskShape:
        """What a model is made for."""
        _, tokens, *rest = self.inputs_NT.shape
        features = rest[-1] if rest else tokens
        return TaskShape(
            kind=self.inputs, tokens=tokens, features=features, vocabulary=self.vocabulary, classes=self.classes
        )

    @property
    def has_accuracy(self) -> bool:
        """Whether an output is right or wrong; under ``regression`` it is only near or far."""
        return self.objective != "regression"

    @property
    def has_numbers(self) -> bool:
        """Whether targets are numbers, and so outputs no logits."""
        return self.objective == "regression"

    def fitted(self, train_rows: Tensor) -> Task:
        """The task with all that is learned from data, such as a vocabulary or a mean, learned from ``train_rows``.

        Whatever depends on the split belongs here, so that no validation or test row has a part in it. Most tasks
        have nothing of the kind and are returned as they are.
        """
        return self

    def on(self, device: torch.device) -> Task:
        """The task with its rows on ``device``."""
        return replace(self, inputs_NT=self.inputs_NT.to(device), targets_N=self.targets_N.to(device))

    def batch(self, rows_B: Tensor) -> tuple[Any, Any]:
        """Inputs and targets of rows."""
        rows_B = rows_B.to(self.inputs_NT.device)
        return self.inputs_NT[rows_B], self.targets_N[rows_B]

    def feed(self, batches: object) -> Callable[[Tensor], tuple[Any, Any]]:
        """What gives the batches to train on, by their rows, in the order of ``batches``."""
        return self.batch

    def notes(self) -> dict[str, str]:
        """What a run's provenance should tell of it."""
        return {}

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        """The model's outputs."""
        return model(inputs)

    def examples(self, rows: Tensor, outputs: Callable[[Tensor], Tensor]) -> dict[str, Table]:
        """What people would rather look at: single ones of ``rows`` and what a model makes of them, tables by name.

        ``outputs`` gives the model's outputs for rows of the task. Most tasks have nothing of the kind.
        """
        return {}

    def loss(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """The mean over the batch, and over the places of a row that has a target at each.

        In nats: cross-entropy, or ln(1 + e^(−y·f)) (logistic). Without a unit: e^(−y·f) (exponential), the squared
        distance from the class's one-hot vector, over C (mse), (f − y)² (regression).
        """
        if self.objective == "cross-entropy":
            return functional.cross_entropy(outputs_BC.flatten(0, -2), targets_B.flatten())
        if self.objective == "mse":
            one_hot_BC = (targets_B[:, None] == torch.arange(self.classes, device=targets_B.device)).to(
                outputs_BC.dtype
            )
            return functional.mse_loss(outputs_BC, one_hot_BC)
        if self.objective == "regression":
            return functional.mse_loss(outputs_BC[:, 0], targets_B)
        margins_B = outputs_BC[:, 0] * targets_B
        losses_B = functional.softplus(-margins_B) if self.objective == "logistic" else (-margins_B).exp()
        return losses_B.mean()

    def correct(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """Bool, one a target: whether the largest output is the target's, or the output's sign, 0 having none.

        Raises:
            InputError: under ``regression``; see :attr:`has_accuracy`.
        """
        if self.objective in ("cross-entropy", "mse"):
            return outputs_BC.argmax(-1) == targets_B
        if not self.has_accuracy:
            raise InputError(
                f"{self.name} has numbers as targets, and so no accuracy; its losses say how near they are"
            )
        return outputs_BC[:, 0] * targets_B > 0


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, int64 and ascending; disjoint, and together every row of the task.

    Ascending, because the order of training rows belongs to the batches' random stream, not to the split's.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def split(
    task: Task,
    *,
    train_fraction: float,
    validation_fraction: float,
    seed: int,
    train_size: int | None = None,
) -> Split:
    """Split a task's rows at random; the model has no part in it.

    The rows are put in one random order, drawn from the stream ``(seed, "split")``; the training part is its
    beginning, then validation, then test. So a smaller training fraction gives a subset of the rows of a larger one,
    and the validation fraction does not move the training rows. Where ``task.groups`` keeps rows together, their
    groups are put in order instead, and each fraction is met to within one group.

    Args:
        task: the task.
        train_fraction: share of all rows to train on, in (0, 1).
        validation_fraction: share of all rows to tune on, in [0, 1); the rest is the test part.
        seed: of the run.
        train_size: rows to train on, in place of ``train_fraction`` of them.

    Raises:
        InputError: a fraction or size out of its range, both together leaving no test, or a part that was asked for
            but gets no row.

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
    rows = len(task.targets_N)
    validation_rows = round(validation_fraction * rows)
    if train_size is not None and not 1 <= train_size < rows - validation_rows:
        raise InputError(
            f"train size {train_size} is not possible with {rows} rows, of which {validation_rows} are for validation; "
            f"allowed are 1 to {rows - validation_rows - 1}, so that a test row is left"
            f"{task.more_rows and f'; {task.more_rows}'}"
        )
    if train_size is None and train_fraction + validation_fraction >= 1:
        raise InputError(
            f"train fraction {train_fraction} and validation fraction {validation_fraction} leave no test; "
            f"their sum must be below 1: lower one of them"
        )
    groups_N = torch.arange(rows) if task.groups is None else task.groups.unique(return_inverse=True)[1]
    sizes_G = groups_N.bincount()
    order_G = torch.randperm(len(sizes_G), generator=stream(seed, "split"))
    ordered_sizes_G = sizes_G[order_G]
    middles_G = 2 * ordered_sizes_G.cumsum(0) - ordered_sizes_G  # in half rows
    train_rows = round(train_fraction * rows) if train_size is None else train_size
    ends = torch.tensor([train_rows, train_rows + validation_rows])
    part_G = torch.empty_like(order_G)
    part_G[order_G] = torch.bucketize(middles_G, 2 * ends)  # a group goes where its middle falls
    part_N = part_G[groups_N]
    train, validation, test = (torch.nonzero(part_N == part).flatten() for part in range(3))
    wanted_train = f"train fraction {train_fraction}" if train_size is None else f"train size {train_size}"
    for name, part, wanted in (
        ("train", train, wanted_train),
        ("validation", validation, f"validation fraction {validation_fraction}"),
        ("test", test, f"{wanted_train} with validation fraction {validation_fraction}"),
    ):
        if len(part) == 0 and not (name == "validation" and validation_fraction == 0):
            raise InputError(
                f"{wanted} of {rows} rows leaves the {name} part empty; it needs at least one row"
                f"{'' if task.groups is None else ' or group'}: change the fraction, or take a larger task"
            )
    return Split(train, validation, test)
