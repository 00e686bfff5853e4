"""How far the weights are from where they began, and how long the way was that they took.

Both are of a sketch of all weights: each entry, times a random sign, is added to one of 1,024 random buckets, the same
in every run. The squared length of a sketch is on average that of the weights, with a standard deviation of
√(2/1024) = 4.4 % of it, so that lengths are true to about 2 %. ``travelled`` adds up the straight ways between
evaluations: more of them make it longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from grokkit.probe.contract import Probe, View
from grokkit.probe.tensors import as_real
from grokkit.rng import stream

BUCKETS = 1024


def sketch(weights: Mapping[str, Tensor]) -> Tensor:
    """Of all weights, ``BUCKETS`` float64 numbers."""
    total = torch.zeros(BUCKETS, dtype=torch.float64)
    for name, weight in weights.items():
        entries = as_real(weight.detach().cpu().flatten()).double()
        buckets, signs = _drawn(name, len(entries))
        total.index_add_(0, buckets.long(), entries * signs)
    return total


@lru_cache(maxsize=1024)  # the tensors of a model or two; all runs of a study have the same
def _drawn(name: str, count: int) -> tuple[Tensor, Tensor]:
    """For each entry its bucket and sign, in three bytes: they stay while a process has runs of that model."""
    generator = stream(0, f"sketch of {name}")
    buckets = torch.randint(BUCKETS, (count,), generator=generator).short()
    return buckets, (2 * torch.randint(2, (count,), generator=generator) - 1).char()


def _probe(view: View) -> Mapping[str, Mapping[str, list[Any]]]:
    now, memory = sketch(view.weights), view.memory
    names = sorted(view.weights)
    if memory.get("names") != names:  # the first time, and where the model got another form
        memory |= {"names": names, "start": now.tolist(), "last": now.tolist(), "travelled": 0.0}
    memory["travelled"] += float((now - torch.tensor(memory["last"], dtype=torch.float64)).norm())
    memory["last"] = now.tolist()
    distance = float((now - torch.tensor(memory["start"], dtype=torch.float64)).norm())
    return {"path": {"distance": [distance], "travelled": [memory["travelled"]]}}


PATH = Probe("path", _probe, "distance of the weights from their start, and the length of their way")
