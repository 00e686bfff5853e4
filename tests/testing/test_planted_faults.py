"""The suite itself is tested: each planted fault, several of them found in published packages, is caught."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from reference.filters import REFERENCES
from torch import Tensor

from grokkit import GradientTransform, clip_norm, grokfast_ema, grokfast_ma
from grokkit.methods.grokfast import EmaState
from grokkit.state import put_slot
from grokkit.testing import CHECKS, check_off, check_reference, check_transform
from grokkit.testing.excitation import STEPS

ALPHA, LAMB = 0.9, 2.0


@dataclass(frozen=True)
class Ema:
    """An EMA with a hole for each fault; without arguments it is right."""

    first: Callable[[Tensor], Tensor] = torch.clone
    slow_of: Callable[[Tensor, Tensor], Tensor] | None = None
    seen: Callable[[Tensor], Tensor] = torch.clone
    added: Callable[[Tensor, Tensor], Tensor] = torch.add
    amplify: float = LAMB
    mutate: bool = False
    shared: dict[str, Tensor] | None = None

    def init(self, params):
        return EmaState(
            {n: torch.zeros((), dtype=torch.int64) for n in params},
            {n: torch.zeros_like(self.seen(p)) for n, p in params.items()},
        )

    def update(self, grads, state, params):
        out, step, slow, shared = {}, dict(state.step), dict(state.slow), self.shared
        for name, g in grads.items():
            seen = self.seen(g)
            new = torch.where(step[name] == 0, self.first(seen), torch.lerp(slow[name], seen, 1 - ALPHA))
            slow[name] = self.slow_of(seen, new) if self.slow_of else new
            if shared is not None:
                shared[name] = slow[name] = torch.lerp(shared.get(name, g), g, 1 - ALPHA).clone()
            added = self.amplify * slow[name]
            out[name] = g.add_(added) if self.mutate else self.added(g, added)
            step[name] = step[name] + 1
        return out, EmaState(step, slow)


class LosesItsStrength(Ema):
    """What is pickled of it lacks λ, so that a copy has the default."""

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != "amplify"}

    def __setstate__(self, state):
        vars(self).update(state)


def ema(**holes):
    return GradientTransform.of(Ema(**holes))


def with_update_(update_):
    right = grokfast_ema(ALPHA, LAMB)
    return GradientTransform(right.init, right.update, update_)


def reference_check(make):
    check_reference(make, lambda steps: REFERENCES["grokfast-ema"](steps, ALPHA, LAMB))


def keeps_a_reference(grads, state, params):
    for name, g in grads.items():
        state.slow[name] = g if state.step[name] == 0 else state.slow[name].lerp_(g, 1 - ALPHA)
        state.step[name] += 1
        g.add_(state.slow[name], alpha=LAMB)
    return state


def feeds_its_output_back(grads, state, params):
    for name, g in grads.items():
        g.add_(state.slow[name] if state.step[name] else g, alpha=LAMB)
        state.slow[name].lerp_(g, 1 - ALPHA) if state.step[name] else state.slow[name].copy_(g)
        state.step[name] += 1
    return state


def across_seeds():
    return GradientTransform(
        lambda params: (),
        lambda grads, state, params: (
            {n: g / sum(x.norm() for x in grads.values()) for n, g in grads.items()},
            state,
        ),
    )


def clip_with_update_(update_):
    right = clip_norm(0.5)
    return GradientTransform(right.init, right.update, update_)


def clips_for_what_is_gone():
    """The norm still holds the last gradient of a parameter that has none now."""
    squares = {}

    def update_(grads, state, params):
        squares.update({name: g.square().sum() for name, g in grads.items()})
        for g in grads.values():
            g.mul_((0.5 / sum(squares.values()).sqrt()).clamp(max=1.0))
        return state

    return clip_with_update_(update_)


def clips_only_whom_it_met_first():
    met = []

    def update_(grads, state, params):
        met.extend(() if met else grads)
        return clip_norm(0.5).update_({name: grads[name] for name in met}, state, params)

    return clip_with_update_(update_)


def counts_missing_gradients():
    right = grokfast_ema(ALPHA, LAMB)

    def update(grads, state, params):
        out, state = right.update(grads, state, params)
        missing = {n: t + 1 for n, t in state.step.items() if n not in grads}
        return out, EmaState({**state.step, **missing}, state.slow)

    return GradientTransform(right.init, update, right.update_)


@dataclass(frozen=True)
class Counter:
    """All parameters share one count of the steps; the in-place face adds ``advance`` to it."""

    advance: int

    def init(self, params):
        return (torch.zeros((), dtype=torch.int64),)

    def update(self, grads, state, params):
        return {n: 2 * g for n, g in grads.items()}, (state[0] + 1,)

    def update_(self, grads, state, params):
        for g in grads.values():
            g.mul_(2)
        return (state[0] + self.advance,)


def a_counter(*, advance):
    return GradientTransform.of(Counter(advance))


def holds_on_to_what_it_met_first():
    """Its average is in the state, but the in-place face goes on with the tensors that it was given first."""
    met = {}

    def update_(grads, state, params):
        for name in grads:
            state.slow[name] = met.setdefault(name, state.slow[name])
        return grokfast_ema(ALPHA, LAMB).update_(grads, state, params)

    return with_update_(update_)


class DifferenceState(NamedTuple):
    step: dict[str, Tensor]
    last: dict[str, Tensor]  # (*shape, 2): the last two gradients


def adds_a_difference(*, reads_late):
    """g' = g + (g − the gradient before the last), which is overwritten by g."""

    def init(params):
        return DifferenceState(
            {n: torch.zeros((), dtype=torch.int64) for n in params},
            {n: p.new_zeros((*p.shape, 2)) for n, p in params.items()},
        )

    def update(grads, state, params):
        out, step, last = {}, dict(state.step), dict(state.last)
        for name, g in grads.items():
            slot, window = step[name] % 2, last[name]
            before = window.movedim(-1, 0).index_select(0, slot.reshape(1)).squeeze(0)
            last[name] = put_slot(window, slot, g)
            if reads_late:
                before = window.movedim(-1, 0).index_select(0, slot.reshape(1)).squeeze(0)
            out[name], step[name] = 2 * g - before, step[name] + 1
        return out, DifferenceState(step, last)

    return GradientTransform(init, update)


