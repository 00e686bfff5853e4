"""Optimizers in other optimizers: the one that steps is filtered, and saved with its wrapper, or is refused."""

import copy
from collections import defaultdict

import pytest
import torch
from by_hand import loss, network, same, values
from torch import nn

from grokkit import InputError, NeuralGrok, attach, grokfast_ema
from grokkit.attach import attached

HALF, WHOLE = 4, 8


class Lookahead(torch.optim.Optimizer):
    """No initialization of PyTorch's, and a ``state_dict`` that holds the other's."""

    def __init__(self, optimizer):
        self.optimizer, self.state, self.count = optimizer, defaultdict(dict), 0
        self.defaults = optimizer.defaults

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        self.count += 1
        return self.optimizer.step(closure)

    def state_dict(self):
        return {"count": self.count, "inner": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict):
        self.count = state_dict["count"]
        self.optimizer.load_state_dict(state_dict["inner"])


class SharpnessAware(torch.optim.Optimizer):
    """Two calls a step. Its ``state_dict`` is PyTorch's and does not hold that of the one which steps."""

    def __init__(self, params, cls, **settings):
        super().__init__(params, {"rho": 0.05, **settings})
        self.base_optimizer = cls(self.param_groups, **settings)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        for p in self.param_groups[0]["params"]:
            self.state[p]["old"] = p.clone()
            p.add_(p.grad, alpha=self.param_groups[0]["rho"])

    @torch.no_grad()
    def second_step(self):
        for p in self.param_groups[0]["params"]:
            p.copy_(self.state[p]["old"])
        self.base_optimizer.step()

    def step(self, closure):
        self.first_step()
        with torch.enable_grad():
            closure()
        self.second_step()

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.base_optimizer.param_groups = self.param_groups


class ScheduleFree:
    """No optimizer of PyTorch's, but one that puts something into its optimizer's state first."""

    def __init__(self, base):
        self.base = base

    param_groups = property(lambda self: self.base.param_groups)
    state = property(lambda self: self.base.state)

    def zero_grad(self, set_to_none=True):
        self.base.zero_grad(set_to_none)

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].setdefault("z", p.detach().clone())
        self.base.step(closure)

    def state_dict(self):
        return self.base.state_dict()

    def load_state_dict(self, state_dict):
        self.base.load_state_dict(state_dict)


class Holder:
    def __init__(self, optimizer):
        self._optimizer = optimizer


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.05)


WRAPPED = {
    "lookahead": lambda model: Lookahead(sgd(model)),
    "sharpness-aware": lambda model: SharpnessAware(model.parameters(), torch.optim.SGD, lr=0.05),
    "schedule-free": lambda model: ScheduleFree(sgd(model)),
    "lookahead in lookahead": lambda model: Lookahead(Lookahead(sgd(model))),
}


def train(model, optimizer, steps):
    for step in steps:

        def closure(step=step):
            optimizer.zero_grad()
            value = loss(model, step)
            value.backward()
            return value

        closure()
        if isinstance(optimizer, SharpnessAware):
            optimizer.step(closure)
        else:
            optimizer.step()
    return values(model)


def two_calls(model, optimizer, steps):
    """As a training loop steps with a sharpness-aware optimizer if it does not give a closure."""
    for step in steps:
        for call in (optimizer.first_step, optimizer.second_step):
            optimizer.zero_grad()
            loss(model, step).backward()
            call()
    return values(model)


@pytest.mark.parametrize("name", WRAPPED)
def test_the_optimizer_that_steps_is_found_and_filtered(name):
    model, twin = network(), network()
    optimizer, other = WRAPPED[name](model), WRAPPED[name](twin)
    handle = attach(optimizer, grokfast_ema(alpha=0.8))
    ends = [train(model, optimizer, range(WHOLE)), train(twin, other, range(WHOLE))]
    assert set(handle.state.step.values()) == {WHOLE}
    assert max((a - b).abs().max() for a, b in zip(*ends, strict=True)) > 1e-3
    assert attached(optimizer) is handle
    handle.detach()
    assert attached(optimizer) is None
    assert "grokkit" not in str(optimizer.state_dict())


def test_a_lookahead_that_only_counts_changes_nothing():
    ends = []
    for wrap in (lambda optimizer: optimizer, Lookahead, lambda o: Holder(ScheduleFree(Lookahead(o)))):
        model = network()
        optimizer = wrap(sgd(model))
        attach(optimizer, grokfast_ema(alpha=0.8))
        ends.append(train(model, getattr(optimizer, "_optimizer", optimizer), range(WHOLE)))
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])


@pytest.mark.parametrize("steps", [train, two_calls])
def test_a_sharpness_aware_step_is_filtered_once_and_on_the_second_gradient(steps):
    model = network()
    optimizer = WRAPPED["sharpness-aware"](model)
    attach(optimizer, grokfast_ema(alpha=0.8, lamb=2.0))
    steps(model, optimizer, range(1))
    twin = network()
    loss(twin, 0).backward()
    with torch.no_grad():
        before = values(twin)
        for p in twin.parameters():
            p.add_(p.grad, alpha=0.05)
    twin.zero_grad()
    loss(twin, 0).backward()
    for p, start, ours in zip(twin.parameters(), before, values(model), strict=True):
        torch.testing.assert_close(ours, start - 0.05 * 3 * p.grad)


