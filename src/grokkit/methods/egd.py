"""Egalitarian gradient descent by columns: what feeds each output of a layer learns at one pace.

g_i ← g_i/max(‖g_i‖₂, floor) for every row i of every matrix's gradient, where a row is one entry of the first axis: the
weights into one output of a linear layer, which are columns in the paper, and one token of an embedding. Vectors keep
their gradients. The paper's full method makes all singular values one, as Muon does of the momentum: this is its cheap
form. floor is in the gradient's units and may be a 0-d tensor. Cost a step: two passes over the gradients, no memory.

Reference: Saheb Pasand & Dohmatob, "Egalitarian Gradient Descent", ICLR 2026, arXiv 2510.04930.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grokkit.methods.contract import MethodCard
from grokkit.methods.row_clip import row_norms
from grokkit.methods.settings import Setting, like, positive
from grokkit.transform import GradientTransform, Grads, Params


def egd_columns(floor: float = 0.01) -> GradientTransform:
    """Divide each row of a matrix's gradient by its norm, or by ``floor`` if that is more.

    Args:
        floor: > 0. Default 0.01 (the authors' code).

    Raises:
        InputError: if floor is not a finite number above 0.

    >>> import torch
    >>> t = egd_columns()
    >>> t.update({"w": torch.tensor([[3.0, 4.0], [0.0, 0.001]])}, t.init({}), {})[0]["w"]
    tensor([[0.6000, 0.8000],
            [0.0000, 0.1000]])
    """
    return GradientTransform.of(_Rows(positive("floor", floor, 0.01)))


@dataclass(frozen=True)
class _Rows:
    floor: Setting

    def init(self, params: Params) -> tuple[()]:
        return ()

    def update(self, grads: Grads, state: tuple[()], params: Params) -> tuple[Grads, tuple[()]]:
        return {name: self._even(g) if g.ndim > 1 else g for name, g in grads.items()}, state

    def _even(self, g: Tensor) -> Tensor:
        norms = row_norms(g)
        return (g / norms.clamp(min=like(norms, self.floor))).to(g.dtype)  # pyright: ignore[reportArgumentType]


EGD_COLUMNS = MethodCard(
    name="egd-columns",
    summary="Brings the gradient of each row of every matrix to length one.",
    equations="g_i ← g_i/max(‖g_i‖₂, floor) for every row i of every matrix's gradient",
    cost="two passes over the gradients a step; no memory",
    base={"optimizer": "sgd", "lr": 0.7, "wd": 1e-4, "beta1": 0.0, "beta2": 0.98, "lr_warmup": 10},
    base_source="the authors' modular addition: plain SGD, lr 0.7, L2 decay 1e-4",
    factory=egd_columns,
    space="floor=1e-4..0.1 log, lr=0.01..3 log, wd=1e-5..1e-2 log",  # about the authors'
    smallest={"floor": 0.01},
    departures="The authors change the first layer's gradient only, and go back to plain SGD once the test accuracy "
    "is 95 %: here all matrices', to the end, and nobody looks at the test part. An embedding's rows are its tokens; "
    "theirs is a linear layer on one-hot inputs, with the tokens in columns.",
    citation="""@inproceedings{sahebpasand2026egalitarian,
  title = {Egalitarian Gradient Descent: A Simple Approach to Accelerated Grokking},
  author = {Saheb Pasand, Ali and Dohmatob, Elvis},
  booktitle = {International Conference on Learning Representations},
  year = {2026},
  eprint = {2510.04930},
  archivePrefix = {arXiv}
}""",
)
