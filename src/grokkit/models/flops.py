"""What the passes of a network cost: as its own formulas say, or measured once, of one that has none.

Measured are the matrix products that PyTorch's counter sees in the forward and the backward pass of a few rows, and
costs grow in proportion to the rows. For our own networks formulas say the same (:class:`grokkit.models.Model`).

What the counter knows is a product of matrices, a convolution, or attention. A matrix times a single vector and
``nn.Bilinear`` count as nothing, and so does a kernel of somebody's own without a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grokkit.errors import InputError, shown
from grokkit.flop_counter import counted_flops
from grokkit.outside import theirs
from grokkit.randomness import seeded_aside

MEASURED_ROWS = 32  # enough for what costs the same whatever the rows are to matter little, and few enough to be cheap

_FORMULAS = ("forward_flops", "step_flops")


class Counted(Protocol):
    """What knows the matrix products of a network's passes: :class:`Told`, or :class:`Measured`."""

    def forward_flops(self, batch: int, tokens: int) -> int: ...
    def step_flops(self, batch: int, tokens: int) -> int: ...


def says_flops(model: nn.Module) -> bool:
    """Whether it has formulas of its own, for both passes."""
    return all(callable(getattr(model, name, None)) for name in _FORMULAS)


@dataclass(frozen=True)
class Told:
    """By the network's own formulas, of which every result is checked: it is charged to a run."""

    model: nn.Module

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Of a forward pass on ``batch`` rows of ``tokens`` places."""
        return self._of("forward_flops", batch, tokens)

    def step_flops(self, batch: int, tokens: int) -> int:
        """Of a forward and a backward pass."""
        return self._of("step_flops", batch, tokens)

    def _of(self, name: str, batch: int, tokens: int) -> int:
        what = f"{name} of the network"
        formula: Any = getattr(self.model, name)
        with theirs(what):
            count = formula(batch, tokens)
        return checked_flops(what, count)


@dataclass(frozen=True)
class Measured:
    """In proportion to the rows."""

    forward_a_row: float
    step_a_row: float

    def forward_flops(self, batch: int, tokens: int) -> int:
        """Of a forward pass on ``batch`` rows."""
        return round(batch * self.forward_a_row)

    def step_flops(self, batch: int, tokens: int) -> int:
        """Of a forward and a backward pass."""
        return round(batch * self.step_a_row)


def counted(model: nn.Module, rows: int, forward: Callable[[nn.Module], Any], loss: Callable[[Any], Tensor]) -> Counted:
    """What knows the costs of ``model``, which may be somebody's own and not say any; arguments as :func:`measured`."""
    return Told(model) if says_flops(model) else measured(model, rows, forward, loss)


def measured(
    model: nn.Module, rows: int, forward: Callable[[nn.Module], Any], loss: Callable[[Any], Tensor]
) -> Measured:
    """Count a step on ``rows`` rows, on a copy of ``model``; global generators are left as they were.

    Args:
        model: stays as it is.
        rows: that ``forward`` takes, e.g. :data:`MEASURED_ROWS`.
        forward: the outputs of a model on them.
        loss: of these outputs.
    """
    with theirs("copying the network, to count what it costs,"):
        copy = deepcopy(model).train()
    with seeded_aside(0, "cost"), torch.enable_grad(), counted_flops() as step:
        with counted_flops() as first:
            outputs = forward(copy)
        loss(outputs).backward()
    return Measured(first.get_total_flops() / rows, step.get_total_flops() / rows)


def checked_flops(what: str, count: object) -> int:
    """``count``, which ``what`` says that something costs: a float would end a run that is finished, where its costs
    are written down.

    Raises:
        InputError: if it is no whole number >= 0.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise InputError(f"the {what} are {shown(count)}; they must be a whole number, 0 or more")
    return count
