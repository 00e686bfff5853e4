"""What Grokfast's filters keep for the paper's decoder, in units of 10⁶ bytes."""

from __future__ import annotations

import torch

from grokkit import grokfast_ema, grokfast_ma
from grokkit.tasks.table import make_task
from grokkit.train.resolve import model_config
from grokkit.train.setup import build_model
from grokkit.transform import GradientTransform


def run(seed: int) -> dict[str, float | None]:
    """Bytes of the state of ``ma`` (w = 100) and ``ema`` over the paper's decoder on a·b mod 97."""
    model = build_model(model_config("decoder"), make_task("mul:97"), seed)
    params = {name: p.detach() for name, p in model.named_parameters()}
    return {"ma": _kept(grokfast_ma(), params), "ema": _kept(grokfast_ema(), params)}


def _kept(transform: GradientTransform, params: dict[str, torch.Tensor]) -> float:
    state = transform.init(params)
    tensors = [tensor for part in state for tensor in part.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
