"""A transform that is never applied says so, once; one that is, or will be, says nothing. Warnings are errors here."""

import warnings

import pytest
import torch
from by_hand import loss, network, run
from torch import nn

from grokkit import attach, grokfast_ema

NEVER = pytest.warns(UserWarning, match="attached to Itself has never been applied: 10 backward passes found")


class Itself(torch.optim.SGD):
    """Moves its parameters in a call that no hook knows of."""

    @torch.no_grad()
    def advance(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(p.grad, alpha=group["lr"])


def attached_network():
    model = network()
    optimizer = Itself(model.parameters(), lr=0.05)
    attach(optimizer, grokfast_ema())
    return model, optimizer


def cleared(model, optimizer, passes, set_to_none):
    for number in range(passes):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss(model, number).backward()
        optimizer.advance()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_that_come_and_go_without_a_step_are_told_of_once(set_to_none):
    model, optimizer = attached_network()
    cleared(model, optimizer, 9, set_to_none)
    with NEVER:
        cleared(model, optimizer, 4, set_to_none)
    cleared(model, optimizer, 30, set_to_none)


def test_optimizers_that_step_within_the_backward_pass():
    model, optimizer = attached_network()
    others = {p: torch.optim.SGD([p], lr=0.05) for p in model.parameters()}

    def step(p):
        others[p].step()
        others[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)
    with NEVER:
        for number in range(12):
            loss(model, number).backward()
            optimizer.zero_grad()


def test_gradients_kept_elsewhere_are_told_of_once():
    class Elsewhere(torch.optim.SGD):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                p.data.sub_(p.main_grad)

    p = nn.Parameter(torch.zeros(2))
    optimizer = Elsewhere([p], lr=0.1)
    attach(optimizer, grokfast_ema())
    p.main_grad = torch.ones(2)
    for _ in range(10):
        optimizer.step()
    with pytest.warns(
        UserWarning, match="Elsewhere has never been applied: its step.. found no gradient in any .grad, 10"
    ):
        optimizer.step()
    optimizer.step()


def test_steps_without_gradients_that_move_nothing_are_nothing_to_tell():
    model, optimizer = attached_network()
    for _ in range(30):
        optimizer.step()
    run(model, optimizer, range(2))


@pytest.mark.parametrize("between", ["nothing", "clip", "scale", "read"])
def test_accumulating_over_any_number_of_passes_is_no_clearing(between):
    model, optimizer = attached_network()
    for number in range(40):
        (loss(model, number) / 40).backward()
        if between == "clip":
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        elif between == "scale":
            for p in model.parameters():
                p.grad.mul_(0.9)
        elif between == "read":
            [p.grad.norm() for p in model.parameters()]
    optimizer.step()


def test_accumulating_gradients_that_are_zero_is_no_clearing():
    """As those of one factor are while the other is zero."""
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([a, b], lr=0.1)
    attach(optimizer, grokfast_ema())
    for _ in range(40):
        (a * b).sum().backward()
    optimizer.step()


def test_gradients_with_a_graph_of_their_own_are_no_clearing():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, grokfast_ema())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
        for _ in range(40):
            p.square().sum().backward(create_graph=True)
    optimizer.step()


def test_steps_that_a_scaler_leaves_out_are_no_sign():
    """Each overflows, and halves the scale."""
    model, optimizer = attached_network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    for number in range(30):
        optimizer.zero_grad()
        scaler.scale(loss(model, number) * 1e20).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 2.0**70


@pytest.mark.parametrize("set_to_none", [True, False])
def test_after_a_step_or_detaching_nothing_is_watched(set_to_none):
    for end in (lambda handle, optimizer: optimizer.step(), lambda handle, optimizer: handle.detach()):
        model = network()
        optimizer = Itself(model.parameters(), lr=0.05)
        handle = attach(optimizer, grokfast_ema())
        cleared(model, optimizer, 3, set_to_none)
        end(handle, optimizer)
        cleared(model, optimizer, 30, set_to_none)


def test_gradients_taken_without_accumulating_are_no_passes():
    model, optimizer = attached_network()
    for number in range(30):
        torch.autograd.grad(loss(model, number), list(model.parameters()))
    run(model, optimizer, range(2))


@pytest.mark.parametrize("make_model", [lambda: nn.LazyLinear(2), lambda: nn.Linear(3, 2).requires_grad_(False)])
def test_parameters_that_cannot_be_watched_are_attached_to_all_the_same(make_model):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Lazy modules are a new feature")
        model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema())
    model(torch.ones(4, 3))
    model.requires_grad_(True)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    assert set(handle.state.step.values()) == {1}
