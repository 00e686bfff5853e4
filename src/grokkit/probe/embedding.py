"""What an embedding of the numbers modulo P looks like: its spectrum, its circle, its two principal directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grokkit.errors import InputError
from grokkit.probe.contract import Probe, View
from grokkit.probe.fourier import circle, natural_order, spectrum
from grokkit.probe.projection import pca

_FEWEST = 3  # numbers that have a frequency


def embedding_of_numbers(view: View, fewest: int) -> Tensor | None:
    """The embedding, on the CPU in float64, if its first rows are those of the numbers modulo P.

    None where the task has no modulus, or one below ``fewest``, and where the model, which may be anybody's, has no
    real row for each number, or an embedding that cannot be exchanged.
    """
    modulus = view.task.modulus
    if modulus is None or modulus < fewest:
        return None
    try:
        embedding_VD = view.find_embedding()
    except InputError:
        return None
    if len(embedding_VD) < modulus or embedding_VD.is_complex():
        return None
    return embedding_VD.detach().cpu().double()


def probe_embedding(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    """The tables ``fourier``, ``circle`` and ``pca`` of the embedding of 0…P−1; none where a task has no modulus, or a
    model no embedding of these numbers."""
    task, embedding_VD = view.task, embedding_of_numbers(view, _FEWEST)
    if embedding_VD is None:
        return {}
    numbers_PD = embedding_VD[: task.modulus]
    order = natural_order(task.operators, len(numbers_PD))
    tables = {
        "fourier": spectrum(numbers_PD, order=order),
        "circle": circle(numbers_PD, order=order),
        "pca": pca(numbers_PD),
    }
    return {name: table for name, table in tables.items() if next(iter(table.values()))}


EMBEDDING = Probe("embedding", probe_embedding, "spectrum, circle and principal directions of the numbers' embedding")
