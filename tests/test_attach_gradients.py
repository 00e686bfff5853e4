"""Gradients that share memory: each is filtered once, as if it lay by itself."""

import pytest
import torch
from by_hand import TRANSFORMS
from torch import Tensor

from grokkit import InputError, attach, clip_norm, egd_columns, grokfast_ema, orthograd
from grokkit.compat import gradfilter_ema


def expanded(p, q):
    p.grad, q.grad = torch.tensor([[2.0]]).expand(2, 3), torch.tensor([3.0, 4.0, 5.0]).expand(2, 3)


def one_for_two(p, q):
    p.grad = q.grad = torch.arange(6.0).reshape(2, 3)


def views_of_one(p, q):
    p.grad = torch.arange(6.0).reshape(2, 3)
    q.grad = p.grad.detach()


def the_parameter_s_own(p, q):
    p.grad, q.grad = p.detach(), q.detach()


def weights(give, transform):
    """Two parameters after three steps on the gradients that ``give`` gives; without a transform as they come."""
    p, q = (torch.nn.Parameter(torch.full((2, 3), value)) for value in (1.0, -2.0))
    optimizer = torch.optim.SGD([p, q], lr=0.1)
    if transform is not None:
        attach(optimizer, transform)
    for _ in range(3):
        give(p, q)
        if transform is None:
            p.grad, q.grad = p.grad.clone(), q.grad.clone()
        optimizer.step()
    return [p.detach(), q.detach()]


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("give", [expanded, one_for_two, views_of_one, the_parameter_s_own])
def test_gradients_that_share_memory_are_filtered_once_each(give, name):
    def apart(p, q):
        give(p, q)
        p.grad, q.grad = (g.clone(memory_format=torch.contiguous_format) for g in (p.grad, q.grad))

    for ours, theirs in zip(weights(give, TRANSFORMS[name]()), weights(apart, TRANSFORMS[name]()), strict=True):
        assert torch.equal(ours, theirs)


def test_the_numbers_of_a_gradient_that_two_parameters_share():
    """The first gradient is its own average, so that each becomes (1 + 1)·g, not (1 + 1 + 1)·g."""
    p, q = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([p, q], lr=1.0)
    attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0))
    p.grad = q.grad = torch.tensor([1.0, 5.0])
    optimizer.step()
    assert (p.tolist(), q.tolist()) == ([-2.0, -10.0], [-2.0, -10.0])


def test_a_gradient_with_memory_of_its_own_stays_where_it_is():
    p = torch.nn.Parameter(torch.zeros(2, 3))
    empty = torch.nn.Parameter(torch.zeros(0, 3))
    optimizer = torch.optim.SGD([p, empty], lr=1.0)
    attach(optimizer, grokfast_ema())
    for layout in (torch.ones(2, 3), torch.ones(3, 2).T):
        given: list[Tensor] = [layout, torch.zeros(0, 3)]
        p.grad, empty.grad = given
        optimizer.step()
        assert (p.grad is given[0], empty.grad is given[1]) == (True, True)


def test_what_is_no_optimizer_s_state_is_refused_when_it_is_loaded():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(optimizer, grokfast_ema())
    for wrong in ({"model": {}, "optimizer": {}}, {}, {"state": {}}, {"state": [], "param_groups": []}):
        with pytest.raises(InputError, match=r"load_state_dict\(\) got a dict with .*'state' and 'param_groups'"):
            optimizer.load_state_dict(wrong)


def conjugate_and_negative(p, q):
    """Autograd leaves such views behind ``conj()`` and ``.imag``; PyTorch's kernels for lists write into none."""
    p.grad, q.grad = torch._neg_view(torch.arange(6.0).reshape(2, 3)), torch._neg_view(torch.ones(2, 3))
    assert p.grad.is_neg()
    assert q.grad.is_neg()


METHODS = TRANSFORMS | {"orthograd": orthograd, "egd": egd_columns, "clip": clip_norm}


@pytest.mark.parametrize("name", METHODS)
def test_a_gradient_that_is_a_negative_view_is_what_it_stands_for(name):
    def plain(p, q):
        conjugate_and_negative(p, q)
        p.grad, q.grad = p.grad.resolve_neg(), q.grad.resolve_neg()

    for ours, theirs in zip(
        weights(conjugate_and_negative, METHODS[name]()), weights(plain, METHODS[name]()), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", METHODS)
def test_a_gradient_that_is_a_conjugate_view_is_what_it_stands_for(name):
    found = []
    for is_view in (True, False):
        z = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.complex64))
        optimizer = torch.optim.SGD([z], lr=0.1)
        attach(optimizer, METHODS[name]())
        for k in range(3):
            view = (torch.arange(6.0).reshape(2, 3) + (k - 2j)).conj()
            assert view.is_conj()
            z.grad = view if is_view else view.resolve_conj()
            optimizer.step()
        found.append(z.detach())
    assert torch.equal(*found)


def test_autograd_s_own_negative_view_is_filtered():
    a, b = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([a, b], lr=1.0)
    attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0))
    (torch.complex(a, b).conj() * (1 + 1j)).real.sum().backward()  # a + b
    optimizer.step()
    assert (a.item(), b.item()) == (-1.0, -1.0)


@pytest.mark.parametrize("give", [expanded, one_for_two, views_of_one, the_parameter_s_own, conjugate_and_negative])
def test_the_paper_s_function_filters_them_as_the_attached_transform_does(give):
    p, q = (torch.nn.Parameter(torch.full((2, 3), value)) for value in (1.0, -2.0))
    model, grads = torch.nn.ParameterList([p, q]), None
    for _ in range(3):
        give(p, q)
        grads = gradfilter_ema(model, grads, alpha=0.9, lamb=1.0)
        with torch.no_grad():
            p.sub_(p.grad, alpha=0.1), q.sub_(q.grad, alpha=0.1)
    expected = weights(give, grokfast_ema(alpha=0.9, lamb=1.0))
    torch.testing.assert_close([p.detach(), q.detach()], expected, rtol=1e-6, atol=0)  # rounding of float32
