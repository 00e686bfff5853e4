"""What a network costs in a run: by its own formulas, or measured on training rows (:mod:`grokkit.models.flops`)."""

from __future__ import annotations

from torch import Tensor, nn

from grokkit.models.flops import MEASURED_ROWS, Counted, Measured, Told, says_flops
from grokkit.models.flops import measured as measured_on
from grokkit.outside import theirs
from grokkit.randomness import seeded_aside
from grokkit.tasks.task import Task


def counted(model: nn.Module, task: Task, rows: Tensor) -> Counted:
    """What knows the costs of ``model`` on batches of ``rows``.

    Raises:
        InputError: if it says itself what it costs, and that is no cost.
    """
    if not says_flops(model):
        return measured(model, task, rows)
    told = Told(model)
    told.step_flops(len(rows), task.inputs_NT.shape[1])  # so that it is refused before the first step, not after it
    return told


def measured(model: nn.Module, task: Task, rows: Tensor) -> Measured:
    """Count a step on the first of ``rows``, on a copy of ``model``; global generators are left as they were.

    Raises:
        InputError: if the code of the network, the data or the loss fails.
    """
    few = rows[:MEASURED_ROWS]
    # It may be the first step that anybody takes with them.
    with theirs(f"a step on {len(few)} training rows, the network and the loss of what it gives,"):
        with seeded_aside(0, "cost"):
            inputs, targets = task.batch(few)
        return measured_on(
            model, len(few), lambda copy: task.forward(copy, inputs), lambda outputs: task.loss(outputs, targets)
        )


def has_flops(model: nn.Module, task: Task, rows: Tensor) -> bool:
    """Whether a step costs any FLOPs: without a product that is counted, nothing can be compared in them.

    Raises:
        InputError: as :func:`counted`.
    """
    if says_flops(model):
        counted(model, task, rows)
        return True
    try:
        return measured(model, task, rows).step_a_row > 0
    except Exception:  # somebody's code fails: its runs will say where, so nothing is said here
        return True
