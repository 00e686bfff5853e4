"""Every way to make a transform, for tests of what all of them promise."""

import torch
from cards import CARDS

from grokkit import chain, clip_norm, grad_norm, grokfast_ema, grokfast_ma, masked, neuralgrok
from grokkit.methods.neuralgrok.amplifier import fresh_amplifier
from grokkit.transform import GradientTransform

FACTORIES = {
    "grokfast_ema": lambda: grokfast_ema(alpha=0.9, start_step=2),
    "grokfast_ma": lambda: grokfast_ma(window_size=4, lamb=2.0, start_step=5),
    "grokfast_ma, sum": lambda: grokfast_ma(window_size=3, lamb=0.5, filter_type="sum", warmup=False),
    "grokfast_ma, bfloat16": lambda: grokfast_ma(window_size=3, window_dtype=torch.bfloat16, window_device="cpu"),
    "grad_norm": lambda: grad_norm(0.5),
    "clip_norm": lambda: clip_norm(0.5),
    "neuralgrok": lambda: neuralgrok(hidden=(6, 5), c=0.5, clip=0.7, seed=3),
    "neuralgrok, amplifier given": lambda: neuralgrok(amplifier=fresh_amplifier((4, 3), seed=7), clip=None),
    "chain": lambda: chain(grad_norm(0.5), grokfast_ma(window_size=3), grokfast_ema(alpha=0.9)),
    "masked": lambda: masked(grokfast_ema(alpha=0.9), is_matrix),
    "masked, of a pure face": lambda: masked(pure_only(grokfast_ma(window_size=3)), is_matrix),
    "chain of masked": lambda: chain(masked(grokfast_ma(window_size=3), is_matrix), clip_norm(0.5)),
    **{f"card {name}": lambda card=card: card.factory(**card.smallest) for name, card in CARDS.items() if card.factory},
}


def is_matrix(_name, p):
    return p.ndim >= 2


def pure_only(transform):
    return GradientTransform(transform.init, transform.update)
