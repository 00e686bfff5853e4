"""Combining transforms, refusing what is none, and walking a state."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import grokkit
from grokkit import GradientTransform, InputError, chain, grad_norm, grokfast_ema, grokfast_ma, masked
from grokkit.rng import stream
from grokkit.state import columns, counters_to_ints, ints_to_counters, leaves, map_leaves, with_columns
from grokkit.transform import in_place


def sample(seed=0):
    generator = stream(seed, "sample")
    return {"w": torch.randn(3, 2, generator=generator), "b": torch.randn(2, generator=generator)}


PARAMS = sample()


def run(transform, steps=6):
    """Both faces over the same gradients; returns the pure results after checking that they agree."""
    state, other = transform.init(PARAMS), counters_to_ints(transform.init(PARAMS))
    update_, results = in_place(transform), []
    for step in range(1, steps + 1):
        out, state = transform.update(sample(step), state, PARAMS)
        given = sample(step)
        other = update_(given, other, PARAMS)
        for name in out:
            torch.testing.assert_close(given[name], out[name])
        results.append(out)
    return results


def test_chain_applies_the_first_one_first():
    grads = {"w": torch.tensor([3.0, 4.0])}

    def once(transform):
        return transform.update(grads, transform.init(grads), grads)[0]["w"]

    torch.testing.assert_close(once(chain(grad_norm(1.0), grokfast_ema(lamb=2.0))), torch.tensor([1.8, 2.4]))
    torch.testing.assert_close(once(chain(grokfast_ema(lamb=2.0), grad_norm(1.0))), torch.tensor([0.6, 0.8]))


def test_chain_equals_one_after_the_other():
    first, second = grokfast_ma(window_size=3, lamb=2.0), grokfast_ema(alpha=0.7)
    one, two = first.init(PARAMS), second.init(PARAMS)
    for step, ours in enumerate(run(chain(first, second)), start=1):
        middle, one = first.update(sample(step), one, PARAMS)
        expected, two = second.update(middle, two, PARAMS)
        for name in expected:
            assert torch.equal(ours[name], expected[name])


def test_chain_keeps_one_state_for_each():
    first, second = grokfast_ma(window_size=3), grokfast_ema()
    state = chain(first, grad_norm(), second).init(PARAMS)
    assert [type(own).__name__ for own in state] == ["MaState", "tuple", "EmaState"]


def test_chains_nest():
    flat = run(chain(grad_norm(), grokfast_ma(window_size=3), grokfast_ema()))
    nested = run(chain(chain(grad_norm(), grokfast_ma(window_size=3)), chain(grokfast_ema())))
    for a, b in zip(flat, nested, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_chain_mixes_transforms_with_and_without_an_in_place_face():
    ema = grokfast_ema(alpha=0.7)
    mixed = run(chain(GradientTransform(ema.init, ema.update), grokfast_ma(window_size=2)))
    for a, b in zip(mixed, run(chain(ema, grokfast_ma(window_size=2))), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_masked_leaves_the_others_alone():
    transform = masked(grokfast_ema(lamb=2.0), lambda _name, p: p.ndim >= 2)
    assert transform.init(PARAMS).slow.keys() == {"w"}
    first = run(transform)[0]
    torch.testing.assert_close(first["w"], 3 * sample(1)["w"])
    assert torch.equal(first["b"], sample(1)["b"])


def test_masked_equals_the_transform_on_a_part():
    part = {"w": PARAMS["w"]}
    transform = grokfast_ma(window_size=3)
    state = transform.init(part)
    for step, ours in enumerate(run(masked(transform, lambda name, _p: name == "w")), start=1):
        expected, state = transform.update({"w": sample(step)["w"]}, state, part)
        assert torch.equal(ours["w"], expected["w"])


def test_masks_that_complement_each_other_are_the_whole():
    ema, ma = grokfast_ema(alpha=0.7), grokfast_ma(window_size=2)
    both = chain(masked(ema, lambda name, _p: name == "w"), masked(ma, lambda name, _p: name != "w"))
    for ours, e, m in zip(run(both), run(ema), run(ma), strict=True):
        assert torch.equal(ours["w"], e["w"])
        assert torch.equal(ours["b"], m["b"])


@pytest.mark.parametrize("in_place_face", [True, False])
def test_masked_when_nothing_passes_the_mask(in_place_face):
    ema = grokfast_ema()
    if not in_place_face:
        ema = GradientTransform(ema.init, ema.update)
    for ours, step in zip(run(masked(ema, lambda _name, _p: False)), range(1, 7), strict=True):
        assert all(torch.equal(ours[name], g) for name, g in sample(step).items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(), r"chain\(\) got no transform; give at least one, e.g. chain\(grad_norm\(\)"),
        (lambda: chain(grokfast_ema), r"chain\(\) needs .* got 'grokfast_ema'; call it: grokfast_ema\(\.\.\.\)"),
        (lambda: chain(grokfast_ema(), None), r"got 'NoneType'; use e.g. grokkit.grokfast_ema\(\)"),
        (lambda: chain([grokfast_ema()]), "got 'list'"),
        (lambda: masked(grad_norm, lambda _n, _p: True), r"masked\(\) needs .* got 'grad_norm'; call it"),
        (lambda: masked("ema", lambda _n, _p: True), "got 'str'; use e.g."),
    ],
)
def test_what_is_not_a_transform_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_everything_promised_is_exported():
    assert set(grokkit.__all__) <= set(dir(grokkit))
    assert {"attach", "chain", "masked", "grokfast_ema", "grokfast_ma", "grad_norm"} <= set(grokkit.__all__)


class Pair(NamedTuple):
    count: Tensor | int
    value: dict[str, Tensor]


def nested():
    zero = torch.zeros((), dtype=torch.int64)
    return (Pair(zero, {"w": torch.ones(2)}), (), (torch.zeros(()), {"w": zero, "b": zero}))


def test_leaves_name_places_and_parameters():
    found = [(path, name) for path, name, _ in leaves(nested())]
    assert found == [("0/count", None), ("0/value", "w"), ("2/0", None), ("2/1", "w"), ("2/1", "b")]
    assert [(path, name) for path, name, _ in leaves(torch.ones(1))] == [("", None)]


def test_map_leaves_keeps_the_structure():
    state = map_leaves(lambda path, name, leaf: (path, name, leaf.shape), nested())
    assert isinstance(state[0], Pair)
    assert state[0].count == ("0/count", None, ())
    assert state[0].value == {"w": ("0/value", "w", (2,))}
    assert state[1] == ()
    assert state[2] == (("2/0", None, ()), {"w": ("2/1", "w", ()), "b": ("2/1", "b", ())})


def test_columns_are_taken_out_and_others_put_in_their_place():
    state = (Pair(3, {"w": 1.0}), (7, {}))
    found = dict(columns(state))
    assert found == {"0/count": 3, "0/value": {"w": 1.0}, "1/0": 7, "1/1": {}}
    again = with_columns(state, {**found, "0/count": 4, "1/1": {"b": 2.0}})
    assert again == (Pair(4, {"w": 1.0}), (7, {"b": 2.0}))
    assert isinstance(again[0], Pair)


def test_counters_become_integers_and_back():
    state = counters_to_ints(nested())
    assert type(state[0].count) is int
    assert isinstance(state[2][0], Tensor)  # a 0-d float is a value, not a counter
    assert state[2][1] == {"w": 0, "b": 0}
    params = {"w": torch.zeros(1), "b": torch.zeros(1, device="meta")}
    back = ints_to_counters(state, params)
    assert back[0].count.dtype is torch.int64
    assert back[2][1]["b"].ndim == 0
    # Each on its parameter's device, as in the pure face: of several devices, tensors do not go together.
    assert (back[2][1]["w"].device.type, back[2][1]["b"].device.type, back[0].count.device.type) == (
        "cpu",
        "meta",
        "cpu",
    )
    assert ints_to_counters((True, 2.0, None), params) == (True, 2.0, None)


def stepped(transform, named=False):
    model = torch.nn.Linear(3, 2)
    params = model.named_parameters() if named else model.parameters()
    optimizer = torch.optim.SGD(params, lr=0.1)
    grokkit.attach(optimizer, transform)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model.weight.grad.norm().item()


@pytest.mark.parametrize("where", [lambda p: True, lambda: True, lambda a, b, c: True, lambda *, name, p: True])
def test_a_mask_that_does_not_take_a_name_and_a_parameter_is_refused(where):
    with pytest.raises(InputError, match=r"masked\(\) calls where\(name, parameter\), and .* does not take these two"):
        masked(grad_norm(), where)


def test_a_mask_that_answers_for_every_entry_is_refused():
    with pytest.raises(InputError, match=r"where\(\) gave 6 numbers for weight; .* give one truth value"):
        stepped(masked(grad_norm(), lambda _name, p: p > 0), named=True)


def test_a_mask_may_answer_with_a_number_or_a_tensor_of_one():
    for where in (lambda _name, p: p.ndim, lambda _name, p: p.isfinite().all(), lambda _name, *rest: rest):
        assert stepped(masked(grad_norm(), where)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("within", [lambda t: t, lambda t: chain(grad_norm(), t), lambda t: masked(t, lambda *_: True)])
def test_a_mask_that_lets_nothing_through_is_warned_of(within):
    transform = within(masked(grokfast_ema(), lambda name, _p: "weight" in name))
    with pytest.warns(UserWarning, match="lets none of the optimizer's 2 parameters through.*'group 0 parameter 0'"):
        stepped(transform)
    stepped(transform, named=True)  # no warning: these are the model's names


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (lambda grads, state: grads, "return the gradients, a dict by name, and the state"),
        (lambda grads, state: None, r"update\(\) gave None; return"),
        (lambda grads, state: ({name: g.sum() for name, g in grads.items()}, state), r"of shape \(\), where the one"),
        (lambda grads, state: (dict.fromkeys(grads, 1.0), state), "that is 1.0, where the one that it got is of shape"),
        (lambda grads, state: ({}, state), r"update\(\) gave no gradient of .*; return all that it gets"),
        (lambda grads, state: ({**grads, "other": torch.ones(1)}, state), "of 'other' that .* it got is absent"),
    ],
)
def test_an_update_that_gives_no_gradients_is_refused(gives, message):
    with pytest.raises(InputError, match=message):
        stepped(GradientTransform(lambda _params: (), lambda grads, state, _params: gives(grads, state)))
