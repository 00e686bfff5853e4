"""What an embedding of the numbers modulo P looks like: its spectrum, its circle, its two principal directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.probe.contract import Probe, View
from grokkit.probe.fourier import circle, natural_order, spectrum
from grokkit.probe.projection import pca

_FEWEST = 3  # numbers that have a frequency


def probe_embedding(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    """The tables ``fourier``, ``circle`` and ``pca`` of the embedding of 0…P−1; none where a task has no modulus."""
    task = view.task
    if task.modulus is None or task.modulus < _FEWEST:
        return {}
    numbers_PD = view.find_embedding()[: task.modulus].detach().cpu()
    order = natural_order(task.operators, task.modulus)
    tables = {
        "fourier": spectrum(numbers_PD, order=order),
        "circle": circle(numbers_PD, order=order),
        "pca": pca(numbers_PD),
    }
    return {name: table for name, table in tables.items() if next(iter(table.values()))}


EMBEDDING = Probe("embedding", probe_embedding, "spectrum, circle and principal directions of the numbers' embedding")
