"""What a network is right for with nothing of its embedding but a few frequencies, and what without these.

A network that has learned a group's operation by its rotations needs only the frequencies on whose circles it computes
(:mod:`grokkit.probe.fourier`); one that has fitted rows needs the rest. The *key* frequencies are the five with the
largest shares of the embedding's spectrum. The columns of restricted.parquet are accuracies on a few held-out rows,
always the same:

    restricted_accuracy   with the mean and the key frequencies alone in the rows of the numbers
    excluded_accuracy     with all but the key frequencies
    key_share             of the key frequencies in the spectrum

It is of the model as it stands, with another embedding; nothing is trained. The measures are those of Nanda et al.,
"Progress measures for grokking via mechanistic interpretability", ICLR 2023, arXiv 2301.05217, who restrict the outputs
over all pairs of numbers, and whose networks have five key frequencies, too.

Shapes: V tokens, P numbers, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from grokkit.probe.contract import Probe, View
from grokkit.probe.embedding import embedding_of_numbers
from grokkit.probe.fourier import dominant_frequencies, natural_order, restricted, spectrum

KEYS = 5
_FEWEST = 2 * KEYS + 3  # numbers among whose frequencies five are a choice


def _probe(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    task, embedding_VD = view.task, embedding_of_numbers(view, _FEWEST)
    if embedding_VD is None:
        return {}
    numbers_PD = embedding_VD[: task.modulus]
    order = natural_order(task.operators, len(numbers_PD))
    found = spectrum(numbers_PD, order=order)
    if not (keys := dominant_frequencies(found, KEYS)):
        return {}
    with_keys_PD = restricted(numbers_PD, keys, order=order)
    without_PD = numbers_PD - with_keys_PD + restricted(numbers_PD, [], order=order)
    accuracies = [
        view.accuracy_with(torch.cat([rows_PD, embedding_VD[task.modulus :]])) for rows_PD in (with_keys_PD, without_PD)
    ]
    if None in accuracies:
        return {}
    share = sum(found["share"][k - 1] for k in keys)
    with_keys, without = accuracies
    row = {"restricted_accuracy": [with_keys], "excluded_accuracy": [without], "key_share": [share]}
    return {"restricted": row}


RESTRICTED = Probe("restricted", _probe, "held-out accuracy with an embedding of five frequencies, and without them")
