"""How large a model would be, before any memory is taken for it: its outline on PyTorch's device without memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils._pytree import tree_leaves

from grokkit.errors import InputError
from grokkit.models.card import ModelCard, TaskShape

MOST_TENSORS = 10_000
"""Parameters that are tensors of their own: every step goes through all of them one by one."""

_GIB = 2**30


def gib(size: float) -> str:
    """Bytes as people say them.

    >>> gib(3 * 2**29), gib(2**43)
    ('1.5 GiB', '8,192 GiB')
    """
    return f"{size / _GIB:,.1f} GiB" if size < 100 * _GIB else f"{size / _GIB:,.0f} GiB"


def room() -> int:
    """Bytes of memory that this process could ever have: the machine's, swap included, or what it is limited to."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _in_kib("SwapTotal")]
    with suppress(OSError, ValueError):  # no such file, or the word "max"
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def free() -> int:
    """Bytes of memory that nobody needs now; where the system does not tell, all that there are."""
    return _in_kib("MemAvailable") + _in_kib("SwapFree") or room()


def _in_kib(name: str) -> int:
    with suppress(OSError, ValueError, IndexError):
        (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith(f"{name}:")]
        return 1024 * int(line.split()[1])
    return 0


def size_of(tensors: Any) -> int:
    """Bytes of all tensors in a structure."""
    leaves = tree_leaves(tensors)
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, torch.Tensor))


def check_fits(what: str, size: int, there_are: int | None = None) -> None:
    """Refuse ``what``, in words, which needs ``size`` bytes at the least, if there are fewer there."""
    most = room() if there_are is None else there_are
    if size > most:
        raise InputError(
            f"{what} needs at least {gib(size)} of memory, and there are {gib(most)}; take a smaller model or task, or "
            "a smaller --batch-size"
        )


def outline(card: ModelCard, shape: TaskShape, settings: Mapping[str, Any]) -> nn.Module:
    """The model without memory: its modules, and its parameters' shapes.

    Raises:
        InputError: as :meth:`ModelCard.make` does, and as soon as weights and their gradients, each as large, are more
            than the machine's memory, or for more than 10,000 parameters.
    """
    with torch.device("meta"), _counted(card.name, room()):
        return card.make(shape, settings, 0)


@contextmanager
def _counted(name: str, most: int) -> Iterator[None]:
    size = count = 0

    def add(module: nn.Module, _: str, parameter: nn.Parameter | None) -> None:
        nonlocal size, count
        if parameter is None:
            return
        size, count = size + 2 * size_of(parameter), count + 1
        if size > most:
            raise InputError(
                f"{name} does not fit: its weights and their gradients take more than {gib(size)}, and there are "
                f"{gib(most)} of memory; take a smaller one"
            )
        if count > MOST_TENSORS:
            raise InputError(f"{name} has more than {MOST_TENSORS:,} parameters, each a tensor; take a smaller depth")

    hook = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()
