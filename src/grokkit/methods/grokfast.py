"""Grokfast: add the slow part of the gradient once more, amplified.

g' = g + λ·slow(g), between ``backward()`` and ``step()``, where slow is a low-pass filter over the steps:

- **EMA**: slow₁ = g₁ (the first gradient, not zero), slow_t = α·slow_{t−1} + (1−α)·g_t;
- **MA**: the mean (or sum) of the last w gradients, the current one included.

α and w are per optimizer step; the memory of the EMA is 1/(1−α) steps. A constant gradient becomes exactly
(1+λ)·g; a sinusoid of frequency ω (radians a step) is amplified by |1 + λ(1−α)/(1 − α·e^{−iω})|.

Under Adam-like optimizers, which are invariant to the gradient's scale, the amplification (1+λ) of a steady
gradient has no effect by itself: what remains is a change of direction towards the slow part. Under SGD it is
a learning rate (1+λ) times larger for the steady part. Compare with those controls before believing in it.

Cost a step: EMA one pass over the gradients if they are many, else two, and one copy of them in memory; MA five passes
whatever the window, and w copies (:mod:`grokkit.methods.grokfast_ma`). Half-precision gradients keep their dtype, and
their average or sum is kept in float32. Complex gradients are filtered as they are, since both filters are linear.

In the pure face α and λ may be 0-d tensors: in a vmapped program every member has its own.

Our filters differ from the authors' code in cost. A missing gradient leaves a parameter's filter untouched, and a
parameter that gets its first gradient late starts its filter there: steps are counted for each parameter by itself.

Reference: Lee, Kang, Kim, Lee, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients", 2024,
arXiv 2405.20233.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.methods.acting_steps import ActingSteps, acting_steps
from grokkit.methods.baselines import ADAM_PAPER, grokfast_recipes, scaled
from grokkit.methods.contract import MethodCard
from grokkit.methods.grokfast_ma import grokfast_ma
from grokkit.methods.precision import accumulator
from grokkit.methods.settings import flag, like, not_negative, number
from grokkit.shards import local
from grokkit.transform import GradientTransform, Grads, Params

_LARGE = 2**22
"""Entries of gradients, 16 MB in float32, from which on one pass over memory is faster than two operations."""

_KERNEL_DTYPES = (torch.float32, torch.float64)


class EmaState(NamedTuple):
    step: dict[str, Tensor]  # gradients seen
    slow: dict[str, Tensor]


def grokfast_ema(
    alpha: float = 0.98, lamb: float = 2.0, start_step: int = 0, stop_step: int | None = None, slow_only: bool = False
) -> GradientTransform:
    """Grokfast with an exponential moving average.

    Args:
        alpha: decay α a step, in [0, 1). Default 0.98 (paper, modular arithmetic).
        lamb: amplification λ ≥ 0 of the slow part. Default 2.0 (paper, modular arithmetic). 0 adds nothing.
        start_step: nothing is added before this step, counted from 0; the average is taken from the first step on,
            so that it is there when the filter begins to act (the paper's two-stage ablation: 500).
        stop_step: nothing is added from this step on (the paper's other order of two stages: 500). Default None: never.
        slow_only: whether the average takes the gradient's place, g' = slow(g), in place of being added to it (the
            paper's ablation, Figure 5). Default False.

    Raises:
        InputError: for a value outside these ranges.

    >>> import torch, grokkit
    >>> t = grokkit.grokfast_ema(alpha=0.98, lamb=2.0)
    >>> params = {"w": torch.zeros(2)}
    >>> grads, state = t.update({"w": torch.tensor([1.0, -1.0])}, t.init(params), params)
    >>> grads["w"]
    tensor([ 3., -3.])
    """
    alpha = number("alpha", alpha, lambda v: 0.0 <= v < 1.0, "0 <= alpha < 1", 0.98)
    lamb = not_negative("lamb", lamb, 2.0)
    acting = acting_steps(start_step, stop_step)
    return GradientTransform.of(_ExponentialAverage(alpha, lamb, acting, flag("slow_only", slow_only, False)))


@dataclass(frozen=True)
class _ExponentialAverage:
    alpha: float  # in the pure face this and λ may be 0-d tensors
    lamb: float
    acting: ActingSteps
    slow_only: bool

    def init(self, params: Params) -> EmaState:
        return EmaState(
            step={name: torch.zeros((), dtype=torch.int64, device=p.device) for name, p in params.items()},
            slow={name: torch.zeros_like(p, dtype=accumulator(p.dtype)) for name, p in params.items()},
        )

    def update(self, grads: Grads, state: EmaState, params: Params) -> tuple[Grads, EmaState]:
        out, step, slow = dict(grads), dict(state.step), dict(state.slow)
        for name, g in grads.items():
            t, wide = step[name], g.to(slow[name].dtype)
            faded = torch.lerp(slow[name], wide, like(wide, 1.0 - self.alpha))
            slow[name] = torch.where(t == 0, wide, faded)  # The average begins as the first gradient, not as zero.
            changed = slow[name] if self.slow_only else wide + like(wide, self.lamb) * slow[name]
            out[name] = torch.where(self.acting.at(t), changed.to(g.dtype), g)
            step[name] = t + 1
        return out, EmaState(step, slow)

    def update_(self, grads: Grads, state: EmaState, params: Params) -> EmaState:
        first, later, acting = [], [], []
        for name in grads:
            t = state.step[name]
            state.step[name] = t + 1
            (later if t > 0 else first).append(name)
            if self.acting.at(t):
                acting.append(name)
        slow, here = ({name: local(tensors[name]) for name in grads} for tensors in (state.slow, grads))
        if len(later) == len(acting) == len(grads) and not self.slow_only and self.alpha > 0:
            averages, gradients = [*slow.values()], [*here.values()]
            if _is_one_pass_better(averages, gradients):
                _add_average_in_one_pass(averages, gradients, self.alpha, self.lamb)
                return state
        if first:
            torch._foreach_copy_([slow[n] for n in first], [here[n] for n in first])
        if later:
            wide = [here[n].to(slow[n].dtype) for n in later]
            torch._foreach_lerp_([slow[n] for n in later], wide, 1.0 - self.alpha)
        if self.slow_only:
            for name in acting:
                here[name].copy_(slow[name])
        elif acting:
            torch._foreach_add_([here[n] for n in acting], [slow[n] for n in acting], alpha=self.lamb)
        return state


def _is_one_pass_better(slow: Sequence[Tensor], grads: Sequence[Tensor]) -> bool:
    """Whether they are too many to stay in a cache between two passes, and all of the kind that the kernel takes."""
    if sum(map(Tensor.numel, grads)) < _LARGE:
        return False
    for tensor in (*slow, *grads):
        if tensor.dtype != grads[0].dtype or tensor.device != grads[0].device or not tensor.is_contiguous():
            return False
    return grads[0].dtype in _KERNEL_DTYPES and grads[0].device.type in ("cpu", "cuda")


def _add_average_in_one_pass(slow: list[Tensor], grads: list[Tensor], alpha: float, lamb: float) -> None:
    """slow ← α·slow + (1−α)·g and g ← g + λ·slow, by the kernel of SGD with momentum.

    That computes m ← μ·m + (1−d)·g and p ← p − η·m, reading and writing each tensor once. Here the momentum m is the
    average, μ = d = α > 0, and the parameter p is the gradient itself, with η = −λ. In float32 α is rounded first, so
    that both weights, α and 1−α, are of one number and add up to 1.
    """
    if grads[0].dtype is torch.float32:
        alpha = torch.tensor(alpha, dtype=torch.float32).item()
    torch._fused_sgd_(
        grads,
        grads,
        slow,
        weight_decay=0.0,
        momentum=alpha,
        lr=-lamb,
        dampening=alpha,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


_CITATION = """@article{lee2024grokfast,
  title   = {Grokfast: Accelerated Grokking by Amplifying Slow Gradients},
  author  = {Lee, Jaerin and Kang, Bong Gyun and Kim, Kihoon and Lee, Kyoung Mu},
  journal = {arXiv preprint arXiv:2405.20233},
  year    = {2024}
}"""

GROKFAST_EMA = MethodCard(
    name="grokfast-ema",
    summary="Adds an exponential moving average of the gradient, amplified, to the gradient.",
    linear=True,
    equations="slow₁ = g₁;  slow_t = α·slow_{t−1} + (1−α)·g_t;  g'_t = g_t + λ·slow_t",
    cost="one or two passes over the gradients a step; one copy of them in memory",
    factory=grokfast_ema,
    base={**ADAM_PAPER.base, "wd": 0.005},
    base_source="the paper's modular multiplication: Adam with L2 decay 0.005, β (0.9, 0.98), 10 warm-up steps",
    recipes=grokfast_recipes(
        {
            "mnist": ({"wd": 2.0, "alpha": 0.8, "lamb": 0.1}, "the paper, 2,001 steps to 95 %"),
            "imdb": ({"wd": 10.0, "alpha": 0.98, "lamb": 2.0}, "the paper, best accuracy 0.90"),
            "qm9": ({"wd": 0.01, "alpha": 0.9, "lamb": 1.0}, "the paper, best loss 0.00348"),
        }
    ),
    space="alpha=0.8..0.99, lamb=0.1..10 log",  # from the paper's least to its largest, λ far beyond
    smallest={"alpha": 0.9, "lamb": 2.0},
    off={"lamb": 0.0},
    departures="A missing gradient leaves the filter untouched; steps are counted per parameter.",
    citation=_CITATION,
)

GROKFAST_MA = MethodCard(
    name="grokfast-ma",
    summary="Adds the mean of the last w gradients, amplified, to the gradient.",
    linear=True,
    equations="slow_t = (1/w)·Σ_{i<w} g_{t−i} once t ≥ w, else 0;  g'_t = g_t + λ·slow_t",
    cost="five passes over the gradients a step, whatever w; w copies of them in memory",
    factory=grokfast_ma,
    base={**ADAM_PAPER.base, "wd": 0.01},
    base_source="the paper's modular multiplication: Adam with L2 decay 0.01, β (0.9, 0.98), 10 warm-up steps",
    recipes=grokfast_recipes(
        {
            task: ({"wd": wd}, "grokfast-ema's optimizer; the paper has no such run, window and λ are arithmetic's")
            for task, wd in (("mnist", 2.0), ("imdb", 10.0), ("qm9", 0.01))
        }
    ),
    space="window_size=5..200 log, lamb=0.5..20 log",  # about the paper's 100 and 5
    smallest={"window_size": 4, "lamb": 2.0},
    off={"lamb": 0.0},
    departures="A running sum instead of a sum over the window each step; otherwise as for grokfast-ema.",
    citation=_CITATION,
)

ADAM_LR_SCALED = MethodCard(
    name="adam-lr-scaled",
    summary="grokfast-ema's own Adam, without the filter and with the learning rate times 1+λ (arithmetic: λ = 2).",
    equations="Adam with η·(1+λ)",
    cost="one optimizer step",
    base={**GROKFAST_EMA.base, "lr": 3e-3},
    base_source="the grokfast-ema arm, 1e-3 × (1+2)",
    recipes={
        task: scaled(recipe, 1.0 + recipe.settings["lamb"], "the grokfast-ema arm, with the λ that it has there")
        for task, recipe in GROKFAST_EMA.recipes.items()
    },
    aliases=("adam-lr×(1+λ)", "adam-lrx(1+lamb)"),
)
