"""A step as one CUDA graph: what its kernels are is recorded once and played again, without Python in between.

A graph reads and writes the tensors it was recorded with, so the function must find its inputs, and leave its
results, in tensors that stay where they are. It may not wait for the device, nor branch on what it computes.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Generic, TypeVar

import torch

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# PyTorch's documentation demands some calls on a side stream before a capture: libraries set themselves up in
# their first calls, in ways that cannot be recorded. Its own make_graphed_callables takes three.
_WARM_UP = 3


class Graphed(Generic[K, T]):
    """``function``, recorded for each ``key`` of call, its argument; on a CPU ``function`` itself.

    The warming-up calls and the one after the capture do the function's work like any other, so calling this
    n times is calling the function n times. What a call returns is overwritten by the next, of any key: they
    share their memory. Call :meth:`release` in the end.
    """

    def __init__(self, function: Callable[[K], T], device: torch.device) -> None:
        self._function: Callable[[K], T] | None = function
        self._device = device
        self._records = device.type == "cuda"
        self._calls: Counter[K] = Counter()
        self._recorded: dict[K, tuple[torch.cuda.CUDAGraph, T]] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._records else None

    def __call__(self, key: K) -> T:
        assert self._function is not None, "released"
        if not self._records:
            return self._function(key)
        self._calls[key] += 1
        if self._calls[key] <= _WARM_UP:
            return self._warm_up(self._function, key)
        if key not in self._recorded:
            self._recorded[key] = self._record(self._function, key)
        graph, result = self._recorded[key]
        graph.replay()
        return result

    def release(self) -> None:
        """Give the graphs and their memory back now.

        The owner of the function most often owns this too. Such a circle is only found by the garbage collector, at any
        time; and to free a graph while another one is recorded makes that record invalid.
        """
        self._function = None
        for graph, _ in self._recorded.values():
            graph.reset()
        self._recorded.clear()

    def _warm_up(self, function: Callable[[K], T], key: K) -> T:
        side = _side_stream(self._device)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            result = function(key)
        torch.cuda.current_stream().wait_stream(side)
        return result

    def _record(self, function: Callable[[K], T], key: K) -> tuple[torch.cuda.CUDAGraph, T]:
        graph = torch.cuda.CUDAGraph()
        with _nothing_collected(), torch.cuda.graph(graph, pool=self._pool):
            result = function(key)  # recorded, not executed
        return graph, result


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for each device, as long as the process lives: cuBLAS keeps 64 MB for every stream it has worked on."""
    return torch.cuda.Stream(device)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Inside, the garbage collector is off, so that it frees no other graph; what it would free is freed before."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
