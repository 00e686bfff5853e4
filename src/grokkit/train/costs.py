"""What a step of a run costs: floating-point operations in the matrix products of model and method, by formula.

    step        model's forward and backward pass on the batch  +  the method's own products
    outer step  the same passes on the outer rows               +  the products of the learning

Two a multiply-add. What works entry by entry counts as no product: activations, norms, softmax, the loss, looking up
embeddings, the moments of an optimizer, a filter of gradients. The numbers describe the method and are the same on
every machine: what tables and shared prefixes save in the models is not subtracted. Evaluations are no part of them.
"""

from __future__ import annotations

from torch import nn

from grokkit.models.flops import Counted, Told
from grokkit.train.config import MethodConfig, OwnOptimizerConfig
from grokkit.train.doors import doors_of
from grokkit.train.optimizers import flops_of


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
        self._of_learning = self._doors.outer_flops()
        self._counted = counted
        self.reformed(model)

    def reformed(self, model: nn.Module) -> None:
        """Count for ``model`` in the form that it has now: a start gives it other tensors, and merging takes them."""
        self._of_method = self._doors.flops(model)
        if isinstance(self._optimizer, OwnOptimizerConfig):
            self._of_method += flops_of(self._optimizer, model)
        self._model = Told(model) if self._counted is None else self._counted

    def step(self, rows: int, tokens: int) -> int:
        """Of an optimizer step on a batch of ``rows``."""
        return self._model.step_flops(rows, tokens) + self._of_method

    def outer_step(self, rows: int, tokens: int) -> int:
        """Of an outer step on ``rows`` set apart, beside the optimizer step that it comes with."""
        return self._model.step_flops(rows, tokens) + self._of_learning