def a_row_in_front():
    """Its average has one dimension more, and it comes first."""
    right = grokfast_ema(ALPHA, LAMB)
    return GradientTransform(
        lambda params: right.init({name: p.unsqueeze(0) for name, p in params.items()}), right.update
    )


def counter_reference(state):
    return lambda steps: ([{name: 2 * g for name, g in grads.items()} for grads in steps], state)


def with_a_number(grads, state, params):
    return {name: (1 + 1 / (1 + state)) * g for name, g in grads.items()}, state + 1


FAULTS = {
    "seeded with zeros": (lambda: ema(first=torch.zeros_like), reference_check),
    "forgets lambda": (lambda: ema(amplify=1.0), reference_check),
    "no decay": (lambda: ema(slow_of=lambda g, new: g.clone()), reference_check),
    "changes its input": (lambda: ema(mutate=True), CHECKS["pure"]),
    "state outside the state": (lambda shared={}: ema(shared=shared), CHECKS["pure"]),
    "becomes float32": (
        lambda: GradientTransform(lambda p: (), lambda g, s, p: ({n: 2 * t.float() for n, t in g.items()}, s)),
        CHECKS["half precision"],
    ),
    "keeps a reference to grad": (lambda: with_update_(keeps_a_reference), CHECKS["no aliasing"]),
    "feeds its output back": (lambda: with_update_(feeds_its_output_back), CHECKS["attached equals pure"]),
    "counts in a number that is no tensor": (lambda: GradientTransform(lambda p: 0, with_a_number), CHECKS["form"]),
    "leaves a gradient out": (
        lambda: GradientTransform(lambda p: (), lambda g, s, p: (dict(list(g.items())[:1]), s)),
        CHECKS["form"],
    ),
    "returns nothing": (lambda: GradientTransform(lambda p: (), lambda g, s, p: None), CHECKS["form"]),
    "does nothing": (lambda: GradientTransform(lambda p: (), lambda g, s, p: (g, s)), CHECKS["acts"]),
    "zero gradient becomes NaN": (
        lambda: GradientTransform(lambda p: (), lambda g, s, p: ({n: t / t.norm() for n, t in g.items()}, s)),
        CHECKS["degenerate gradients"],
    ),
    "mixes parameters": (across_seeds, CHECKS["tensor by tensor"]),
    "clips for a gradient that is gone": (clips_for_what_is_gone, CHECKS["missing gradients"]),
    "clips only whom it met first": (clips_only_whom_it_met_first, CHECKS["frozen parameters"]),
    "a missing gradient counts as a step": (counts_missing_gradients, CHECKS["missing gradients"]),
    "shared state that goes its own way in place": (
        lambda: a_counter(advance=2),
        CHECKS["attached equals pure"],
    ),
    "wrong shared state": (
        lambda: a_counter(advance=1),
        lambda make: check_reference(make, counter_reference({"0": STEPS - 1})),
    ),
    "shared state that there is not": (
        lambda: a_counter(advance=1),
        lambda make: check_reference(make, counter_reference({"0": STEPS, "1": 0})),
    ),
    "state of a parameter left out": (
        ema,
        lambda make: check_reference(make, lambda steps: (REFERENCES["grokfast-ema"](steps, ALPHA, LAMB)[0], {})),
    ),
    "cannot be pickled": (
        lambda: GradientTransform(*(lambda *args, f=f: f(*args) for f in ema()[:2])),
        CHECKS["pickle"],
    ),
    "loses a setting when pickled": (
        lambda: GradientTransform.of(LosesItsStrength(amplify=1.0)),
        CHECKS["pickle"],
    ),
    "state with another dimension in front": (a_row_in_front, CHECKS["state layout"]),
    "holds on to the state it met first": (holds_on_to_what_it_met_first, CHECKS["indexed state"]),
    "reads what it has overwritten": (lambda: adds_a_difference(reads_late=True), CHECKS["overwriting"]),
    "averages the real part only": (lambda: ema(seen=torch.real), CHECKS["complex gradients"]),
    "complex becomes real": (lambda: ema(added=lambda g, slow: (g + slow).real), CHECKS["complex gradients"]),
    "grows its state": (
        lambda: GradientTransform(
            lambda p: {n: t.new_zeros(1) for n, t in p.items()},
            lambda g, s, p: ({n: 2 * t for n, t in g.items()}, {n: torch.cat([t, t]) for n, t in s.items()}),
        ),
        CHECKS["state shapes"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault):
    make, check = FAULTS[fault]
    with pytest.raises(AssertionError):
        check(make)


def test_the_template_without_a_fault_passes():
    check_transform(ema)
    reference_check(ema)
    CHECKS["overwriting"](lambda: adds_a_difference(reads_late=False))
    check_transform(lambda: a_counter(advance=1))
    for state in ({"0": STEPS}, {}):
        check_reference(lambda: a_counter(advance=1), counter_reference(state))


def test_off_check_catches_a_changed_gradient():
    with pytest.raises(AssertionError):
        check_off(lambda: grokfast_ema(ALPHA, 1e-3))


def test_state_lost_at_a_checkpoint_is_caught():
    lost = {}

    def update_(grads, state, params):
        for name, g in grads.items():
            key = id(params[name]), g.shape  # an id may be given again, to a parameter of another shape
            lost[key] = torch.lerp(lost.get(key, g.clone()), g, 1 - ALPHA)
            g.add_(lost[key], alpha=LAMB)
        return state

    with pytest.raises(AssertionError):
        CHECKS["resume"](lambda: with_update_(update_))


def test_running_sum_without_its_oldest_gradient_is_caught():
    right = grokfast_ma(window_size=4, lamb=2.0)

    def update_(grads, state, params):
        before = {name: state.window[name].clone() for name in grads}
        state = right.update_(grads, state, params)
        for name in grads:
            state.total[name].add_(before[name][..., 0])
        return state

    with pytest.raises(AssertionError):
        CHECKS["attached equals pure"](lambda: GradientTransform(right.init, right.update, update_))
