"""What an attached filter adds to our training step, and what the same filter takes when written plainly."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grokkit.attach import attach
from grokkit.bench.measure import Duel, timed
from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import OurStep, random_batches
from grokkit.transform import GradientTransform

_STEPS = 8  # a round
_FILL = 100  # steps until the window of the moving average is full


def filter_overhead(transform: GradientTransform) -> Duel:
    """Our step without the filter, and with it: the ratio is what it costs, the note what it keeps."""
    batches = random_batches(GROKFAST)
    bare, filtered = OurStep(GROKFAST, batches), _attached(transform)
    _fill(bare, filtered)
    kept = copies(filtered.optimizer)
    return Duel(timed(bare, _STEPS), timed(filtered, _STEPS), note=lambda: f"keeps {kept:.2f} copies of the weights")


def filter_forms(plain: Callable[[torch.nn.Module], Callable[[], None]], transform: GradientTransform) -> Duel:
    """Our step with the plainly written filter, and with ours."""
    theirs, ours = OurStep(GROKFAST, random_batches(GROKFAST)), _attached(transform)
    gradient_filter = plain(theirs.model)
    theirs.optimizer.register_step_pre_hook(lambda *_: gradient_filter())
    _fill(theirs, ours)
    return Duel(timed(theirs, _STEPS), timed(ours, _STEPS))


def _attached(transform: GradientTransform) -> OurStep:
    step = OurStep(GROKFAST, random_batches(GROKFAST))
    attach(step.optimizer, transform)
    return step


def _fill(*steps: OurStep) -> None:
    for _ in range(_FILL):
        for step in steps:
            step()


def copies(optimizer: torch.optim.Optimizer) -> float:
    """Bytes of the filter's state over bytes of the parameters."""
    kept = sum(
        value.nbytes
        for entry in optimizer.state.values()
        for key, value in entry.items()
        if key.startswith("grokkit") and torch.is_tensor(value)
    )
    return kept / sum(p.nbytes for group in optimizer.param_groups for p in group["params"])
