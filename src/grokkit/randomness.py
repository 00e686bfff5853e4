"""The global random generators of a process: PyTorch's, NumPy's and Python's.

Nothing of ours draws from them (see :mod:`grokkit.rng`), but somebody's network, data or method may: dropout does. So a
run seeds them, its checkpoints hold them, and whoever trains in their own process has their state back afterwards. An
evaluation, its probes included, draws from generators that it seeds itself, always alike: when a run is evaluated, and
what is looked at, has no influence on it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokkit.rng import stream


class GlobalState(NamedTuple):
    """Tensors, and what else there is, as JSON."""

    tensors: dict[str, Tensor]
    others: dict[str, Any]


def seed_globals(seed: int, name: str = "global") -> None:
    """Seed all of them from a stream of ``seed``."""
    number = stream(seed, name).initial_seed()
    if torch.cuda.is_available():
        torch.manual_seed(number)  # of all devices
    else:  # That would note a traceback for each kind of device that is not there, and keep all of them.
        torch.default_generator.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


def global_state() -> GlobalState:
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "python": torch.tensor(words, dtype=torch.int64),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return GlobalState(tensors, {"numpy": [kind, place, has_gauss, cached], "python": [version, gauss]})


def set_global_state(state: GlobalState) -> None:
    tensors, others = state
    torch.set_rng_state(tensors["torch"].cpu())
    kind, place, has_gauss, cached = others["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), place, has_gauss, cached))
    version, gauss = others["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"].cpu())


@contextmanager
def generators_restored(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Afterwards the global generators are as they were before, and so are those of ``devices``, all of CUDA."""
    numpys, pythons = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)


@contextmanager
def seeded_aside(seed: int, name: str) -> Iterator[None]:
    """Seed the global generators for a while, and put them back as they were."""
    before = global_state()
    seed_globals(seed, name)
    try:
        yield
    finally:
        set_global_state(before)
