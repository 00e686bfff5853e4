"""Norm held: after each step every hidden matrix is put back to the Frobenius norm that it started with.

W ← W + s·(ρ·R·W/‖W‖_F − W), R = ‖W‖_F before the first step, s = ρ = 1 by default. Directions are left to the
optimizer, and nothing to a decay. A matrix that starts at zero could never leave it: its norm may grow up to R = √(m/3)
for m rows, that of PyTorch's start for its shape, and is held there. Embeddings, head and vectors stay as they are. ρ
and s may be 0-d tensors. Cost a step: two passes over the hidden matrices, no memory but a number each.

Reference: Hyperball, arXiv 2606.16899, for s = ρ = 1; Liu, Michaud & Tegmark, "Omnigrok", ICLR 2023, arXiv 2210.01117,
for the norm ρ·R, there of all weights together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.precision import accumulator, norms
from grokkit.methods.settings import Setting, like, number, positive
from grokkit.shards import local
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform


def norm_held(ratio: float = 1.0, share: float = 1.0) -> WeightTransform:
    """Hold the Frobenius norm of each hidden matrix at ``ratio`` times what it started with.

    That of a matrix that starts at zero grows up to ``ratio`` times that of PyTorch's start for its shape.

    Args:
        ratio: ρ, > 0. Default 1.0 (Hyperball).
        share: s, 0 <= s <= 1, how much of the way back each step goes. Default 1.0: all of it (Hyperball).

    Raises:
        InputError: if a value is outside its range.

    >>> import torch
    >>> held = norm_held()
    >>> held.update({"w": torch.tensor([[0.0, 2.0]])}, held.init({"w": torch.tensor([[3.0, 4.0]])}))[0]["w"]
    tensor([[0., 5.]])
    """
    within = number("share", share, lambda v: 0.0 <= v <= 1.0, "a number from 0 to 1", 1.0)
    faces = _NormHeld(positive("ratio", ratio, 1.0), within)
    return WeightTransform.of(faces, classes=("hidden",))


@dataclass(frozen=True)
class _NormHeld:
    ratio: Setting
    share: Setting

    def init(self, params: Params) -> dict[str, Tensor]:
        return dict(zip(params, norms(list(params.values())), strict=True))

    def update(self, params: Params, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        found = self.init(params)
        return {name: self._moved(p, found[name], state[name], p.shape) for name, p in params.items()}, state

    def update_(self, params: Params, state: dict[str, Tensor]) -> dict[str, Tensor]:
        found = self.init(params)
        for name, p in params.items():
            here = local(p)
            here.copy_(self._moved(here, found[name], state[name], p.shape))
        return state

    def _moved(self, p: Tensor, norm: Tensor, start: Tensor, shape: torch.Size) -> Tensor:
        """``p`` is of ``shape``, or this process's share of what is."""
        ratio = like(norm, self.ratio)
        # PyTorch starts a matrix of n inputs with a mean square of 1/(3·n).
        from_zero = norm.clamp(max=ratio * (shape[0] / 3.0) ** 0.5) if len(shape) > 1 else norm
        scale = torch.where(start > 0, ratio * start, from_zero) / (norm + (norm == 0))  # zero stays zero
        wide = p.to(accumulator(p.dtype))
        return (wide + like(wide, self.share) * (scale * wide - wide)).to(p.dtype)


NORM_HELD = MethodCard(
    name="norm-held",
    summary="Puts every hidden matrix back to the norm that it started with, after each step.",
    equations="W ← W + s·(ρ·R·W/‖W‖_F − W), R = ‖W‖_F at the start, for every hidden matrix, after the step",
    cost="two passes over the hidden matrices a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    weights=norm_held,
    space="ratio=0.3..1.5 log",  # Omnigrok finds the best norm below the start's
    smallest={"ratio": 0.7},
    off={"share": 0.0},
    departures="Hyperball also takes each step in units of the norm, as hyperball does: here the step is the "
    "optimizer's own. Omnigrok holds the norm of all weights together, as norm-clamp does. A matrix that starts at "
    "zero is held once it has the norm of PyTorch's start.",
    citation="""@inproceedings{liu2023omnigrok,
  title = {Omnigrok: Grokking Beyond Algorithmic Data},
  author = {Liu, Ziming and Michaud, Eric J. and Tegmark, Max},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
  eprint = {2210.01117},
  archivePrefix = {arXiv}
}""",
)
