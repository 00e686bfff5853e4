"""Parts of a network of the same form that was trained before, on the same rows or on another task.

    donor   the model as it was drawn, trained on ``source`` with AdamW on full batches, until it is good enough
    W ← W'  for the parameters of the classes ``parts``, W' the donor's; all others stay as they were drawn

With ``source=own`` it asks which layer carries what a weak model knows: the donor is the model itself, left early. With
another task of the same tokens it is the transfer between operations of arXiv 2405.16658: embedding, decoder blocks
(``hidden``), both, or the head. Biases and norms are of the class ``vector``. The donor's training is charged.

Because donor and model are drawn alike, ``parts=embedding+hidden+head+vector`` goes on where the donor stopped.
"""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from grokkit.errors import InputError, unknown
from grokkit.methods.contract import Examples, MethodCard, Start, StartResult, TransferData
from grokkit.methods.settings import not_negative, number, positive, whole
from grokkit.models.classes import Class, classes_of
from grokkit.models.flops import MEASURED_ROWS, Counted, counted
from grokkit.outside import FailedError, theirs
from grokkit.randomness import seeded_aside
from grokkit.tasks.table import make_task, read_task
from grokkit.tasks.task import Task, split

_LOOK = 25  # steps between looks at the validation rows
_BETAS = (0.9, 0.98)  # of the adamw arm
_TRIED = 8  # rows that are tried before anything runs
_BY_CHANCE = 0.1  # of rows: in so few another task may agree with the run's


def block_transfer(
    source: str = "own",
    parts: str = "embedding",
    stop: float = 0.7,
    steps: int = 500,
    donor_lr: float = 3e-3,
    donor_wd: float = 1.0,
) -> Start:
    """Start ``parts`` from a donor trained on ``source``.

    Args:
        source: ``own``, the rows that the model will be trained on, or a task with the same tokens, e.g. ``add:97`` for
            a decoder and ``add:97(layout=operands)`` for an fnn. One that has the run's rows with their targets is
            refused.
        parts: classes of parameters with + between them: ``embedding``, ``hidden``, ``head``, ``vector``.
        stop: the donor's accuracy on validation rows at which it is left, in (0, 1]. Default 0.7 (groktransfer's).
        steps: that it may take, on full batches. Default 500.
        donor_lr, donor_wd: of its AdamW. Default 3e-3 and 1 (the adamw arm's).

    Raises:
        InputError: for another class or task, or a value out of its range.
    """
    chosen = [part.strip() for part in parts.split("+")] if isinstance(parts, str) else [parts]
    for part in chosen:
        if part not in get_args(Class):
            raise unknown("part of block-transfer", str(part), get_args(Class))
    if source != "own":
        read_task(source)
    return _BlockTransfer(
        source,
        tuple(chosen),
        number("stop", stop, lambda value: 0.0 < value <= 1.0, "an accuracy in (0, 1]", 0.7),
        whole("steps", steps, 1, 500),
        positive("donor_lr", donor_lr, 3e-3),
        not_negative("donor_wd", donor_wd, 1.0),
    )


@dataclass(frozen=True)
class _BlockTransfer:
    source: str
    parts: tuple[str, ...]
    stop: float
    steps: int
    lr: float
    wd: float

    def check(self, model: nn.Module, data: TransferData) -> None:
        """Refuse what the donor could not learn, before anything runs: a step and a look are taken on a few rows."""
        lesson = self._lesson(data, seed=0)
        inputs, targets = (part[:_TRIED] for part in lesson.train)
        donor = deepcopy(model).train()
        try:
            with theirs("a step of its donor, model(inputs) and the loss and score of that,"), seeded_aside(0, "donor"):
                outputs = donor(inputs)
                lesson.loss(outputs, targets).backward()
                if len(lesson.validation.targets):
                    lesson.correct(outputs, targets)
        except FailedError as error:
            raise InputError(f"{error}; leave block-transfer out") from error

    def _lesson(self, data: TransferData, seed: int) -> TransferData:
        inputs: object = data.train.inputs
        if not isinstance(inputs, Tensor):
            raise InputError(
                f"the inputs are a {type(inputs).__name__}, and block-transfer's donor reads one tensor, as "
                "model(inputs); leave block-transfer out"
            )
        return data if self.source == "own" else _lesson(self.source, data, seed)

    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult:
        lesson = self._lesson(data, seed)
        begun, donor = time.perf_counter(), deepcopy(model).train()
        a_step, a_look = _flops_of_a_step_and_a_look(_counted(donor, lesson), lesson)
        flops, steps, accuracy = 0, 0, 0.0
        optimizer = torch.optim.AdamW(donor.parameters(), lr=self.lr, weight_decay=self.wd, betas=_BETAS)
        while steps < self.steps:
            for _ in range(min(_LOOK, self.steps - steps)):
                optimizer.zero_grad()
                lesson.loss(donor(lesson.train.inputs), lesson.train.targets).backward()
                optimizer.step()
                steps, flops = steps + 1, flops + a_step
            flops += a_look
            if (accuracy := _accuracy(donor, lesson)) >= self.stop:
                break
        found = classes_of(donor)
        tensors = {name: p.detach() for part in self.parts for name, p in found[part].items()}
        table = {"source": [self.source], "steps": [steps], "validation_accuracy": [accuracy]}
        return StartResult(tensors, time.perf_counter() - begun, flops, {"donor": table})


