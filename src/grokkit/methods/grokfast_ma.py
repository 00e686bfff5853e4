"""Grokfast's moving average: g' = g + λ·mean of the last w gradients, the current one included.

:mod:`grokkit.methods.grokfast` tells what it is for, beside the exponential average. Memory is w copies of the
gradients: the last w−1 in a ring and their running sum (:mod:`grokkit.methods.ring`). A step takes five passes over
the gradients whatever w is, where the authors' code sums the whole window anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from grokkit.errors import InputError, shown, unknown
from grokkit.methods.acting_steps import ActingSteps, acting_steps
from grokkit.methods.precision import accumulator
from grokkit.methods.ring import empty_window, in_blocks, laid_out, push, push_
from grokkit.methods.settings import flag, like, not_negative, whole
from grokkit.shards import local
from grokkit.transform import GradientTransform, Grads, Params

_WINDOW_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class MaState(NamedTuple):
    step: dict[str, Tensor]  # gradients seen
    window: dict[str, Tensor]  # (*shape, w−1): a ring of the gradients before the current one
    total: dict[str, Tensor]  # their sum


def grokfast_ma(
    window_size: int = 100,
    lamb: float = 5.0,
    filter_type: Literal["mean", "sum"] = "mean",
    warmup: bool = True,
    start_step: int = 0,
    stop_step: int | None = None,
    slow_only: bool = False,
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
        stop_step: nothing is added from this step on (the paper's other order of two stages: 500). Default None: never.
        slow_only: whether the mean (or sum) takes the gradient's place where the filter acts, g' = slow(g), in place of
            being added to it (the paper's ablation, Figure 5). Default False.
        window_dtype: of the past gradients that are kept, one of float64, float32, bfloat16, float16. Default None: the
            parameter's. ``torch.bfloat16`` rounds each to 8 bits, by a relative 2⁻⁸ at most, which their average then
            has; the current one and the sum are not rounded. ``torch.float16`` has no room beyond 65,504, nor for
            entries below 6e-8, which it keeps as 0.
        window_device: where they are kept. Default None: with the parameter. ``"cpu"`` takes them off a GPU, at two
            copies of the gradients over the bus each step.

    Memory: w copies of the gradients; of these, w−1 in ``window_dtype`` on ``window_device``.

    Raises:
        InputError: for a value outside these ranges. From the attached optimizer's ``step()``: for a complex parameter
            where ``window_dtype`` is given.
    """
    if not isinstance(filter_type, str) or filter_type not in ("mean", "sum"):
        raise unknown("filter_type", str(filter_type), ("mean", "sum"))
    if window_dtype is not None and window_dtype not in _WINDOW_DTYPES:
        raise InputError(
            f"window_dtype={shown(window_dtype)} is not possible: a floating-point dtype of at least 16 bits, e.g. "
            "torch.bfloat16, or None for the parameter's"
        )
    average = _MovingAverage(
        whole("window_size", window_size, 1, 100),
        not_negative("lamb", lamb, 5.0),
        filter_type,
        flag("warmup", warmup, True),
        acting_steps(start_step, stop_step),
        flag("slow_only", slow_only, False),
        window_dtype,
        None if window_device is None else _device(window_device),
    )
    return GradientTransform.of(average)


@dataclass(frozen=True)
class _MovingAverage:
    window_size: int
    lamb: float  # in the pure face it may be a 0-d tensor
    filter_type: Literal["mean", "sum"]
    warmup: bool
    acting: ActingSteps
    slow_only: bool
    window_dtype: torch.dtype | None
    window_device: torch.device | None

    def _acts(self, step: Any) -> Any:
        """Whether the filter acts at ``step``, a number or a tensor: not before its window is full, if it warms up."""
        return self.acting.at(step) & (step >= (self.window_size - 1 if self.warmup else 0))

    def init(self, params: Params) -> MaState:
        slots, dtype, device = self.window_size - 1, self.window_dtype, self.window_device
        for name, p in params.items():
            if dtype is not None and p.is_complex():
                raise InputError(
                    f"window_dtype={dtype} has no room for an imaginary part, and {name} is {p.dtype}; leave it out"
                )
        return MaState(
            step={name: torch.zeros((), dtype=torch.int64, device=p.device) for name, p in params.items()},
            window={name: empty_window(p, slots, dtype, device) for name, p in params.items()},
            total={name: torch.zeros_like(p, dtype=accumulator(p.dtype)) for name, p in params.items()},
        )

    def update(self, grads: Grads, state: MaState, params: Params) -> tuple[Grads, MaState]:
        out, step, window, total = dict(grads), *map(dict, state)
        most = self.window_size if self.filter_type == "mean" else 1
        for name, g in grads.items():
            t = step[name]
            now, window[name], total[name] = push(window[name], total[name], g, t)
            count = torch.clamp(t + 1, max=most)
            changed = now / count if self.slow_only else g + like(now, self.lamb) * now / count
            out[name] = torch.where(self._acts(t), changed.to(g.dtype), g)
            step[name] = t + 1
        return out, MaState(step, window, total)

    def update_(self, grads: Grads, state: MaState, params: Params) -> MaState:
        step, window, total = state
        most = self.window_size if self.filter_type == "mean" else 1
        for name, g in grads.items():
            t = int(step[name])
            step[name] += 1
            window[name] = laid_out(window[name])
            if t == 0:  # A count that somebody has set to 0 begins afresh.
                local(window[name]).zero_()
                local(total[name]).zero_()
            for own_window, own_total, here in in_blocks(local(window[name]), local(total[name]), local(g)):
                now = push_(own_window, own_total, here, t)
                if not self._acts(t):
                    continue
                if self.slow_only:
                    here.copy_(now / min(t + 1, most))
                else:
                    here.add_(now, alpha=self.lamb / min(t + 1, most))
        return state


def _device(value: torch.device | str) -> torch.device:
    try:
        return torch.device(value)
    except (RuntimeError, TypeError):
        raise InputError(
            f"window_device={shown(value)} is not possible: a device, e.g. 'cpu' or 'cuda:0', or None for the "
            "parameter's"
        ) from None
