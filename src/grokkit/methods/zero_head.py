"""Zero head: the matrix that makes the outputs starts at zero, or smaller than the model draws it.

W_head ← s·W_head before the first step, s = 0 by default. With zero outputs the first gradient of the head is that of a
linear model on the features, and the features get their first signal through what the head has learned from it. Cost:
none. A model's head is its last matrix (:mod:`grokkit.models.classes`).

Reference: Zhang, Dauphin & Ma, "Fixup Initialization: Residual Learning Without Normalization", ICLR 2019, arXiv
1901.09321, whose first rule it is; for grokking Tian, 2025, arXiv 2509.21519.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from grokkit.errors import InputError
from grokkit.methods.contract import MethodCard, Start, StartResult, TransferData
from grokkit.methods.settings import not_negative
from grokkit.models.classes import check_whole, classes_of


def zero_head(scale: float = 0.0) -> Start:
    """Start the head at ``scale`` times what the model has drawn.

    Args:
        scale: s, >= 0. Default 0.0 (Fixup).

    Raises:
        InputError: if scale is not a finite number of at least 0; when it is called, if the model has no matrix, or
            makes the head's by a parametrization.
    """
    return _ZeroHead(not_negative("scale", scale, 0.0))


@dataclass(frozen=True)
class _ZeroHead:
    scale: float

    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult:
        head = classes_of(model)["head"]
        if not head:
            raise InputError("zero-head needs a matrix that makes the outputs, and this model has none; leave it out")
        check_whole("zero-head", model, head)
        return StartResult({name: self.scale * weight.detach() for name, weight in head.items()})


ZERO_HEAD = MethodCard(
    name="zero-head",
    summary="Starts the matrix that makes the outputs at zero.",
    equations="W_head ← s·W_head before the first step",
    cost="none",
    base_source="the adamw arm's, unless another part states one",
    start=zero_head,
    smallest={"scale": 0.0},
    off={"scale": 1.0},
    departures="Fixup also scales the residual branches; only its rule for the last layer is taken.",
    citation="""@inproceedings{zhang2019fixup,
  title = {Fixup Initialization: Residual Learning Without Normalization},
  author = {Zhang, Hongyi and Dauphin, Yann N. and Ma, Tengyu},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
  eprint = {1901.09321},
  archivePrefix = {arXiv}
}""",
)
