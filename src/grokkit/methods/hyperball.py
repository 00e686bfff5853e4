"""Hyperball: every hidden matrix stays on the sphere of its first norm, and each step is a given share of that norm.

    V = W − η·R·u/‖u‖_F,   W ← R·V/‖V‖_F,   R = ‖W‖_F before the first step,

for every hidden matrix W, where u is the step that the optimizer takes off it: of Muon (MuonH) or of Adam (AdamH). Only
the direction of u counts, so the optimizer's learning rate acts on the other parameters alone. A matrix that starts at
zero has no sphere, and takes the optimizer's own steps. η may be a 0-d tensor. Cost a step: five passes over the hidden
matrices, and one copy of them.

Reference: Hyperball optimization, arXiv 2606.16899.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.precision import accumulator, norms
from grokkit.methods.settings import Setting, like, positive
from grokkit.shards import local
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform, noted


def hyperball(rate: float = 0.03) -> WeightTransform:
    """Let each hidden matrix take steps of ``rate`` times its first norm, and stay at that norm.

    Args:
        rate: η, > 0. Default 0.03 (ours, about what Muon's and AdamW's first steps are; not tuned).

    Raises:
        InputError: if rate is not a finite number above 0.

    >>> import torch
    >>> ball = hyperball(rate=0.75)
    >>> ball.update({"w": torch.tensor([[4.0, 9.0]])}, ball.init({"w": torch.tensor([[4.0, 0.0]])}))[0]["w"]
    tensor([[3.2000, 2.4000]])
    """
    return WeightTransform.of(_Hyperball(positive("rate", rate, 0.03)), classes=("hidden",))


class _OnSphere(NamedTuple):
    radii: dict[str, Tensor]
    weights: dict[str, Tensor]
    """After the last step."""


@dataclass(frozen=True)
class _Hyperball:
    rate: Setting

    def init(self, params: Params) -> _OnSphere:
        radii = dict(zip(params, norms(list(params.values())), strict=True))
        return _OnSphere(radii, noted({}, params))

    def before(self, params: Params, state: _OnSphere) -> _OnSphere:
        return state._replace(weights=noted(state.weights, params))

    def update(self, params: Params, state: _OnSphere) -> tuple[dict[str, Tensor], _OnSphere]:
        new = self._moved(params, state.weights, state.radii, params)
        return new, state._replace(weights=noted(state.weights, new))

    def update_(self, params: Params, state: _OnSphere) -> _OnSphere:
        here = {name: local(p) for name, p in params.items()}
        before = {name: local(state.weights[name]) for name in params}
        for name, p in self._moved(here, before, state.radii, params).items():
            here[name].copy_(p)
            before[name].copy_(p)
        return state

    def _moved(self, params: Params, before: Params, radii: Mapping[str, Tensor], owners: Params) -> dict[str, Tensor]:
        """The new weights; of shards of ``owners``, or of the whole tensors that these are."""
        whole = list(owners.values())
        wide = {name: before[name].to(accumulator(p.dtype)) for name, p in params.items()}
        steps = [p - wide[name] for name, p in params.items()]
        aside = []
        for name, step, length in zip(params, steps, norms(steps, whole), strict=True):
            share = like(step, self.rate) * radii[name] / (length + (length == 0))
            aside.append(wide[name] + share * step)
        new = {}
        for name, v, length in zip(params, aside, norms(aside, whole), strict=True):
            on_sphere = radii[name] / (length + (length == 0)) * v
            new[name] = torch.where(radii[name] > 0, on_sphere.to(params[name].dtype), params[name])
        return new


HYPERBALL = MethodCard(
    name="hyperball",
    summary="Keeps every hidden matrix at its first norm, and makes each step a given share of that.",
    equations="V = W − η·R·u/‖u‖_F,  W ← R·V/‖V‖_F,  R = ‖W‖_F at the start, u the optimizer's step, for every hidden "
    "matrix",
    cost="five passes over the hidden matrices a step; one copy of them",
    base_source="the adamw arm's, unless another part states one",
    weights=hyperball,
    space="rate=3e-3..0.3 log",  # a decade to both sides of ours
    smallest={"rate": 0.1},
    departures="The rate does not warm up. A decay that the optimizer has for the hidden matrices is part of its step; "
    "write muon(wd=0)+hyperball for MuonH.",
    citation="""@misc{arxiv2606hyperball,
  title = {Hyperball optimization, arXiv 2606.16899},
  year = {2026},
  eprint = {2606.16899},
  archivePrefix = {arXiv}
}""",
)
