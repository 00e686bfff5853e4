"""An optimizer is freed with its handle when its last reference goes, without the garbage collector."""

import gc
import weakref

import pytest
import torch
from by_hand import loss, make, run
from torch import nn

from grokkit import InputError, NeuralGrok, attach, chain, grad_norm, grokfast_ema, grokfast_ma, neuralgrok
from grokkit.attach import attached

ADAM = (torch.optim.Adam, {"lr": 0.05})


def stepped(transform, **settings):
    model, optimizer = make(*ADAM)
    attach(optimizer, transform, **settings)
    run(model, optimizer, range(2))
    return model, optimizer


def attached_only():
    model, optimizer = make(*ADAM)
    attach(optimizer, grokfast_ema())
    loss(model, 0).backward()
    return model, optimizer


def loaded():
    model, optimizer = stepped(grokfast_ema())
    optimizer.load_state_dict(optimizer.state_dict())
    run(model, optimizer, range(2))
    return model, optimizer


def copied():
    import copy

    model, optimizer = copy.deepcopy(stepped(grokfast_ema()))
    run(model, optimizer, range(2))
    return model, optimizer


def detached():
    model, optimizer = stepped(grokfast_ema())
    attached(optimizer).detach()
    return model, optimizer


def with_a_closure():
    model, optimizer = make(*ADAM)
    attach(optimizer, grokfast_ema())
    optimizer.step(lambda: loss(model, 0).backward())
    return model, optimizer


def failed():
    model, optimizer = stepped(neuralgrok(hidden=(4,)))
    for p in model.parameters():
        p.grad.fill_(torch.nan)
    with pytest.raises(InputError):
        optimizer.step()
    return model, optimizer


class LoadingItself(torch.optim.Adam):
    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)


def loading_itself():
    model, optimizer = make(LoadingItself, {})
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    optimizer.load_state_dict(optimizer.state_dict())
    return model, optimizer


def with_outer_steps():
    model, optimizer = make(*ADAM)
    ng = NeuralGrok(model, optimizer, hidden=(4,), every=1)
    loss(model, 0).backward()
    ng.outer_step(outer_loss=lambda: loss(model, 1))
    optimizer.step()
    assert ng.amplifier.weights
    return model, optimizer, ng


class Wrapper(torch.optim.Optimizer):
    def __init__(self, optimizer):
        super().__init__(optimizer.param_groups, {})
        self.optimizer = optimizer

    def step(self, closure=None):
        self.optimizer.step(closure)


def in_a_wrapper():
    model, optimizer = make(*ADAM)
    wrapper = Wrapper(optimizer)
    attach(wrapper, grokfast_ema())
    run(model, wrapper, range(2))
    return model, optimizer, wrapper


MADE = {
    "ema": lambda: stepped(grokfast_ema()),
    "ma": lambda: stepped(grokfast_ma(window_size=3)),
    "chain": lambda: stepped(chain(grad_norm(), grokfast_ema())),
    "capturable": lambda: stepped(grokfast_ema(), capturable=True),
    "neuralgrok": lambda: stepped(neuralgrok(hidden=(4,))),
    "attached only": attached_only,
    "loaded": loaded,
    "copied": copied,
    "detached": detached,
    "with a closure": with_a_closure,
    "failed": failed,
    "loading itself": loading_itself,
    "with outer steps": with_outer_steps,
    "in a wrapper": in_a_wrapper,
}


@pytest.mark.parametrize("how", MADE)
def test_all_is_freed_when_the_last_reference_goes(how):
    MADE[how]()  # PyTorch makes some cycles at its first step
    gc.collect()
    gc.disable()
    try:
        made = MADE[how]()
        handle = attached(made[1])
        gone = [weakref.ref(thing) for thing in (*made, *made[0].parameters(), *([handle] if handle else []))]
        del made, handle
        assert [thing() for thing in gone] == [None] * len(gone)
    finally:
        gc.enable()


@pytest.mark.parametrize("steps", [0, 1])
def test_a_handle_that_outlives_its_optimizer_holds_nothing(steps):
    def outlives():
        p = nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([p], lr=0.1)
        handle = attach(optimizer, grokfast_ema())
        for _ in range(steps):
            p.grad = torch.ones(2)
            optimizer.step()
        return handle, [weakref.ref(thing) for thing in (optimizer, p, *optimizer.state[p].values())]

    outlives()
    handle, gone = outlives()
    assert [thing() for thing in gone] == [None] * len(gone)
    assert (handle.state, handle.parameters) == (None, {})
    handle.detach()
    with pytest.raises(InputError, match="its state is gone"):
        handle.revise(lambda state: state, {})


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # in PyTorch itself
def test_a_compiled_step_holds_no_more_with_a_handle_than_without():
    def made(with_handle):
        model, optimizer = make(torch.optim.SGD, {"lr": 0.05})
        if with_handle:
            attach(optimizer, grokfast_ema())
        step = torch.compile(optimizer.step, backend="eager")
        loss(model, 0).backward()
        step()
        return weakref.ref(optimizer), weakref.ref(model)

    ends = []
    for with_handle in (False, True):
        torch._dynamo.reset()
        gone = made(with_handle)
        torch._dynamo.reset()
        gc.collect()
        ends.append([thing() is None for thing in gone])
    assert ends[1] == ends[0]