def _lesson(source: str, data: TransferData, seed: int) -> TransferData:
    """Half of the rows of ``source`` to learn from, a tenth to judge by."""
    task = make_task(source)
    width = data.train.inputs.shape[1]
    if (task.vocabulary, task.classes, task.inputs_NT.shape[1]) != (data.vocabulary, data.outputs, width):
        raise InputError(
            f"source={source} has {task.vocabulary} tokens in rows of {task.inputs_NT.shape[1]} and {task.classes} "
            f"outputs, and the task has {data.vocabulary} in rows of {width} and {data.outputs}; name one of the same "
            "form: the decoder reads add:97, an fnn add:97(layout=operands)"
        )
    _refuse_the_same(source, task, data)
    rows = split(task, train_fraction=0.5, validation_fraction=0.1, seed=seed)
    train, validation = Examples(*task.batch(rows.train)), Examples(*task.batch(rows.validation))
    kinds: dict[str, Any] = {"loss": task.loss, "correct": task.correct}
    return TransferData(
        train=train,
        validation=validation,
        vocabulary=task.vocabulary,
        outputs=task.classes,
        inputs=task.inputs,
        **kinds,
    )


def _refuse_the_same(source: str, task: Task, data: TransferData) -> None:
    """Refuse a source that has the rows of the run with their targets: it is split anew, so that the donor would train
    on rows that the run is tested on. Rows of another task may be the same, and by chance a few of its targets."""
    known = dict(zip(_as_bytes(task.inputs_NT), task.targets_N.tolist(), strict=True))
    own = list(zip(_as_bytes(data.train.inputs), data.train.targets.tolist(), strict=True))
    shared = [known[row] == target for row, target in own if row in known]
    if len(shared) > _BY_CHANCE * len(own) and sum(shared) > (1 - _BY_CHANCE) * len(shared):
        raise InputError(
            f"source={source} has {sum(shared):,} of the {len(own):,} training rows with the same targets, and so rows "
            "that the run is tested on; write source=own, or name another task"
        )


def _as_bytes(inputs_NT: Tensor) -> list[bytes]:
    return [row.tobytes() for row in inputs_NT.cpu().numpy()]


@torch.no_grad()
def _accuracy(donor: nn.Module, lesson: TransferData) -> float:
    """On the validation rows, as it would be used; 0 where there are none, so that it takes all of its steps."""
    inputs, targets = lesson.validation
    if not len(targets):
        return 0.0
    right = lesson.correct(donor.eval()(inputs), targets)
    donor.train()
    return float(right.double().mean())


def _counted(donor: nn.Module, lesson: TransferData) -> Counted:
    inputs, targets = (part[:MEASURED_ROWS] for part in lesson.train)
    return counted(donor, len(inputs), lambda own: own(inputs), lambda outputs: lesson.loss(outputs, targets))


def _flops_of_a_step_and_a_look(costs: Counted, lesson: TransferData) -> tuple[int, int]:
    """On all rows; of no rows there is no look."""
    train, validation = lesson.train.inputs, lesson.validation.inputs
    a_look = costs.forward_flops(len(validation), validation.shape[1]) if len(validation) else 0
    return costs.step_flops(len(train), train.shape[1]), a_look


BLOCK_TRANSFER = MethodCard(
    name="block-transfer",
    summary="Starts chosen layers from a network of the same form, trained briefly on these rows or on another task.",
    equations="W ← W' for the parameters of the classes `parts`, W' of a donor trained on `source`",
    cost="the donor's training, before the first step",
    base_source="the adamw arm's, unless another part states one",
    start=block_transfer,
    space="stop=0.3..0.95, donor_lr=1e-3..3e-2 log",
    smallest={"steps": 20},
    departures="The donor begins with the weights that the model was drawn with, not with others.",
    citation="""@article{park2024acceleration,
  title = {Acceleration of Grokking in Learning Arithmetic Operations via {Kolmogorov}-{Arnold} Representation},
  author = {Park, Yeachan and Kim, Minseok and Kim, Yeoneung},
  year = {2024},
  eprint = {2405.16658},
  archivePrefix = {arXiv}
}""",
)
