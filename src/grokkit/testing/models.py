"""Does a model keep what the lab relies on? The same checks for ours and for anybody's."""

from __future__ import annotations

import torch
from torch import nn

from grokkit.call_syntax import parse_call, show_call
from grokkit.errors import InputError
from grokkit.lab.named import name_of
from grokkit.models.card import ModelCard
from grokkit.models.flops import says_flops
from grokkit.randomness import seeded_aside
from grokkit.registry import find, parts
from grokkit.tasks.card import TaskCard
from grokkit.tasks.table import card_of
from grokkit.tasks.task import Task
from grokkit.testing.costs import Cost
from grokkit.testing.harness import assert_close, assert_same
from grokkit.testing.runs import check_resuming, check_stacking, small_run, what_is_wrong
from grokkit.testing.tasks import small_text
from grokkit.train.config import RunConfig
from grokkit.train.groups import can_share
from grokkit.train.measured import measured
from grokkit.train.problem import build_problem
from grokkit.train.resolve import model_config, task_config
from grokkit.train.setup import build_model, build_task

_ROWS, _TRIES = 12, 5
_ALONE = 1e-5  # relative to the largest output: how far a row's outputs may depend on its place in a batch, by rounding


def check_model(model: str | ModelCard, *, task: str | TaskCard | None = None) -> None:
    """Weights of the seed alone, outputs of each row alone, gradients everywhere, costs, resuming and stacking.

    Args:
        model: as the command line takes it; a name without settings stands for the card's ``smallest``.
        task: to train on. Default: the first registered one, computed and not read from files, that it reads.

    Raises:
        AssertionError: for the first thing that is wrong, in a sentence.
        InputError: if there is no task for it, and none is given.

    >>> check_model("mlp")
    """
    with seeded_aside(0, "check"):
        _check_model(model, task)


def _check_model(model: str | ModelCard, task: str | TaskCard | None) -> None:
    name, given = parse_call(name_of("models", model))
    value = find("models", name).value
    smallest = value.smallest if isinstance(value, ModelCard) else {}
    text = show_call(name, {**smallest, **given})
    config = model_config(text)
    spelt = show_call(config.text, config.settings)
    assert model_config(spelt) == config, f"{text} with all of its settings is another configuration"
    on = small_text(task) if task is not None else _task_for(config.card)
    method = "adamw" if config.card.exact_gradients else "adamw(optimizer=sgd,lr=0.01)"
    target = None if build_task(task_config(on, config)).has_accuracy else 0.01
    run = small_run(method, on, text, target_loss=target)
    problem = build_problem(run)
    _check_weights(run, problem.task, text)
    _check_outputs(run, problem.task, text)
    if config.card.exact_gradients:  # those of other coordinates may be zero for some parameters
        _check_gradients(run, problem.task, text)
    check_resuming(run, f"{text} on {on}")
    if can_share(run):
        _check_stacking(run, f"{text} on {on}")
    else:
        print(f"{text} is not stackable: its runs are trained one by one on a GPU as well")


def _check_stacking(run: RunConfig, what: str) -> None:
    try:
        check_stacking([run.model_copy(update={"seed": seed}) for seed in (0, 1)], what)
    except Exception as error:  # PyTorch may have no rule by which many runs could take a step at once
        remedy = "if it draws at random, keeps buffers, or vmap cannot take it, leave stackable out of its card"
        raise AssertionError(f"{what}: {what_is_wrong(error)}; {remedy}") from error


def _task_for(card: ModelCard) -> str:
    for part in parts("tasks").values():
        if not card_of(part).reads_files:
            text = small_text(part.name)
            if card.can_read(build_task(task_config(text)).inputs):
                return text
    raise InputError(
        f"no registered task is computed and of {' or '.join(card.reads)}; give check_model one with task="
    )


def _check_weights(run: RunConfig, task: Task, text: str) -> None:
    before = torch.get_rng_state()
    first, second, other = (build_model(run.model, task, seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state()), f"{text} moves PyTorch's global generator when it is built"
    assert_same(first.state_dict(), second.state_dict(), f"{text} starts with other weights under the same seed")
    differs = any(not torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True))
    assert differs, f"{text} starts with the same weights under every seed"
    other.load_state_dict(first.state_dict())
    inputs, _ = task.batch(torch.arange(_ROWS))
    with torch.no_grad():
        outputs = [task.forward(model.eval(), inputs) for model in (first, other)]
    assert torch.equal(*outputs), f"{text} keeps something that its state_dict() lacks"


def _check_outputs(run: RunConfig, task: Task, text: str) -> None:
    model = build_model(run.model, task, 0)
    inputs, targets = task.batch(torch.arange(_ROWS))
    with torch.no_grad():
        outputs = task.forward(model.eval(), inputs)
        shape = (*targets.shape, task.classes)
        assert outputs.shape == shape, f"{text} gives outputs of shape {tuple(outputs.shape)}, and not {shape}"
        assert outputs.isfinite().all(), f"{text} gives outputs that are not finite"
        for row in range(_ROWS):
            alone = task.forward(model, inputs[row : row + 1])[0]
            room = f"{text}: row {row} by itself has other outputs than in a batch"
            assert_close(outputs[row], alone, _ALONE, room, float(outputs.abs().max()))
    _check_costs(model, task, inputs.shape[1], text)


def _check_costs(model: nn.Module, task: Task, tokens: int, text: str) -> None:
    """Of a model that counts its own products; those of others are measured."""
    if not says_flops(model):
        return
    forward, step = model.forward_flops(_ROWS, tokens), model.step_flops(_ROWS, tokens)  # pyright: ignore[reportCallIssue]
    for what, count in (("forward_flops", forward), ("step_flops", step)):
        is_count = type(count) is int and count >= 0
        assert is_count, f"{text}: {what} gives {count!r}, and not a whole number >= 0"
    assert step >= forward, f"{text}: a step costs {step}, and its forward pass alone {forward}"
    seen = measured(model, task, torch.arange(_ROWS))
    for what, counted, told in (
        ("forward_flops", seen.forward_flops(_ROWS, tokens), forward),
        ("step_flops", seen.step_flops(_ROWS, tokens), step),
    ):
        assert not Cost(counted, told).is_hidden(), (
            f"{text}: {what} gives {told:,} for {_ROWS} rows, and PyTorch's counter sees {counted:,} in the matrix "
            "products; a run is charged for what it gives: mend the formula, or leave both out, and they are measured"
        )


def _check_gradients(run: RunConfig, task: Task, text: str) -> None:
    """Within a few steps a gradient reaches every parameter: behind a head of zeros it is zero at the first."""
    model = build_model(run.model, task, 0).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    left = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for step in range(_TRIES):
        inputs, targets = task.batch(torch.arange(step, len(task.targets_N), _TRIES))
        optimizer.zero_grad()
        task.loss(task.forward(model, inputs), targets).backward()
        left = {name: p for name, p in left.items() if p.grad is None or not p.grad.any()}
        optimizer.step()
    assert not left, f"{text}: no gradient reaches {next(iter(left))}; take it out, or freeze it"
