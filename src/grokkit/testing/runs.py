"""What the checks of methods, models and stores share: runs of a second, and what two of them have in common."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.outside import is_our_own, line_of
from grokkit.registry import give
from grokkit.train.config import EvaluationConfig, MethodConfig, RunConfig
from grokkit.train.groups import plan_groups
from grokkit.train.loop import train, train_group
from grokkit.train.record import Run
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_task

TASK, MODEL = "add:11", "fnn(dim=4,width=8,bias=true)"  # an embedding, hidden matrices, a head and vectors
STEPS, EVERY = 40, 5
STACKED = 1e-6
"""Relative, in float64: after so few steps a member and its run alone differ by some 1e-12."""


def small_run(method: str | MethodConfig = "adamw", task: str = TASK, model: str = MODEL, **changes: Any) -> RunConfig:
    """The configuration of a run of a second."""
    chosen = model_config(model)
    settings = {
        "task": task_config(task, chosen),
        "model": chosen,
        "method": method_config(method) if isinstance(method, str) else method,
        "seed": 0,
        "budget": STEPS,
        "batch_size": 16,
        "evaluation": EvaluationConfig(every=EVERY),
    }
    return RunConfig(**{**settings, **changes})


def values_of(run: Run) -> dict[str, list[Any]]:
    """The curves that say how the model does, and not what that took."""
    return {name: values for name, values in run.curves.items() if name != "flops" and not name.endswith("_seconds")}


def _timeless(run: Run) -> dict[str, dict[str, list[Any]]]:
    """The tables without the seconds that something took."""
    return {
        table: {name: values for name, values in columns.items() if "seconds" not in name}
        for table, columns in run.tables.items()
    }


def what_is_wrong(error: Exception) -> str:
    """What a check has found: its own sentence, or what somebody's code raised, and where."""
    is_ours = isinstance(error, InputError) or (isinstance(error, AssertionError) and is_our_own(error))
    return str(error) if is_ours else f"it fails with {line_of(error)}"


class Interrupted(Exception):
    """Ends a run in the middle, as a killed process does."""


def check_resuming(config: RunConfig, what: str) -> None:
    """Saved at every stop, ended half way and gone on with, the run is bit for bit what it is in one piece."""
    whole, steps = train(config), []

    def interrupt(progress: dict[str, Any]) -> None:
        if progress["step"] > config.budget // 2:
            raise Interrupted

    def watch(progress: dict[str, Any]) -> None:
        steps.append(progress["step"])

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        try:
            train(config, report=interrupt, checkpoint=path, checkpoint_seconds=0.0)
        except Interrupted:
            resumed = train(config, report=watch, checkpoint=path)
        else:
            raise AssertionError(f"{what} ended at step {whole.steps}, too early to be interrupted")
    assert steps[0] > config.budget // 2, f"{what} began anew in place of going on from its checkpoint"
    for name, values in values_of(whole).items():
        assert values_of(resumed)[name] == values, f"{what} has another {name} after it was interrupted and resumed"
    assert _timeless(resumed) == _timeless(whole), f"{what} has other tables after it was interrupted and resumed"
    assert resumed.flops == whole.flops, f"{what} costs {resumed.flops} after it was resumed, and not {whole.flops}"


def check_stacking(configs: Sequence[RunConfig], what: str) -> None:
    """In one program the runs are what each is alone, but for rounding."""
    assert plan_groups(configs, "cuda:0") == [list(configs)], f"{what}: its seeds are not put into one group"
    wide = [_in_float64(config) for config in configs]
    with _float64(), warnings.catch_warnings():
        # Slow it may be in a stacked program, and right nevertheless.
        warnings.filterwarnings("ignore", "There is a performance drop")
        for member, config in zip(train_group(wide, device="cpu"), wide, strict=True):
            alone = train(config)
            assert member.flops == alone.flops, f"{what} costs {member.flops} stacked, and {alone.flops} alone"
            for name, expected in values_of(alone).items():
                problem = f"{what}, seed {config.seed}: {name} is another one where seeds are stacked"
                assert len(member.curves[name]) == len(expected), problem
                for got, value in zip(member.curves[name], expected, strict=True):
                    assert (got is None) == (value is None), problem
                    if value is not None:
                        room = STACKED * abs(value) + 1e-9
                        assert abs(got - value) <= room, f"{problem}: {got} in place of {value}"


def _in_float64(config: RunConfig) -> RunConfig:
    """The same run on a task whose numbers are float64, as the weights are; tokens are integers anyway."""
    task = build_task(config.task)
    doubled = {
        field.name: getattr(task, field.name).double()
        for field in fields(task)
        if isinstance(getattr(task, field.name), Tensor) and getattr(task, field.name).is_floating_point()
    }
    if not doubled:
        return config
    card = replace(config.task.card, build=lambda: replace(task, **doubled), digest=None)
    text = give("tasks", "here:in-float64", card, code="")
    changes = {"name": text, "text": text, "settings": {}, "code": ""}
    return config.model_copy(update={"task": config.task.model_copy(update=changes)})


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