@pytest.mark.parametrize("first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapper_s_checkpoint_holds_the_filter(name, first):
    model = network()
    optimizer = WRAPPED[name](model)
    attach(optimizer, grokfast_ema(alpha=0.8))
    train(model, optimizer, range(HALF))
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    whole = train(model, optimizer, range(HALF, WHOLE))
    twin = network()
    twin.load_state_dict(saved[0])
    other = WRAPPED[name](twin)
    if first:
        attach(other, grokfast_ema(alpha=0.8))
    other.load_state_dict(saved[1])
    if not first:
        attach(other, grokfast_ema(alpha=0.8))
    assert same(train(twin, other, range(HALF, WHOLE)), whole)


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapper_is_rolled_back_with_its_filter(name):
    model = network()
    optimizer = WRAPPED[name](model)
    handle = attach(optimizer, grokfast_ema(alpha=0.8))
    train(model, optimizer, range(HALF))
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    ends = [train(model, optimizer, range(HALF, WHOLE))]
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    ends.append(train(model, optimizer, range(HALF, WHOLE)))
    assert same(*ends)
    assert set(handle.state.step.values()) == {WHOLE}


def test_neuralgrok_s_amplifier_is_in_a_wrapper_s_checkpoint():
    def trained(steps, saved=None):
        model = network()
        optimizer = WRAPPED["sharpness-aware"](model)
        ng = NeuralGrok(model, optimizer, hidden=(4,), every=1, lr=0.1)
        if saved:
            model.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        for step in steps:
            for call in (optimizer.first_step, optimizer.second_step):
                optimizer.zero_grad()
                loss(model, step).backward()
                if call == optimizer.second_step:
                    ng.outer_step(outer_loss=lambda: loss(model, 99))
                call()
        return model, optimizer, ng

    model, optimizer, _ = trained(range(HALF))
    resumed = trained(range(HALF, WHOLE), copy.deepcopy((model.state_dict(), optimizer.state_dict())))
    whole = trained(range(WHOLE))
    assert same(values(resumed[0]), values(whole[0]))
    assert resumed[2].handle.state.updates == WHOLE


class LayerWise(torch.optim.Optimizer):
    """A dummy; the others step within the backward pass."""

    def __init__(self, optimizers):
        self.optimizer_dict = optimizers
        super().__init__([torch.zeros(1, 1)], {"lr": 0.1})

    def step(self, closure=None):
        pass


class Several(torch.optim.Optimizer):
    def __init__(self, params):
        self.optimizers = [torch.optim.SGD([p], lr=0.1) for p in params]
        super().__init__(params, {})


class Both(torch.optim.Optimizer):
    """One kind of parameters it steps itself, for the others it has another optimizer."""

    def __init__(self, params):
        super().__init__(params[:1], {})
        self.adam = torch.optim.Adam(params[1:])


@pytest.mark.parametrize(
    ("make_optimizer", "place"),
    [
        (lambda ps: LayerWise({p: torch.optim.SGD([p], lr=0.1) for p in ps}), "optimizer.optimizer_dict"),
        (lambda ps: LayerWise({p: torch.optim.SGD([p], lr=0.1) for p in ps[:1]}), "optimizer.optimizer_dict"),
        (Several, "optimizer.optimizers"),
        (Both, "optimizer.adam"),
        (lambda ps: Holder(Several(ps)), "optimizer.optimizers"),
    ],
)
def test_what_steps_with_several_optimizers_is_refused_with_where_they_are(make_optimizer, place):
    optimizer = make_optimizer([nn.Parameter(torch.zeros(2)) for _ in range(3)])
    with pytest.raises(InputError, match=rf"not step with one optimizer .* what is in {place}; attach\(\) to each"):
        attach(optimizer, grokfast_ema())
    assert attached(optimizer) is None


def test_each_of_several_is_filtered_in_the_backward_pass():
    """0.37 is what three steps by hand give: w ← w − 0.01·(g + 10·slow)."""
    w = nn.Parameter(torch.ones(1))
    real = torch.optim.SGD([w], lr=0.01)
    for optimizer in LayerWise({w: real}).optimizer_dict.values():
        attach(optimizer, grokfast_ema(alpha=0.9, lamb=10.0))

    def step_and_clear(p):
        real.step()
        real.zero_grad()

    w.register_post_accumulate_grad_hook(step_and_clear)
    by_hand, slow = 1.0, None
    for _ in range(3):
        w.square().sum().backward()
        g = 2 * by_hand
        slow = g if slow is None else 0.9 * slow + 0.1 * g
        by_hand -= 0.01 * (g + 10 * slow)
    torch.testing.assert_close(w.item(), by_hand, rtol=1e-6, atol=0)
