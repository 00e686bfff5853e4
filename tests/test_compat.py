"""The paper's two functions: against numpy, the paper's loop, and `attach`; kept, refused, not poisoned."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from by_hand import loss, network, run, same, values

from grokkit import InputError, attach, grokfast_ema, grokfast_ma
from grokkit.compat import gradfilter_ema, gradfilter_ma

STEPS = range(8)
FUNCTIONS = {
    "ema": (gradfilter_ema, {"alpha": 0.8, "lamb": 2.0}, lambda: grokfast_ema(alpha=0.8, lamb=2.0)),
    "ma": (gradfilter_ma, {"window_size": 4, "lamb": 3.0}, lambda: grokfast_ma(window_size=4, lamb=3.0)),
    "ma-sum": (
        gradfilter_ma,
        {"window_size": 3, "lamb": 0.5, "filter_type": "sum", "warmup": False},
        lambda: grokfast_ma(window_size=3, lamb=0.5, filter_type="sum", warmup=False),
    ),
}


def trained(function, settings, steps=STEPS, grads=None, model=None):
    model = model or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in steps:
        optimizer.zero_grad()
        loss(model, step).backward()
        grads = function(model, grads=grads, **settings)
        optimizer.step()
    return model, grads


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_the_attached_transform_bit_for_bit(name):
    function, settings, transform = FUNCTIONS[name]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    attach(optimizer, transform())
    assert same(values(trained(function, settings)[0]), run(model, optimizer, STEPS))


def feed(function, settings, gradients):
    """What the function makes of a series of gradients of one weight."""
    model, grads, out = torch.nn.Linear(3, 2, bias=False).double(), None, []
    for g in gradients:
        model.weight.grad = torch.from_numpy(g.copy())
        grads = function(model, grads=grads, **settings)
        out.append(model.weight.grad.numpy().copy())
    return out


def windows(gradients, w, lamb, trigger):
    """The paper's rule, in numpy: the sum over the window, each step anew."""
    for t, g in enumerate(gradients):
        window = gradients[max(0, t + 1 - w) : t + 1]
        yield g if len(window) < w or trigger(t) else g + lamb * np.mean(window, 0)


GRADIENTS = list(np.random.default_rng(0).normal(size=(9, 2, 3)))


def test_the_default_settings_are_the_paper_s():
    slow, expected = None, []
    for g in GRADIENTS:
        slow = g if slow is None else 0.98 * slow + 0.02 * g
        expected.append(g + 2.0 * slow)
    np.testing.assert_allclose(feed(gradfilter_ema, {}, GRADIENTS), expected, rtol=1e-12)
    many = list(np.random.default_rng(1).normal(size=(130, 2, 3)))
    expected = list(windows(many, 100, 5.0, lambda t: False))
    np.testing.assert_allclose(feed(gradfilter_ma, {}, many), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("warmup", [True, False])
def test_a_trigger_adds_nothing_while_the_window_fills(warmup):
    model, grads = torch.nn.Linear(3, 2, bias=False).double(), None
    for t, g in enumerate(GRADIENTS):
        model.weight.grad = torch.from_numpy(g.copy())
        grads = gradfilter_ma(model, grads, window_size=3, lamb=2.0, warmup=warmup, trigger=t < 5)
        expected = g if t < 5 else g + 2.0 * np.mean(GRADIENTS[t - 2 : t + 1], 0)
        np.testing.assert_allclose(model.weight.grad.numpy(), expected, rtol=1e-12)


def test_settings_may_change_on_the_way():
    first, second = GRADIENTS[:2]
    model = torch.nn.Linear(3, 2, bias=False).double()
    model.weight.grad = torch.from_numpy(first.copy())
    grads = gradfilter_ema(model, None, 0.9, 1.0)
    model.weight.grad = torch.from_numpy(second.copy())
    gradfilter_ema(model, grads, 0.5, 4.0)
    np.testing.assert_allclose(model.weight.grad.numpy(), second + 4.0 * (first + second) / 2, rtol=1e-12)


def through_a_file(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kept", [through_a_file, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_resuming_is_bit_for_bit(name, kept):
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    resumed, _ = trained(function, settings, range(5, 8), kept(grads), model)
    assert same(values(resumed), values(trained(function, settings)[0]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_step_that_is_not_finite_leaves_no_trace(name, bad):
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    before = copy.deepcopy(grads)
    loss(model, 9).backward()
    model[2].bias.grad[0] = bad
    raw = [p.grad.clone() for p in model.parameters()]
    grads = function(model, grads=grads, **settings)
    assert str(grads) == str(before)
    for p, g in zip(model.parameters(), raw, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=0, atol=0, equal_nan=True)


def test_late_frozen_and_missing_gradients():
    model = network()
    model[0].requires_grad_(False)
    loss(model, 0).backward()
    grads = gradfilter_ema(model, None, 0.5, 1.0)
    assert set(grads) == {"2.weight", "2.bias"}
    model[0].requires_grad_(True)
    model.zero_grad()
    loss(model, 1).backward()
    raw = model[0].weight.grad.clone()
    model[2].bias.grad = None
    grads = gradfilter_ema(model, grads, 0.5, 1.0)
    torch.testing.assert_close(model[0].weight.grad, 2.0 * raw, rtol=0, atol=0)  # its first: g + 1·g
    assert {name: entry["step"] for name, entry in grads.items()} == {
        "0.weight": 1,
        "0.bias": 1,
        "2.weight": 2,
        "2.bias": 1,
    }


def test_before_any_gradient_nothing_happens():
    assert gradfilter_ema(network()) == {}


@pytest.mark.parametrize(
    ("grads", "call"),
    [
        (lambda: trained(gradfilter_ema, {}, range(1))[1], gradfilter_ma),
        (lambda: trained(gradfilter_ma, {"window_size": 4}, range(1))[1], gradfilter_ma),
        (lambda: {name: torch.zeros_like(p) for name, p in network().named_parameters()}, gradfilter_ema),
    ],
)
def test_another_s_state_is_refused(grads, call):
    model = network()
    loss(model, 0).backward()
    with pytest.raises(InputError, match="grads is not what gradfilter_m?e?m?a.* returned with these settings"):
        call(model, grads())


def test_refusals():
    model = network()
    loss(model, 0).backward()
    with pytest.raises(InputError, match="alpha=1.0 is not possible"):
        gradfilter_ema(model, alpha=1.0)
    with pytest.raises(InputError, match="needs the model, a torch.nn.Module, got SGD"):
        gradfilter_ema(torch.optim.SGD(model.parameters(), lr=0.1))
    model[0].weight.grad = model[0].weight.grad.to_sparse()
    with pytest.raises(InputError, match=r"gradient of 0.weight is torch.sparse_coo; make it dense"):
        gradfilter_ma(model)
