"""Gradient descent as GrokTransfer (arXiv 2504.13292) trains on XOR clusters with it."""

from __future__ import annotations

from grokkit.methods.contract import MethodCard

CARD = MethodCard(
    name="gd",
    summary="Gradient descent with weight decay: GrokTransfer's for XOR clusters, on full batches.",
    equations="θ ← θ − η·(g + wd·θ)",
    cost="one optimizer step",
    space="lr=0.01..1 log, wd=1e-3..1 log",  # no momentum, which is what it is
    base={"optimizer": "sgd", "lr": 0.1, "wd": 0.1, "beta1": 0.0, "beta2": 0.98, "lr_warmup": 0},
    base_source="GrokTransfer's XOR clusters: memorized by epoch 5, generalized at about 80 in the paper",
)
