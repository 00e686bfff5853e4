"""Freeze: some steps after the rows are fitted, embedding and head stay as they are.

From the step ``wait`` after the first in which at least the share a of the batch's rows was right, every embedding and
head is put back after each step. What is fitted there has been read off by the layers between, and a drift of one of
them against these costs accuracy late in a run. Training rows alone decide: they are fitted before others are, so the
wait must outlast the delay between both. A run is trained alone. Cost a step: three passes over these tensors, and a
copy of them.

Reference: arXiv 2608.07436, which freezes where the circuit has formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.settings import Setting, not_negative, whole
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform, noted


def freeze(at: float = 0.99, wait: int = 500) -> WeightTransform:
    """Freeze embedding and head.

    Args:
        at: a, >= 0; above 1 it never happens. Default 0.99 (ours, not tuned).
        wait: steps from then on in which they still learn, >= 0. Default 500 (ours, not tuned).

    Raises:
        InputError: if a value is outside its range.
    """
    faces = _Freeze(not_negative("at", at, 0.99), whole("wait", wait, 0, 500))
    return WeightTransform.of(faces, classes=("embedding", "head"), see=faces.see)


class _Seen(NamedTuple):
    steps: Tensor
    """Since the rows were fitted, that step included; 0 before."""
    weights: dict[str, Tensor]
    """After the last step."""


@dataclass(frozen=True)
class _Freeze:
    at: Setting
    wait: int

    def init(self, params: Params) -> _Seen:
        return _Seen(torch.zeros((), dtype=torch.int64), noted({}, params))

    def see(self, state: _Seen, share: Tensor) -> _Seen:
        has_begun = (state.steps > 0) | (share >= self.at).to(state.steps.device)
        return state._replace(steps=state.steps + has_begun)

    def before(self, params: Params, state: _Seen) -> _Seen:
        return state._replace(weights=noted(state.weights, params))

    def update(self, params: Params, state: _Seen) -> tuple[dict[str, Tensor], _Seen]:
        is_frozen = {name: (state.steps > self.wait).to(p.device) for name, p in params.items()}
        new = {name: torch.where(is_frozen[name], state.weights[name], p) for name, p in params.items()}
        return new, state._replace(weights=noted(state.weights, new))


FREEZE = MethodCard(
    name="freeze",
    summary="Lets embedding and head stay as they are some steps after the rows are fitted.",
    equations="E, W_head ← their values before the step, from `wait` steps after the batch's accuracy was a",
    cost="three passes over embedding and head a step; one copy of them",
    base_source="the adamw arm's, unless another part states one",
    weights=freeze,
    space="wait=0..2000",  # from at once to beyond most delays of a tuned AdamW
    smallest={"at": 0.0, "wait": 5},
    off={"at": 2.0},
    departures="The paper freezes where the circuit has formed, by the test part; here training rows decide.",
    citation="""@misc{muon2026grokking,
  title = {arXiv 2608.07436},
  year = {2026},
  eprint = {2608.07436},
  archivePrefix = {arXiv}
}""",
)
