"""What a network of somebody's own costs: matrix products as PyTorch's counter sees them, measured once.

The forward and the backward pass of one training batch are counted, and costs grow in proportion to the rows. For our
own networks formulas say the same (:mod:`grokkit.train.costs`).

What the counter knows is a product of matrices, a convolution, or attention. A matrix times a single vector and
``nn.Bilinear`` count as nothing, and so does a kernel of somebody's own without a formula.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokkit.flop_counter import counted_flops
from grokkit.outside import theirs
from grokkit.randomness import seeded_aside
from grokkit.tasks.task import Task

_ROWS = 32  # enough for what costs the same whatever the rows are to matter little, and few enough to be cheap


@dataclass(frozen=True)
class Measured:
    """A network with costs in proportion to the rows; a :class:`grokkit.train.costs.Counted`."""

    forward_a_row: float
    step_a_row: float

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Of a forward pass on ``batch`` rows."""
        return round(batch * self.forward_a_row)

    def step_flops(self, batch: int, tokens: int) -> int:
        """Of a forward and a backward pass."""
        return round(batch * self.step_a_row)


def measured(model: nn.Module, task: Task, rows: Tensor) -> Measured:
    """Count a step on the first of ``rows``, on a copy of ``model``; global generators are left as they were."""
    few = rows[:_ROWS]
    with theirs("copying the network, to count what it costs,"):
        copy = deepcopy(model).train()
    with seeded_aside(0, "cost"), torch.enable_grad():
        inputs, targets = task.batch(few)
        with counted_flops() as step:
            with counted_flops() as forward:
                outputs = task.forward(copy, inputs)
            task.loss(outputs, targets).backward()
    return Measured(forward.get_total_flops() / len(few), step.get_total_flops() / len(few))


def has_flops(model: nn.Module, task: Task, rows: Tensor) -> bool:
    """Whether a step costs any FLOPs: without a product that is counted, nothing can be compared in them."""
    if hasattr(model, "step_flops"):
        return True
    try:
        return measured(model, task, rows).step_a_row > 0
    except Exception:  # somebody's code fails: its runs will say where, so nothing is said here
        return True
