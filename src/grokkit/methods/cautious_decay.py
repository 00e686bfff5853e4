"""Cautious decay: a weight decays only where the optimizer's step already brings it nearer to zero.

w ← w − r·1[u·w > 0]·w entry by entry after the step, u = w_before − w the step that was taken. A decay that works
against the step is left out, so that it never fights the loss. r is the product of a learning rate and a decay; a decay
of the optimizer's own is best 0, and is by default. r may be a 0-d tensor. Cost a step: four passes over the weights,
and a copy of them.

Reference: "Cautious Weight Decay", 2025, arXiv 2510.12402.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.baselines import ADAMW
from grokkit.methods.contract import MethodCard
from grokkit.methods.settings import Setting, like, number
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform, noted


def cautious_decay(rate: float = 3e-3) -> WeightTransform:
    """Let weights decay where the step brings them nearer to zero.

    Args:
        rate: r = η·λ, 0 <= r < 1. Default 0.003 (the adamw arm's learning rate times its decay).

    Raises:
        InputError: if rate is outside its range.

    >>> import torch
    >>> decay = cautious_decay(rate=0.5)
    >>> decay.update({"w": torch.tensor([1.0, 2.0])}, decay.init({"w": torch.tensor([1.5, 1.5])}))[0]["w"]
    tensor([0.5000, 2.0000])
    """
    allowed = "a number of at least 0 and below 1"
    faces = _Cautious(number("rate", rate, lambda v: 0.0 <= v < 1.0, allowed, 0.003))
    return WeightTransform.of(faces)


@dataclass(frozen=True)
class _Cautious:
    rate: Setting

    def init(self, params: Params) -> dict[str, Tensor]:
        return noted({}, params)

    def before(self, params: Params, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return noted(state, params)

    def update(self, params: Params, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        new = {name: self._decayed(p, state[name]) for name, p in params.items()}
        return new, noted(state, new)

    def _decayed(self, p: Tensor, before: Tensor) -> Tensor:
        if p.is_complex():  # the entries are real and imaginary parts
            return torch.view_as_complex(self._decayed(torch.view_as_real(p), torch.view_as_real(before)))
        towards_zero = (before - p).sign() * p.sign() > 0  # the product itself may be too small for its dtype
        return p - like(p, self.rate) * towards_zero * p


CAUTIOUS_DECAY = MethodCard(
    name="cautious-decay",
    summary="Lets a weight decay only where the step already brings it nearer to zero.",
    equations="w ← w − r·1[u·w > 0]·w, u the step taken off w, after the step",
    cost="four passes over the weights a step; one copy of them",
    base={**ADAMW.base, "wd": 0.0},
    base_source="the adamw arm's without its decay, whose place this takes",
    weights=cautious_decay,
    space="rate=1e-4..3e-2 log, lr=3e-4..3e-2 log",  # adamw's decay times its rate, and that rate
    smallest={"rate": 0.03},
    off={"rate": 0.0},
    departures="The decay is decided after the step, so it goes with any optimizer; its rate does not warm up.",
    citation="""@article{chen2025cautious,
  title = {Cautious Weight Decay},
  author = {Chen, Lizhang and others},
  year = {2025},
  eprint = {2510.12402},
  archivePrefix = {arXiv}
}""",
)
