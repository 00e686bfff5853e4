"""A transform whose optimizer never steps is never applied. That cannot be known when it is attached; it shows.

Some optimizers step without their ``step()``: with calls of their own, or within the backward pass. Then gradients
come, and are cleared, and come again, and the hook that would filter them does not run. Others move their parameters by
gradients that they keep elsewhere than in ``.grad``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from grokkit.shards import is_distributed

_TEN = 10


class Unapplied:
    """Warns once, before the first step that is filtered.

    It warns of ten backward passes each of which found the gradient cleared, or of ten steps that found no gradient and
    yet moved the parameters. Only the smallest parameter is watched. Accumulating a gradient over any number of passes
    does not clear it, and passes whose gradient overflowed do not count, since ``GradScaler`` leaves out the step.
    """

    def __init__(self, optimizer: str, params: Iterable[Tensor]) -> None:
        self._optimizer = optimizer
        self._passes = self._steps = 0
        self._last: tuple[Any, int] = (_none, 0)  # the gradient of the last pass, and its version then
        self._before: Any = None  # the parameter at the first step without gradients
        self._param: Any = _none
        self._hook: Any = None
        self._node: Any = None  # on the way into .grad; PyTorch forgets the hook when nobody holds this
        watched = [p for p in params if _can_be_watched(p)]
        if watched:
            self._watch(min(watched, key=Tensor.numel))

    def step_without_gradients(self) -> None:
        """A step found no gradient in any parameter."""
        p = self._param()
        if p is None:
            return
        self._steps += 1
        if self._before is None:
            self._before = p.detach().clone()
        elif self._steps > _TEN and not torch.equal(self._before, p):
            self._warn(f"its step() found no gradient in any .grad, {_TEN} times, and yet moved the parameters")

    def stop(self) -> None:
        """A step was filtered, or nothing is attached any more."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._node = self._before = None
        self._param = _none

    def _watch(self, p: Tensor) -> None:
        self._param = ref(p)
        with torch.inference_mode(False):
            self._node = torch.autograd.graph.get_gradient_edge(p).node
        me = ref(self)

        def before_accumulating(incoming: tuple[Tensor | None, ...]) -> None:
            self = me()
            if self is not None and (p := self._param()) is not None:
                self._passed(p.grad, incoming[0])

        self._hook = self._node.register_prehook(before_accumulating)

    @torch.no_grad()
    def _passed(self, grad: Tensor | None, incoming: Tensor | None) -> None:
        if incoming is None or (incoming.is_cuda and torch.cuda.is_current_stream_capturing()):
            return
        if (grad is None or self._is_cleared(grad)) and _is_finite(incoming):
            self._passes += 1
        self._last = (_none, 0) if grad is None else (ref(grad), grad._version)
        if self._passes >= _TEN:
            self._warn(f"{_TEN} backward passes found the gradient cleared, and its step() has not run")

    def _is_cleared(self, grad: Tensor) -> bool:
        """Whether it was set to zero since the last pass. To add to it is one change in place, and this another."""
        last, version = self._last
        changed = last() is grad and grad._version > version + 1
        return changed and grad.layout is torch.strided and not bool(grad.any())

    def _warn(self, what: str) -> None:
        self.stop()
        warnings.warn(
            f"the transform attached to {self._optimizer} has never been applied: {what}; attach() to the optimizer "
            "whose step() takes the gradients, or detach()",
            stacklevel=2,
        )


def _is_finite(grad: Tensor) -> bool:
    return grad.layout is not torch.strided or bool(grad.isfinite().all())


def _none() -> None:
    return None


def _can_be_watched(p: Tensor) -> bool:
    """Lazy parameters have no shape, shards no accumulation of their own, and inference tensors no versions."""
    is_lazy = torch.nn.parameter.is_lazy(p)
    return p.requires_grad and p.is_leaf and not (is_lazy or is_distributed(p) or p.is_inference())
