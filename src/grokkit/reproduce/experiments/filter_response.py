"""Grokfast's filters as functions of frequency: how much a sinusoid of the gradient is amplified.

The filter is fed with cos(ωt) and sin(ωt), two entries of one tensor, until it has settled; their common amplitude
after it is |H(ω)|. In closed form it is |1 + λ(1−α)/(1 − α·e^{−iω})| for EMA and |1 + (λ/w)·Σ_{k<w} e^{−iωk}| for MA.
"""

from __future__ import annotations

import math

import torch

from grokkit import grokfast_ema, grokfast_ma
from grokkit.transform import GradientTransform

_SETTLED = 2000


def run(seed: int) -> dict[str, float | None]:
    """|H| at ω = 0 and at ω = π, for the defaults of both filters. ``seed`` moves the phase, which must not matter."""
    phase = seed * 0.7
    return {
        "ema at 0": _amplified(grokfast_ema(), 0.0, phase),
        "ema at pi": _amplified(grokfast_ema(), math.pi, phase),
        "ma at 0": _amplified(grokfast_ma(), 0.0, phase),
        "ma at pi": _amplified(grokfast_ma(), math.pi, phase),
    }


def _amplified(transform: GradientTransform, frequency: float, phase: float) -> float:
    params = {"w": torch.zeros(2, dtype=torch.float64)}
    state = transform.init(params)
    amplitude = 0.0
    for t in range(_SETTLED):
        # At ω = π the sine of t·π is zero, so that both entries need the phase that keeps them from it.
        angle = frequency * t + phase
        wave = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        out, state = transform.update({"w": wave}, state, params)
        amplitude = float(out["w"].norm())
    return amplitude
