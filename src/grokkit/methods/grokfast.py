"""Grokfast: add the slow part of the gradient once more, amplified.

g' = g + λ·slow(g), between ``backward()`` and ``step()``, where slow is a low-pass filter over the steps:

- **EMA**: slow₁ = g₁ (the first gradient, not zero), slow_t = α·slow_{t−1} + (1−α)·g_t;
- **MA**: the mean (or sum) of the last w gradients, the current one included.

α and w are per optimizer step; the memory of the EMA is 1/(1−α) steps. A constant gradient becomes exactly
(1+λ)·g; a sinusoid of frequency ω (radians a step) is amplified by |1 + λ(1−α)/(1 − α·e^{−iω})|.

Under Adam-like optimizers, which are invariant to the gradient's scale, the amplification (1+λ) of a steady
gradient has no effect by itself: what remains is a change of direction towards the slow part. Under SGD it is
a learning rate (1+λ) times larger for the steady part. Compare with those controls before believing in it.

Cost a step: EMA two passes over the gradients and one copy of them in memory. MA five passes whatever the
window, and w copies: the last w−1 gradients in a ring and their running sum, which is summed afresh each time
the ring closes, so that rounding does not drift. Half-precision gradients keep their dtype; the EMA and the
running sum are float32 then. The pure face, which cannot branch on where the ring stands, sums one part of the
entries afresh each step instead: after a turn of the ring every entry has had its turn, at the same cost.

In the pure face α and λ may be 0-d tensors: in a vmapped program every member has its own.

Differs from the authors' code in cost, and in that a missing gradient leaves a parameter's filter untouched
and a parameter that gets its first gradient late starts its filter there. Steps are counted per parameter.

Reference: Lee, Kang, Kim, Lee, "Grokfast: Accelerated Grokking by Amplifying Slow Gradients", 2024,
arXiv 2405.20233.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from grokkit.errors import InputError, check_number, unknown
from grokkit.methods.baselines import ADAM_PAPER, grokfast_recipes, scaled
from grokkit.methods.card import MethodCard
from grokkit.shards import local, stacked_zeros
from grokkit.transform import GradientTransform, Grads, Params


class EmaState(NamedTuple):
    step: dict[str, Tensor]  # gradients seen
    slow: dict[str, Tensor]


class MaState(NamedTuple):
    step: dict[str, Tensor]  # gradients seen
    window: dict[str, Tensor]  # (w−1, *shape): a ring of the gradients before the current one
    total: dict[str, Tensor]  # their sum


def grokfast_ema(alpha: float = 0.98, lamb: float = 2.0, start_step: int = 0) -> GradientTransform:
    """Grokfast with an exponential moving average.

    Args:
        alpha: decay α a step, in [0, 1). Default 0.98 (paper, modular arithmetic).
        lamb: amplification λ ≥ 0 of the slow part. Default 2.0 (paper, modular arithmetic). 0 adds nothing.
        start_step: nothing is added before this step, counted from 0; the average is taken from the first step on,
            so that it is there when the filter begins to act (the paper's two-stage ablation: 500).

    Raises:
        InputError: for a value outside these ranges.

    >>> import torch, grokkit
    >>> t = grokkit.grokfast_ema(alpha=0.98, lamb=2.0)
    >>> params = {"w": torch.zeros(2)}
    >>> grads, state = t.update({"w": torch.tensor([1.0, -1.0])}, t.init(params), params)
    >>> grads["w"]
    tensor([ 3., -3.])
    """
    check_number("alpha", alpha, lambda v: 0.0 <= v < 1.0, "0 <= alpha < 1", "0.98")
    _check_common(lamb, start_step)

    def init(params: Params) -> EmaState:
        return EmaState(
            step={name: _counter(p) for name, p in params.items()},
            slow={name: torch.zeros_like(p, dtype=_accumulator(p)) for name, p in params.items()},
        )

    def update(grads: Grads, state: EmaState, params: Params) -> tuple[Grads, EmaState]:
        out, step, slow = dict(grads), dict(state.step), dict(state.slow)
        for name, g in grads.items():
            t, wide = step[name], g.to(slow[name].dtype)
            slow[name] = torch.where(t == 0, wide, torch.lerp(slow[name], wide, _setting(1.0 - alpha, wide)))
            out[name] = torch.where(t >= start_step, (wide + _setting(lamb, wide) * slow[name]).to(g.dtype), g)
            step[name] = t + 1
        return out, EmaState(step, slow)

    def update_(grads: Grads, state: EmaState, params: Params) -> EmaState:
        first = [name for name in grads if state.step[name] == 0]
        later = [name for name in grads if state.step[name] > 0]
        acting = [name for name in grads if state.step[name] >= start_step]
        for name in grads:
            state.step[name] += 1
        slow, here = ({name: local(tensors[name]) for name in grads} for tensors in (state.slow, grads))
        if first:
            torch._foreach_copy_([slow[n] for n in first], [here[n] for n in first])
        if later:
            wide = [here[n].to(slow[n].dtype) for n in later]
            torch._foreach_lerp_([slow[n] for n in later], wide, 1.0 - alpha)
        if acting:
            torch._foreach_add_([here[n] for n in acting], [slow[n] for n in acting], alpha=lamb)
        return state

    return GradientTransform(init, update, update_)


def grokfast_ma(
    window_size: int = 100,
    lamb: float = 5.0,
    filter_type: Literal["mean", "sum"] = "mean",
    warmup: bool = True,
    start_step: int = 0,
    *,
    window_dtype: torch.dtype | None = None,
    window_device: torch.device | str | None = None,
) -> GradientTransform:
    """Grokfast with a moving average over a window, in constant time a step.

    Args:
        window_size: gradients w ≥ 1 in the window, the current one included. Default 100 (paper).
        lamb: amplification λ ≥ 0 of the slow part. Default 5.0 (paper).
        filter_type: ``"mean"`` or ``"sum"`` of the window. Default mean (paper).
        warmup: add nothing until the window is full. Default True (paper). False: from the first step, over
            the gradients there are.
        start_step: nothing is added before this step, counted from 0; the window fills from the first step on, so that
            with w = 100 and 500, the paper's two-stage ablation, the filter acts at step 500.
        window_dtype: of the past gradients that are kept. Default None: the parameter's. ``torch.bfloat16`` rounds each
            to 8 bits, by a relative 2⁻⁸ at most, which their average then has; the current one and the sum are not
            rounded.
        window_device: where they are kept. Default None: with the parameter. ``"cpu"`` takes them off a GPU, at two
            copies of the gradients over the bus each step.

    Memory: w copies of the gradients; of these, w−1 in ``window_dtype`` on ``window_device``.

    Raises:
        InputError: for a value outside these ranges.
    """
    whole = isinstance(window_size, int)
    check_number("window_size", window_size, lambda v: whole and v >= 1, "a whole number >= 1", "100")
    if filter_type not in ("mean", "sum"):
        raise unknown("filter_type", str(filter_type), ("mean", "sum"))
    _check_common(lamb, start_step)
    if window_dtype is not None and not (isinstance(window_dtype, torch.dtype) and window_dtype.is_floating_point):
        raise InputError(f"window_dtype={window_dtype!r} is not possible: a floating-point dtype, e.g. torch.bfloat16")
    ring = window_size - 1
    first = max(start_step, ring if warmup else 0)  # the first step at which something is added

    def init(params: Params) -> MaState:
        return MaState(
            step={name: _counter(p) for name, p in params.items()},
            window={name: stacked_zeros(p, ring, window_dtype, window_device) for name, p in params.items()},
            total={name: torch.zeros_like(p, dtype=_accumulator(p)) for name, p in params.items()},
        )

    def update(grads: Grads, state: MaState, params: Params) -> tuple[Grads, MaState]:
        out, step = dict(grads), dict(state.step)
        window, total = dict(state.window), dict(state.total)
        for name, g in grads.items():
            t = step[name]  # gradients seen before this one
            total_now = total[name] + g
            count = torch.clamp(t + 1, max=window_size) if filter_type == "mean" else torch.ones_like(t)
            adds = t >= first
            out[name] = torch.where(adds, (g + _setting(lamb, total_now) * total_now / count).to(g.dtype), g)
            if ring:
                slot = (t % ring).to(window[name].device)
                oldest = window[name].index_select(0, slot.reshape(1)).squeeze(0)
                kept = g.to(oldest.device, oldest.dtype)
                window[name] = window[name].index_put((slot,), kept)
                evicted, entered = (tensor.to(g.device, total_now.dtype) for tensor in (oldest, kept))
                total[name] = _refreshed(total[name] + entered - evicted, window[name], slot)
            step[name] = t + 1
        return out, MaState(step, window, total)

    def update_(grads: Grads, state: MaState, params: Params) -> MaState:
        for name, g in ((name, local(g)) for name, g in grads.items()):
            t = int(state.step[name])  # gradients seen before this one
            state.step[name] += 1
            count = min(t + 1, window_size) if filter_type == "mean" else 1
            weight = lamb / count if t >= first else 0.0
            if not ring:
                g.add_(g, alpha=weight)
                continue
            slot, window, total = t % ring, local(state.window[name]), local(state.total[name])
            oldest = window[slot]
            evicted = oldest.to(total.device, copy=True)  # the one temporary: a single parameter's gradient
            oldest.copy_(g)
            if window.dtype == g.dtype:
                now = total.add_(g)
            else:  # the sum is of what is kept, rounded
                now = total + g
                total.add_(oldest.to(total.device))
            if weight:
                g.add_(now, alpha=weight)
            if slot == ring - 1 and window.device == total.device:
                torch.sum(window, 0, dtype=total.dtype, out=total)
            elif slot == ring - 1:
                total.copy_(window.sum(0, dtype=total.dtype))
            else:
                total.sub_(evicted)
        return state

    return GradientTransform(init, update, update_)


def _refreshed(total: Tensor, window: Tensor, slot: Tensor) -> Tensor:
    """``total`` with one part of its entries summed afresh from the ring: the first at the first slot, and so on."""
    ring = window.reshape(len(window), total.numel())
    share = -(-total.numel() // len(ring))
    entries = (slot * share + torch.arange(share, device=window.device)).clamp(max=total.numel() - 1)
    fresh = ring.index_select(1, entries).sum(0, dtype=total.dtype)
    return total.flatten().index_put((entries.to(total.device),), fresh.to(total.device)).reshape(total.shape)


def _setting(value: float | Tensor, like: Tensor) -> float | Tensor:
    """A tensor takes the dtype of what it is combined with, as a number does."""
    return value.to(like.dtype) if isinstance(value, Tensor) else value


def _counter(param: Tensor) -> Tensor:
    return torch.zeros((), dtype=torch.int64, device=param.device)


def _accumulator(param: Tensor) -> torch.dtype:
    """Half precision cannot hold a running average: 0.02 of a difference is lost in 8 bits."""
    return torch.float32 if param.dtype in (torch.bfloat16, torch.float16) else param.dtype


def _check_common(lamb: float, start_step: int) -> None:
    check_number("lamb", lamb, lambda v: 0.0 <= v < float("inf"), "a finite number >= 0", "2.0 (EMA) or 5.0 (MA)")
    whole = isinstance(start_step, int)
    check_number("start_step", start_step, lambda v: whole and v >= 0, "a whole number >= 0", "0 or 500")


_CITATION = """@article{lee2024grokfast,
  title   = {Grokfast: Accelerated Grokking by Amplifying Slow Gradients},
  author  = {Lee, Jaerin and Kang, Bong Gyun and Kim, Kihoon and Lee, Kyoung Mu},
  journal = {arXiv preprint arXiv:2405.20233},
  year    = {2024}
}"""

GROKFAST_EMA = MethodCard(
    name="grokfast-ema",
    summary="Adds an exponential moving average of the gradient, amplified, to the gradient.",
    hooks=("gradient",),
    equations="slow₁ = g₁;  slow_t = α·slow_{t−1} + (1−α)·g_t;  g'_t = g_t + λ·slow_t",
    cost="two passes over the gradients a step; one copy of them in memory",
    factory=grokfast_ema,
    optimizer={**ADAM_PAPER.optimizer, "wd": 0.005},
    optimizer_source="the paper's modular multiplication: Adam with L2 decay 0.005, β (0.9, 0.98), 10 warm-up steps",
    recipes=grokfast_recipes(
        {
            "mnist": ({"wd": 2.0, "alpha": 0.8, "lamb": 0.1}, "the paper, 2,001 steps to 95 %"),
            "imdb": ({"wd": 10.0, "alpha": 0.98, "lamb": 2.0}, "the paper, best accuracy 0.90"),
            "qm9": ({"wd": 0.01, "alpha": 0.9, "lamb": 1.0}, "the paper, best loss 0.00348"),
        }
    ),
    smallest={"alpha": 0.9, "lamb": 2.0},
    off={"lamb": 0.0},
    departures="A missing gradient leaves the filter untouched; steps are counted per parameter.",
    citation=_CITATION,
)

GROKFAST_MA = MethodCard(
    name="grokfast-ma",
    summary="Adds the mean of the last w gradients, amplified, to the gradient.",
    hooks=("gradient",),
    equations="slow_t = (1/w)·Σ_{i<w} g_{t−i} once t ≥ w, else 0;  g'_t = g_t + λ·slow_t",
    cost="five passes over the gradients a step, whatever w; w copies of them in memory",
    factory=grokfast_ma,
    optimizer={**ADAM_PAPER.optimizer, "wd": 0.01},
    optimizer_source="the paper's modular multiplication: Adam with L2 decay 0.01, β (0.9, 0.98), 10 warm-up steps",
    recipes=grokfast_recipes(
        {
            task: ({"wd": wd}, "grokfast-ema's optimizer; the paper has no such run, window and λ are arithmetic's")
            for task, wd in (("mnist", 2.0), ("imdb", 10.0), ("qm9", 0.01))
        }
    ),
    smallest={"window_size": 4, "lamb": 2.0},
    off={"lamb": 0.0},
    departures="A running sum instead of a sum over the window each step; otherwise as for grokfast-ema.",
    citation=_CITATION,
)

ADAM_LR_SCALED = MethodCard(
    name="adam-lr-scaled",
    summary="grokfast-ema's own Adam, without the filter and with the learning rate times 1+λ (arithmetic: λ = 2).",
    hooks=(),
    equations="Adam with η·(1+λ)",
    cost="one optimizer step",
    optimizer={**GROKFAST_EMA.optimizer, "lr": 3e-3},
    optimizer_source="the grokfast-ema arm, 1e-3 × (1+2)",
    recipes={
        task: scaled(recipe, 1.0 + recipe.settings["lamb"], "the grokfast-ema arm, with the λ that it has there")
        for task, recipe in GROKFAST_EMA.recipes.items()
    },
    aliases=("adam-lr×(1+λ)", "adam-lrx(1+lamb)"),
)
