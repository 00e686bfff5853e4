"""Does a task keep what the lab relies on? The same checks for ours and for anybody's."""

from __future__ import annotations

import torch
from torch import Tensor

from grokkit.lab.named import name_of
from grokkit.randomness import seeded_aside
from grokkit.registry import parts
from grokkit.tasks.card import TaskCard
from grokkit.tasks.problem import Problem
from grokkit.tasks.table import card_of, read_task
from grokkit.tasks.task import Task, split
from grokkit.testing.harness import assert_same
from grokkit.testing.problem import check_problem
from grokkit.train.config import TaskConfig
from grokkit.train.resolve import model_config, task_config
from grokkit.train.setup import build_model, build_task

_ROWS = 8


def small_text(task: str | TaskCard) -> str:
    """What to type for a small one: of a registered name the card's ``smallest`` or ``example``, a text as it is."""
    text = name_of("tasks", task)
    if text not in parts("tasks"):
        return text
    card = card_of(parts("tasks")[text])
    return card.smallest or card.example or text


def check_task(task: str | TaskCard) -> None:
    """Rows of the right form, the same ones each time, in disjoint parts, with a model that can be trained on them.

    A problem of one's own is checked by :func:`grokkit.testing.check_problem`.

    Args:
        task: as the command line takes it, ``mul:97`` or ``mypkg.tasks:CARD(size=3)``; a registered name stands for
            the card's ``smallest``.

    Raises:
        AssertionError: for the first thing that is wrong, in a sentence.

    >>> check_task("parity:6,2")
    """
    text = small_text(task)
    part, settings = read_task(text)
    if isinstance(problem := card_of(part).make(settings), Problem):
        wrong = [finding for finding in check_problem(problem) if not finding.ok]
        assert not wrong, f"{text}, {wrong[0].name}: {wrong[0].line}"
        return
    with seeded_aside(0, "check"):
        _check_task(text)


def _check_task(text: str) -> None:
    config = task_config(text)
    assert config == task_config(text), f"{text} read twice is two configurations"
    before = torch.get_rng_state()
    first, second = build_task(config), build_task(config)
    assert torch.equal(before, torch.get_rng_state()), f"{text} draws from PyTorch's global generator; make one"
    _check_rows(first, text)  # before they are compared: what is not a number is not even equal to itself
    assert_same(_tensors(first), _tensors(second), f"{text} has other rows the second time")
    _check_parts(first, config, text)
    _check_model_for(first, config, text)


def _tensors(task: Task) -> dict[str, Tensor]:
    return {"inputs": task.inputs_NT, "targets": task.targets_N}


def _check_rows(task: Task, text: str) -> None:
    inputs, targets, rows = task.inputs_NT, task.targets_N, len(task.targets_N)
    assert len(inputs) == rows, f"{text} has {len(inputs)} inputs and {rows} targets"
    assert rows, f"{text} has no rows"
    is_at_each_place = task.objective == "cross-entropy" and targets.shape == inputs.shape
    shapes = f"{text}: targets have the shape {tuple(targets.shape)}; they must be one a row"
    assert targets.ndim == 1 or is_at_each_place, f"{shapes}, or under cross-entropy one a place"
    if task.vocabulary is not None:
        allowed = f"int64 tokens in 0…{task.vocabulary - 1}"
        is_allowed = inputs.dtype == torch.int64 and int(inputs.min()) >= 0 and int(inputs.max()) < task.vocabulary
        assert is_allowed, f"{text}: inputs are {inputs.dtype} in {inputs.min()}…{inputs.max()}; they must be {allowed}"
    elif inputs.is_floating_point():
        assert inputs.isfinite().all(), f"{text}: an input is not finite"
    if task.objective in ("cross-entropy", "mse"):
        assert targets.dtype == torch.int64, f"{text}: targets are {targets.dtype}; classes must be int64"
        least, most = int(targets.min()), int(targets.max())
        assert 0 <= least <= most < task.classes, f"{text}: classes are in {least}…{most}, and there are {task.classes}"
    else:
        assert targets.is_floating_point(), f"{text}: targets are {targets.dtype}; they must be floats"
        assert targets.isfinite().all(), f"{text}: a target is not finite"
        is_sign = task.objective == "regression" or bool((targets.abs() == 1).all())
        assert is_sign, f"{text}: targets under {task.objective} must be 1 or −1"
        assert task.classes == 1, f"{text}: under {task.objective} a model has one output, and classes={task.classes}"


def _check_parts(task: Task, config: TaskConfig, text: str) -> None:
    def parts_of(seed: int) -> list[Tensor]:
        train, validation = config.train_fraction, config.validation_fraction
        found = task.parts or split(task, train_fraction=train, validation_fraction=validation, seed=seed)
        return [found.train, found.validation, found.test]

    first, again = parts_of(0), parts_of(0)
    assert all(map(torch.equal, first, again)), f"{text} is split another way the second time"
    train, _, test = map(len, first)
    assert min(train, test) > 0, f"{text} has {train} training rows and {test} test rows; it needs both"
    numbers = torch.cat(first)
    assert len(numbers) == len(numbers.unique()), f"{text} has a row in two of its parts"
    are_there = int(numbers.min()) >= 0 and int(numbers.max()) < len(task.targets_N)
    assert are_there, f"{text}: a part has the number of a row that there is not"


def _check_model_for(task: Task, config: TaskConfig, text: str) -> None:
    """The model that is taken unless told reads the task, and its loss can be lowered."""
    model = build_model(model_config(config.card.model), task, seed=0)
    inputs, targets = task.batch(torch.arange(min(_ROWS, len(task.targets_N))))
    outputs = task.forward(model, inputs)
    shape = (*targets.shape, task.classes)
    assert outputs.shape == shape, f"{text}: {config.card.model} gives the shape {tuple(outputs.shape)}, not {shape}"
    loss = task.loss(outputs, targets)
    is_number = loss.ndim == 0 and bool(loss.isfinite())
    assert is_number, f"{text}: the loss is {loss}, and must be a finite number"
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters()), f"{text}: the loss has no gradient"
    if task.has_accuracy:
        correct = task.correct(outputs, targets)
        is_right = correct.dtype == torch.bool and correct.shape == targets.shape
        assert is_right, (
            f"{text}: correct gives {correct.dtype} of shape {tuple(correct.shape)}; it must be bool, a target"
        )
