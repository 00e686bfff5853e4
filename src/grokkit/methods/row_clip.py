"""Row-norm clip: after each step no row of a matrix is longer than c.

w ← w·min(1, c/‖w‖₂) for every row w of every tensor with two or more axes; a row is one entry of the first axis, so
what feeds one output of a linear layer. Vectors stay as they are. c is in the weights' units and may be a 0-d tensor:
in a vmapped program every member has its own. Cost a step: two passes over the weights, no memory.

Reference: max-norm regularization, Srivastava et al., "Dropout", JMLR 15, 2014, section 5.1; for grokking
github.com/NiftyliuS/cliptogrok, with c = 2 and weight decay 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.precision import accumulator
from grokkit.methods.settings import Setting, like, positive
from grokkit.transform import Params
from grokkit.weight_transform import WeightTransform


def row_clip(c: float = 2.0) -> WeightTransform:
    """Clip the ℓ₂ norm of every row of every matrix to ``c``.

    Args:
        c: the longest a row may be, > 0. Default 2.0 (cliptogrok).

    Raises:
        InputError: if c is not a finite number above 0.

    >>> import torch
    >>> clip = row_clip(c=1.0)
    >>> clip.update({"w": torch.tensor([[3.0, 4.0], [0.0, 0.5]])}, clip.init({}))[0]["w"]
    tensor([[0.6000, 0.8000],
            [0.0000, 0.5000]])
    """
    return WeightTransform.of(RowClip(positive("c", c, 2.0)))


def row_norms(p: Tensor) -> Tensor:
    """‖w‖₂ of each row, of a vector its own: it can be divided by. In float32 where ``p`` is narrower."""
    rest = tuple(range(min(1, p.ndim - 1), p.ndim))
    return torch.linalg.vector_norm(p, dim=rest, keepdim=True, dtype=accumulator(p.dtype))


@dataclass(frozen=True)
class RowClip:
    """The faces of :func:`row_clip`; with ``vectors`` a vector is one row, and is clipped as well."""

    c: Setting
    vectors: bool = False

    def init(self, params: Params) -> tuple[()]:
        return ()

    def update(self, params: Params, state: tuple[()]) -> tuple[dict[str, Tensor], tuple[()]]:
        return {name: (p * self._scale(p)).to(p.dtype) if self._has_rows(p) else p for name, p in params.items()}, state

    def update_(self, params: Params, state: tuple[()]) -> tuple[()]:
        for p in params.values():
            if self._has_rows(p):
                p.mul_(self._scale(p))
        return state

    def _has_rows(self, p: Tensor) -> bool:
        return p.ndim > (0 if self.vectors else 1)

    def _scale(self, p: Tensor) -> Tensor:
        """min(1, c/‖w‖) of each row, 1 where the row is zero; it can be multiplied with ``p``."""
        norms = row_norms(p)
        return (like(norms, self.c) / norms).clamp(max=1.0)


ROW_CLIP = MethodCard(
    name="row-clip",
    summary="Clips the rows of every matrix to a given norm after each step.",
    equations="w ← w·min(1, c/‖w‖₂) for every row w, after the step",
    cost="two passes over the weights a step; no memory",
    base_source="the adamw arm's, unless another part states one",
    weights=row_clip,
    space="c=0.5..5 log",  # from half of what binds hardly ever to what always binds
    smallest={"c": 0.3},
    off={"c": 1e30},
    departures="clip-to-grok is the authors' way: here embedding and head are clipped too, nothing is done before the "
    "first step, and the optimizer decays as it would without.",
    citation="""@article{srivastava2014dropout,
  title = {Dropout: A Simple Way to Prevent Neural Networks from Overfitting},
  author = {Srivastava, Nitish and Hinton, Geoffrey and Krizhevsky, Alex and others},
  journal = {Journal of Machine Learning Research},
  year = {2014}
}""",
)
