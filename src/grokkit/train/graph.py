"""A step as one CUDA graph: what its kernels are is recorded once and played again, without Python in between.

A graph reads and writes the tensors it was recorded with, so the function must find its inputs, and leave its
results, in tensors that stay where they are. It may not wait for the device, nor branch on what it computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# PyTorch's documentation demands some calls on a side stream before a capture: libraries set themselves up in
# their first calls, in ways that cannot be recorded. Its own make_graphed_callables takes three.
_WARM_UP = 3


class Graphed(Generic[K, T]):
    """``function``, recorded for each ``kind`` of call, its argument; on a CPU ``function`` itself.

    The warming-up calls and the one after the capture do the function's work like any other, so calling this
    n times is calling the function n times. What a call returns is overwritten by the next, of any kind: they
    share their memory.
    """

    def __init__(self, function: Callable[[K], T], device: torch.device) -> None:
        self._function = function
        self._records = device.type == "cuda"
        self._calls: Counter[K] = Counter()
        self._recorded: dict[K, tuple[torch.cuda.CUDAGraph, T]] = {}
        self._side = torch.cuda.Stream(device) if self._records else None
        self._pool = torch.cuda.graph_pool_handle() if self._records else None

    def __call__(self, kind: K) -> T:
        if not self._records:
            return self._function(kind)
        self._calls[kind] += 1
        if self._calls[kind] <= _WARM_UP:
            return self._warm_up(kind)
        if kind not in self._recorded:
            self._recorded[kind] = self._record(kind)
        graph, result = self._recorded[kind]
        graph.replay()
        return result

    def _warm_up(self, kind: K) -> T:
        assert self._side is not None
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            result = self._function(kind)
        torch.cuda.current_stream().wait_stream(self._side)
        return result

    def _record(self, kind: K) -> tuple[torch.cuda.CUDAGraph, T]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = self._function(kind)  # recorded, not executed
        return graph, result
