"""Two starts from the weights that the model has drawn: all smaller, or each hidden matrix at one spectral norm.

    small-start     W ← α·W for every matrix
    spectral-start  W ← s·√(m/n)·W/‖W‖₂ for every hidden matrix W (m × n), ‖W‖₂ its largest singular value

Small weights begin nearer to where features are learned and not only fitted; with all layers at √(m/n) a step changes
each layer's output by the same share, at any width. Queries, keys and values in one matrix are three. Cost: none, and a
singular value decomposition of each hidden matrix.

References: Liu, Michaud & Tegmark, "Omnigrok", ICLR 2023, arXiv 2210.01117, for α, and arXiv 2606.17945; Yang, Simon &
Bernstein, "A Spectral Condition for Feature Learning", 2023, arXiv 2310.17813.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grokkit.methods.contract import MethodCard, Start, StartResult, TransferData
from grokkit.methods.muon import matrices_in
from grokkit.methods.norm_held import NORM_HELD
from grokkit.methods.precision import accumulator
from grokkit.methods.settings import positive
from grokkit.models.classes import check_whole, classes_of, is_weight, outputs_first


def small_start(alpha: float = 0.5) -> Start:
    """Multiply every matrix by ``alpha``.

    Args:
        alpha: α, > 0. Default 0.5 (ours, not tuned).

    Raises:
        InputError: if alpha is not a finite number above 0; when it is called, if a parametrization other than weight
            norm makes a matrix.
    """
    return _SmallStart(positive("alpha", alpha, 0.5))


@dataclass(frozen=True)
class _SmallStart:
    alpha: float

    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult:
        matrices = {name: p for name, p in model.named_parameters() if p.ndim > 1 and is_weight(p)}
        check_whole("small-start", model, matrices, all_scaled=True)
        return StartResult({name: self.alpha * p.detach() for name, p in matrices.items()})


def spectral_start(scale: float = 1.0) -> Start:
    """Bring the largest singular value of every hidden matrix (m × n) to ``scale``·√(m/n).

    Args:
        scale: s, > 0. Default 1.0 (arXiv 2310.17813).

    Raises:
        InputError: if scale is not a finite number above 0; when it is called, if a hidden matrix is made by a
            parametrization.
    """
    return _SpectralStart(positive("scale", scale, 1.0))


@dataclass(frozen=True)
class _SpectralStart:
    scale: float

    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult:
        tensors = {}
        classes = classes_of(model)
        hidden = classes["hidden"]
        check_whole("spectral-start", model, hidden)
        for name, p in hidden.items():
            whole = outputs_first(p.detach(), name in classes.transposed)
            scaled = torch.cat([self._scaled(matrix) for matrix in matrices_in(name, whole)])
            tensors[name] = outputs_first(scaled, name in classes.transposed)
        return StartResult(tensors)

    def _scaled(self, matrix: Tensor) -> Tensor:
        flat = matrix.flatten(1)
        largest = torch.linalg.matrix_norm(flat.to(accumulator(flat.dtype)), 2)  # half precision has no such norm
        rows, columns = flat.shape
        return matrix * (self.scale * (rows / columns) ** 0.5 / largest) if largest > 0 else matrix


SMALL_START = MethodCard(
    name="small-start",
    summary="Starts every matrix smaller than the model draws it.",
    equations="W ← α·W for every matrix, before the first step",
    cost="none",
    base_source="the adamw arm's, unless another part states one",
    start=small_start,
    space="alpha=0.1..2 log",  # 1 is off
    smallest={"alpha": 0.5},
    off={"alpha": 1.0},
    departures="Omnigrok scales vectors, too.",
    citation=NORM_HELD.citation,
)

SPECTRAL_START = MethodCard(
    name="spectral-start",
    summary="Starts every hidden matrix at the spectral norm under which all layers learn features.",
    equations="W ← s·√(m/n)·W/‖W‖₂ for every hidden matrix (m × n), before the first step",
    cost="a singular value decomposition of each hidden matrix, once",
    base_source="the adamw arm's, unless another part states one",
    start=spectral_start,
    space="scale=0.1..3 log",  # about the paper's 1
    smallest={"scale": 0.5},
    departures="The paper scales embedding and head as well; here they start as drawn.",
    citation="""@article{yang2023spectral,
  title = {A Spectral Condition for Feature Learning},
  author = {Yang, Greg and Simon, James B. and Bernstein, Jeremy},
  year = {2023},
  eprint = {2310.17813},
  archivePrefix = {arXiv}
}""",
)
