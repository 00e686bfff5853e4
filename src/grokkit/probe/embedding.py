"""What an embedding of the numbers modulo P looks like: its spectrum, its circle, its two principal directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from grokkit.probe.fourier import circle, natural_order, spectrum
from grokkit.probe.projection import pca
from grokkit.tasks import Task

_FEWEST = 3  # numbers that have a frequency


def probe_embedding(task: Task, find_VD: Callable[[], Tensor]) -> Mapping[str, Mapping[str, list[Any]]]:
    """The tables ``fourier``, ``circle`` and ``pca`` of the embedding of 0…P−1; none where a task has no modulus."""
    if task.modulus is None or task.modulus < _FEWEST:
        return {}
    numbers_PD = find_VD()[: task.modulus].detach().cpu()
    order = natural_order(task.operators, task.modulus)
    tables = {
        "fourier": spectrum(numbers_PD, order=order),
        "circle": circle(numbers_PD, order=order),
        "pca": pca(numbers_PD),
    }
    return {name: table for name, table in tables.items() if next(iter(table.values()))}
