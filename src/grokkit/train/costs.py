"""What a step of a run costs: floating-point operations in the matrix products of model and method, by formula.

    step        model's forward and backward pass on the batch  +  the method's own products
    outer step  the same passes on the outer rows               +  the products of the learning

Two a multiply-add. What works entry by entry counts as no product: activations, norms, softmax, the loss, looking up
embeddings, the moments of an optimizer, a filter of gradients. The numbers describe the method and are the same on
every machine: what tables and shared prefixes save in the models is not subtracted. Evaluations are no part of them.
"""

from __future__ import annotations

from typing import Protocol, cast

from torch import nn

from grokkit.outside import theirs
from grokkit.train.config import MethodConfig, OwnOptimizerConfig
from grokkit.train.doors import doors_of


class Counted(Protocol):
    """What knows the matrix products of its passes: a model of ours, or what was measured of somebody's own."""

    def forward_flops(self, batch: int, tokens: int) -> int: ...
    def step_flops(self, batch: int, tokens: int) -> int: ...


class Costs:
    """Of the steps of one run.

    Args:
        method: what the run is trained by.
        model: in the form that it has before the method's start.
        counted: what knows the costs of ``model``, if it does not know them itself.
    """

    def __init__(self, method: MethodConfig, model: nn.Module, counted: Counted | None = None) -> None:
        self._doors = doors_of(method)
        self._optimizer = method.optimizer
        self._of_learning = 0 if self._doors.bilevel is None else self._doors.bilevel.flops()
        self._measured = counted
        self.reformed(model)

    def reformed(self, model: nn.Module) -> None:
        """Count for ``model`` in the form that it has now: a start gives it other tensors, and merging takes them."""
        self._of_method = self._doors.flops(model)
        own = self._optimizer
        if isinstance(own, OwnOptimizerConfig) and (count := own.card.flops) is not None:
            with theirs(f"flops of {own.name}"):
                self._of_method += count({name: p.shape for name, p in model.named_parameters()}, own.settings)
        self._model = cast("Counted", model) if self._measured is None else self._measured

    def step(self, rows: int, tokens: int) -> int:
        """Of an optimizer step on a batch of ``rows``."""
        return self._model.step_flops(rows, tokens) + self._of_method

    def outer_step(self, rows: int, tokens: int) -> int:
        """Of an outer step on ``rows`` set apart, beside the optimizer step that it comes with."""
        return self._model.step_flops(rows, tokens) + self._of_learning
