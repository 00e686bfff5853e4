"""Does an optimizer keep what the lab relies on? The same checks for a card and for a bare function that makes one."""

from __future__ import annotations

from typing import Any

from grokkit.call_syntax import parse_call, show_call
from grokkit.lab.named import name_of
from grokkit.optimizers.contract import card_of
from grokkit.randomness import seeded_aside
from grokkit.registry import find
from grokkit.study.spaces import searched
from grokkit.testing.costs import STEPS, cost_of_steps
from grokkit.testing.runs import TASK, check_resuming, small_run, what_is_wrong
from grokkit.train.loop import begin_alone


def check_optimizer(optimizer: Any) -> None:
    """It trains every parameter, costs what it declares, and goes on bit for bit from a checkpoint.

    Args:
        optimizer: as ``optimizer=`` takes it, ``lion``, ``lion.py:LION`` or ``torch.optim:Adagrad(lr=0.01)``, or a
            :class:`grokkit.optimizers.OptimizerCard`, or a function that makes one of the named parameters.

    Raises:
        AssertionError: for the first thing that is wrong, in a sentence.

    >>> check_optimizer("sgd")
    """
    text = name_of("optimizers", optimizer)
    try:
        with seeded_aside(0, "check"):
            _check_optimizer(text)
    except Exception as error:  # whatever somebody's code raises is what is wrong
        raise AssertionError(f"{text}: {what_is_wrong(error)}") from error


def _check_optimizer(text: str) -> None:
    method = show_call("adamw", {"optimizer": text})
    run = small_run(method)
    if card_of(find("optimizers", parse_call(text)[0])).space:
        searched(method, TASK, {}, {})  # which refuses one that cannot be searched
    engine = begin_alone(run)
    before = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    engine.train_to(STEPS)
    for name, p in engine.model.named_parameters():
        assert not p.equal(before[name]), f"{name} is where it was after {STEPS} steps; train every parameter"
    bare = cost_of_steps(small_run("adamw"))
    own = cost_of_steps(run) - bare
    assert not own.is_hidden(bare.counted), (
        f"{STEPS} steps of it have {own.counted:,} floating-point operations in matrix products of its own, as PyTorch "
        f"counts, and its card declares {own.declared:,}; a run is charged for what is declared: give them by "
        "OptimizerCard.flops, a function of the parameters' shapes by name and of the settings"
    )
    try:
        check_resuming(run, "a run with it")
    except AssertionError as error:
        raise AssertionError(
            f"{error}; keep all that changes from step to step in self.state, as tensors and numbers, or as numbers in "
            "the groups: that is what state_dict() and a checkpoint hold"
        ) from error
