"""The rows of ``grokkit bench``. A new comparison is a function that gives a `Duel`, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from grokkit.bench.amplified import amplifier_forward, neuralgrok_forms, neuralgrok_overhead
from grokkit.bench.evaluation import decoder_evaluation
from grokkit.bench.gpu import has_gpu, member_step
from grokkit.bench.hundred import step_overhead
from grokkit.bench.overhead import filter_forms, filter_overhead
from grokkit.bench.plain_forms import PlainEma, PlainMa
from grokkit.bench.row import Row
from grokkit.bench.settings import FNN, GROKFAST, OPERANDS_5, WEAK_FNN
from grokkit.bench.steps import decoder_step, fnn_step
from grokkit.bench.together import two_cores, two_runs
from grokkit.bench.transfer import weak_stage, xor_step
from grokkit.bench.whole import time_to_target
from grokkit.methods.gradnorm import grad_norm
from grokkit.methods.grokfast import grokfast_ema, grokfast_ma
from grokkit.methods.neuralgrok import neuralgrok
from grokkit.transform import GradientTransform


def _on_gpu(name: str, members: int, target: float | None) -> Row:
    return Row(
        id=name,
        about=f"a plain step of one run, and a member's of {members} in one program, as a CUDA graph",
        setup=lambda: member_step(GROKFAST, members),
        target=target,
        rounds=10,
        seconds=20,
        available=has_gpu,
        needs="a CUDA GPU",
    )


def _on_large(name: str, transform: Callable[[], GradientTransform], what: str, target: float | None) -> list[Row]:
    def row(place: str, device: str, **more: Any) -> Row:
        return Row(
            id=f"{name}{place}",
            about=f"AdamW's fused step of 100 million parameters and a pass over the gradients; with {what}",
            setup=lambda: step_overhead(transform(), device),
            target=target,
            rounds=15,
            seconds=30,
            **more,
        )

    return [row("", "cpu"), row("-gpu", "cuda", available=has_gpu, needs="a CUDA GPU")]


_ALL = (
    Row(
        id="decoder-step-b512",
        about="a training step of Grokfast's decoder, batch 512",
        setup=lambda: decoder_step(GROKFAST, times=4),
        target=0.38,
        rounds=20,
        seconds=6,
    ),
    Row(
        id="decoder-step-full",
        about="the same with all training rows as the batch",
        setup=lambda: decoder_step(GROKFAST.model_copy(update={"batch_size": None}), times=1),
        target=0.33,
        rounds=15,
        seconds=12,
    ),
    Row(
        id="decoder-step-full-bf16",
        about="the same with ours in bf16, an option: not the same function",
        setup=lambda: decoder_step(GROKFAST.model_copy(update={"batch_size": None, "precision": "bf16"}), times=1),
        target=0.2,
        rounds=15,
        seconds=12,
    ),
    Row(
        id="decoder-eval",
        about="evaluating the held-out half with it",
        setup=lambda: decoder_evaluation(GROKFAST),
        target=0.35,
        rounds=20,
        seconds=5,
    ),
    Row(
        id="fnn-step",
        about="a full-batch training step of GrokTransfer's 3-layer FNN",
        setup=lambda: fnn_step(FNN, times=3),
        target=0.75,
        rounds=20,
        seconds=7,
    ),
    Row(
        id="weak-fnn-step",
        about="a full-batch training step of GrokTransfer's weak FNN",
        setup=lambda: fnn_step(WEAK_FNN, times=50),
        target=0.5,
        rounds=20,
        seconds=3,
    ),
    Row(
        id="operands-5",
        about="a training step of four layers on a*c + b*d - e mod 7, batch 512",
        setup=lambda: decoder_step(OPERANDS_5, times=1),
        target=0.62,
        rounds=15,
        seconds=7,
    ),
    Row(
        id="grokfast-ema-overhead",
        about="our decoder's step without and with the EMA filter",
        setup=lambda: filter_overhead(grokfast_ema()),
        target=1.03,
        rounds=100,  # a few per cent, under a noise of ten
        seconds=42,
    ),
    Row(
        id="grokfast-ma-overhead",
        about="our decoder's step without and with the MA filter, w = 100",
        setup=lambda: filter_overhead(grokfast_ma(window_size=100)),
        target=1.08,
        rounds=100,  # a few per cent, under a noise of ten
        seconds=42,
    ),
    Row(
        id="grokfast-ema-form",
        about="our decoder's step with the EMA filter, plainly written and ours",
        setup=lambda: filter_forms(PlainEma, grokfast_ema()),
        target=None,
        rounds=15,
        seconds=11,
    ),
    Row(
        id="grokfast-ma-form",
        about="our decoder's step with the MA filter, a deque summed each step and ours",
        setup=lambda: filter_forms(PlainMa, grokfast_ma(window_size=100)),
        target=None,
        rounds=15,
        seconds=13,
    ),
    Row(
        id="neuralgrok-amplifier",
        about="NeuralGrok's amplifier, 1→512→512→1, at 420,000 entries",
        setup=amplifier_forward,
        target=0.02,
        rounds=5,
        seconds=15,
    ),
    Row(
        id="neuralgrok-inner",
        about="our decoder's step without and with NeuralGrok's amplifier",
        setup=lambda: neuralgrok_overhead("neuralgrok-random"),
        target=1.4,
        rounds=40,
        seconds=16,
    ),
    Row(
        id="neuralgrok-full",
        about="the same with an outer step at every fourth",
        setup=lambda: neuralgrok_overhead("neuralgrok"),
        target=1.9,
        rounds=40,
        seconds=18,
    ),
    Row(
        id="neuralgrok-forms",
        about="a step of NeuralGrok, outer steps included, written plainly and ours",
        setup=neuralgrok_forms,
        target=None,
        rounds=4,
        seconds=20,
    ),
    *_on_large("overhead-ema", grokfast_ema, "the EMA filter", 1.15),
    *_on_large("overhead-ma", lambda: grokfast_ma(window_size=10), "the MA filter, w = 10", None),
    *_on_large(
        "overhead-ma-bf16",
        lambda: grokfast_ma(window_size=10, window_dtype=torch.bfloat16),
        "the MA filter, w = 10, its window in bfloat16",
        None,
    ),
    *_on_large("overhead-grad-norm", grad_norm, "rescaling", None),
    *_on_large("overhead-neuralgrok", neuralgrok, "NeuralGrok's amplifier", None),
    Row(
        id="xor-step",
        about="a full-batch step on XOR clusters in 80,000 dimensions, width 2048",
        setup=xor_step,
        target=0.05,
        rounds=3,
        seconds=60,
    ),
    Row(
        id="weak-stage",
        about="a decoder from scratch to 95 %, and GrokTransfer's weak stage for it, a round a seed",
        setup=weak_stage,
        target=0.05,
        rounds=3,
        seconds=110,
    ),
    Row(
        id="two-runs",
        about="two runs of training, one after the other and at once",
        setup=two_runs,
        target=0.59,
        rounds=3,
        seconds=42,
        available=two_cores,
        needs="at least two cores",
    ),
    Row(
        id="time-to-95",
        about="training Grokfast-EMA to 95 % held-out accuracy, a round a seed",
        setup=time_to_target,
        target=0.35,
        rounds=2,
        seconds=200,
    ),
    _on_gpu("gpu-step", 1, 0.125),
    _on_gpu("gpu-seeds-1", 1, None),
    _on_gpu("gpu-seeds-8", 8, None),
    _on_gpu("gpu-seeds-64", 64, None),
    _on_gpu("gpu-seeds-256", 256, 0.02),
)

ROWS = {row.id: row for row in _ALL}
