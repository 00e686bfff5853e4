"""The published settings that the rows measure, as `grokkit compare` would run them."""

from __future__ import annotations

from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.resolve import method_config, model_config, task_config

GROKFAST = RunConfig(
    task=task_config("mul:97", validation_fraction=0.0),
    model=model_config("decoder"),
    method=method_config("adam-paper"),
    seed=0,
    budget=5000,
    batch_size=512,
    sustain=0,
)
"""Grokfast's decoder on a·b mod 97, half of the table for training, Adam."""

OPERANDS_5 = GROKFAST.model_copy(
    update={
        "task": task_config("a*c + b*d - e mod 7(layout=operands-first)", validation_fraction=0.0),
        "model": model_config("decoder(depth=4)"),
    }
)
"""NeuralGrok's task of five operands, four layers."""

FNN = GROKFAST.model_copy(
    update={
        "task": task_config("add:113(layout=operands)", train_fraction=0.25, validation_fraction=0.0),
        "model": model_config("fnn"),
        "method": method_config("adamw"),
        "batch_size": None,
    }
)
"""GrokTransfer's target on a + b mod 113, a quarter of the table for training, full batch, AdamW."""

WEAK_FNN = FNN.model_copy(update={"model": model_config("fnn(depth=2,dim=4,width=16)")})
"""GrokTransfer's weak model on the same."""

TRANSFER_SCRATCH = GROKFAST.model_copy(
    update={
        "task": task_config("add:113", train_fraction=0.25),
        "method": method_config("adamw(lr=0.002,wd=2)"),
        "budget": 3000,
    }
)
"""The decoder from scratch on a + b mod 113, a quarter of the table for training, tuned (docs/groktransfer.md)."""

TRANSFER_TARGET = TRANSFER_SCRATCH.model_copy(update={"method": method_config("groktransfer(lr=0.003,wd=1)")})
"""The same by GrokTransfer."""

XOR = RunConfig(
    task=task_config("xor:80000", train_size=400),
    model=model_config("two-layer"),
    method=method_config("gd"),
    seed=0,
    budget=150,
    batch_size=None,
    after=150,
    evaluation=EvaluationConfig(every=5),
)
"""GrokTransfer's XOR clusters at the paper's size: width 2048, 80,000 dimensions, 400 rows, all of 150 epochs."""
