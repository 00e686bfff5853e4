"""Clip to grok: every row starts at norm c, and after each step the rows between embedding and head are clipped to c.

    start  w ← c·w/‖w‖₂ for every row w of every tensor
    step   w ← w·min(1, c/‖w‖₂) for every row w of hidden matrices and vectors

A vector is one row. Zero stays zero. Nothing else decays the weights. The authors' rates, for a decoder of two layers:
lr 0.001 with Adam, and with Lion at beta2 0.97: ``lion(lr=0.001,wd=0,beta2=0.97)+clip-to-grok``. c is in the weights'
units; the start reads it, so that members of a stacked program share it. Cost a step: two passes over the weights.

Reference: github.com/NiftyliuS/cliptogrok, "Clip to Grok: Weight Norm Clipping for Accelerated Generalization", 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from grokkit.methods.contract import MethodCard, Start, StartResult, TransferData
from grokkit.methods.row_clip import RowClip, row_norms
from grokkit.methods.settings import positive
from grokkit.models.classes import check_whole, is_weight
from grokkit.weight_transform import WeightTransform


def start_rows(c: float = 2.0) -> Start:
    """Start every row of every tensor at the norm ``c``.

    Args:
        c: > 0. Default 2.0 (the authors').

    Raises:
        InputError: if c is not a finite number above 0; when it is called, if a parametrization other than weight norm
            makes a tensor.
    """
    return _StartRows(positive("c", c, 2.0))


@dataclass(frozen=True)
class _StartRows:
    c: float

    def __call__(self, model: nn.Module, data: TransferData, seed: int) -> StartResult:
        weights = {name: p for name, p in model.named_parameters() if is_weight(p)}
        check_whole("clip-to-grok", model, weights, all_scaled=True)
        tensors = {}
        for name, p in weights.items():
            norms = row_norms(p.detach())
            tensors[name] = torch.where(norms > 0, (self.c / norms * p.detach()).to(p.dtype), p.detach())
        return StartResult(tensors)


def clip_rows(c: float = 2.0) -> WeightTransform:
    """Clip the rows of hidden matrices and vectors to the norm ``c``; arguments as of :func:`start_rows`."""
    faces = RowClip(positive("c", c, 2.0), vectors=True)
    return WeightTransform.of(faces, classes=("hidden", "vector"))


CLIP_TO_GROK = MethodCard(
    name="clip-to-grok",
    summary="Starts all rows at one norm and clips those between embedding and head to it after each step.",
    equations="w ← c·w/‖w‖₂ at the start; w ← w·min(1, c/‖w‖₂) after the step, except in embedding and head",
    cost="two passes over the weights a step; no memory",
    base={"optimizer": "adamw", "lr": 1e-3, "wd": 0.0, "beta1": 0.9, "beta2": 0.98, "lr_warmup": 10},
    base_source="the authors' Adam, without decay",
    start=start_rows,
    weights=clip_rows,
    space="c=0.5..5 log, lr=1e-4..1e-2 log",  # about the authors' 2 and 0.001; without decay, which is what it is
    smallest={"c": 1.0},
    departures="Positions count as an embedding, which the authors' code clips. It starts only embedding, head and the "
    "last norm at c in models of four layers and more: here all, whatever the depth.",
    citation="""@misc{niftylius2026clip,
  title = {Clip to Grok: Weight Norm Clipping for Accelerated Generalization},
  author = {NiftyliuS and others},
  year = {2026},
  url = {https://github.com/NiftyliuS/cliptogrok}
}""",
)
