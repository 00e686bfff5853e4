"""A task with its split, and the rows of it that are trained on, learned from, and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError, about
from grokkit.methods import Examples, TransferData
from grokkit.methods.contract import Halfway
from grokkit.rng import stream
from grokkit.tasks import Split, Task, split
from grokkit.train.batches import Batches
from grokkit.train.config import MethodConfig, RunConfig, TaskConfig
from grokkit.train.doors import doors_of
from grokkit.train.setup import build_task


@dataclass(frozen=True)
class Problem:
    """A task with its split, and the rows that each part of a run uses.

    Attributes:
        inner: the training rows that batches are drawn from, and
        outer: those that the method's ``held_out`` sets apart; NeuralGrok learns from them.
        train_sample: those on which training accuracy is measured, inner and outer alike.
        train_look, test_look: the few rows that a quick check is made on.
    """

    task: Task
    split: Split
    inner: Tensor
    outer: Tensor
    train_sample: Tensor
    train_look: Tensor
    test_look: Tensor


def build_problem(config: RunConfig) -> Problem:
    """Task and split; they depend on the seed and the task's settings only, never on model or method.

    Only which training rows are set apart from the batches is the method's to say.

    Raises:
        InputError: for a task that does not exist, a split that is not possible or leaves a part without a row, a
            target in accuracies where there are none, no validation rows where these judge, or rows set apart as in
            :func:`set_apart`.
    """
    with about("task"):
        task = build_task(config.task, config.seed)
    if config.target_loss is None and not task.has_accuracy:
        raise InputError(
            f"{task.name} has numbers as targets, and so no accuracy; set a loss that counts as generalized, e.g. "
            f"target_loss={config.task.card.target_loss or 0.05}"
        )
    if task.parts is not None:
        _refuse_a_split(config.task, task)
    try:
        parts = task.parts or split(
            task,
            train_fraction=config.task.train_fraction,
            validation_fraction=config.task.validation_fraction,
            seed=config.seed,
            train_size=config.task.train_size,
        )
    except InputError as error:
        # That the validation part of so small a table is empty is the fault of no option.
        if str(error).startswith("train "):
            with about("--train-fraction" if config.task.train_size is None else "--train-size"):
                raise
        raise
    if config.judged_on == "validation":
        if not len(parts.validation):
            raise InputError(
                f"{task.name} has no validation rows, and a search is judged by these alone; give "
                "--validation-fraction 0.1, or the problem's Splits a validation part"
            )
        parts = replace(parts, test=parts.validation)
    if not len(parts.train) or not len(parts.test):
        raise InputError(
            f"{task.name!r} has {len(parts.train)} training rows and {len(parts.test)} test rows; it needs both"
        )
    task = task.fitted(parts.train)
    settings = config.evaluation
    train = parts.train[torch.randperm(len(parts.train), generator=stream(config.seed, "train sample"))]
    test = parts.test[torch.randperm(len(parts.test), generator=stream(config.seed, "test look"))]
    look = settings.look_rows
    with about("--methods"):
        inner, outer = set_apart(config.method, parts.train, config.seed)
    return Problem(task, parts, inner, outer, train[: settings.train_rows], train[:look], test[:look])


def _refuse_a_split(config: TaskConfig, task: Task) -> None:
    """What was said of the split of data that are split already would be heeded by nobody."""
    for name in ("train_size", "train_fraction", "validation_fraction"):
        if getattr(config, name) != TaskConfig.model_fields[name].default:
            raise InputError(
                f"the data of {task.name!r} are Splits, split already; leave --{name.replace('_', '-')} out"
            )


def set_apart(method: MethodConfig, train: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The training rows that batches are drawn from, and those that the method's ``held_out`` keeps from them.

    Which these are depends on seed and share alone, so that a method and its control see the same rows. A method that
    learns from outer data (NeuralGrok) has them for that; to any other they are lost.

    Raises:
        InputError: if the share leaves no row for the batches, or is 0 for a method that learns from those rows.
    """
    if not method.held_out:
        doors = doors_of(method)
        if doors.bilevel is not None:
            learning = next(part.card for part in doors.parts if part.card.bilevel is not None)
            raise InputError(
                f"{learning.name}: held_out=0 is not possible: it learns from the rows set apart; "
                f"the default is {learning.held_out}"
            )
        return train, train[:0]
    count = max(1, round(method.held_out * len(train)))
    if count >= len(train):
        raise InputError(
            f"{method.label} sets {count} of the training rows apart (held_out={method.held_out}), and there are "
            f"{len(train)}; take a smaller held_out, or a larger training fraction"
        )
    order = torch.randperm(len(train), generator=stream(seed, "outer"))
    return train[order[count:].sort().values], train[order[:count].sort().values]


def transfer_data(problem: Problem, halfway: Halfway | None = None) -> TransferData:
    """What a method may learn from before the first step: training and validation rows, never a test row.

    ``halfway``: where it may keep what it has so far.
    """
    task = problem.task

    def read(rows: Tensor) -> Examples:
        # Of no rows somebody's own code can make no batch: it is one of a row, without that row.
        inputs, targets = task.batch(rows if len(rows) else problem.inner[:1])
        return Examples(inputs, targets) if len(rows) else Examples(_without_rows(inputs), _without_rows(targets))

    return TransferData(
        train=partial(read, problem.inner),
        validation=partial(read, problem.split.validation),
        inputs=task.inputs,
        vocabulary=task.vocabulary,
        outputs=task.classes,
        loss=task.loss,
        correct=task.correct,
        halfway=halfway,
    )


def _without_rows(part: Any) -> Tensor:
    return part[:0] if isinstance(part, Tensor) else torch.empty(0)


def check_targets(method: MethodConfig, task: Task) -> None:
    """Refuse a ``method`` whose outputs are logits on a task whose targets are numbers.

    Raises:
        InputError: naming it.
    """
    for card in method.cards:
        if card.logits and task.has_numbers:
            raise InputError(
                f"{card.name} is for outputs that are logits, and {task.name} has numbers as targets; leave it out"
            )


def build_batches(config: RunConfig, problem: Problem) -> Batches:
    return Batches(problem.inner, config.batch_size, stream(config.seed, "batches"), config.remainder)
