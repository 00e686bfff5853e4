"""A transform that was pickled, copied, or sent to another process is the same transform."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import cloudpickle
import pytest
import torch
from cards import CARDS
from factories import FACTORIES

from grokkit import chain, grokfast_ema, masked, neuralgrok
from grokkit.methods.neuralgrok.amplifier import Amplifier, fresh_amplifier
from grokkit.state import counters_to_ints, leaves
from grokkit.testing.excitation import gradients, parameters
from grokkit.transform import in_place

WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def trained(transform):
    """Results and state of both faces, as one list of tensors; of numbers, for what comes from another process."""
    params, found = parameters(), []
    state, other = transform.init(params), counters_to_ints(transform.init(params))
    for grads in gradients():
        out, state = transform.update(grads, state, params)
        given = {name: g.clone() for name, g in grads.items()}
        other = in_place(transform)(given, other, params)
        found += [*out.values(), *given.values()]
    found += [leaf for kind in (state, other) for _, _, leaf in leaves(kind)]
    return [torch.as_tensor(value).tolist() for value in found]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FACTORIES)
def test_a_copy_gives_equal_values(name, way):
    transform = FACTORIES[name]()
    assert trained(WAYS[way](transform)) == trained(transform)


def test_a_spawned_process_gives_equal_values():
    """As ``ddp_spawn``, notebooks and Ray do it: transforms go there, states and results come back."""
    transforms = [make() for make in FACTORIES.values()]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        theirs = list(pool.map(trained, transforms))
    assert theirs == [trained(transform) for transform in transforms]


@pytest.mark.parametrize("way", ["pickle", "cloudpickle", "deepcopy"])
def test_states_and_amplifiers_are_copied_whole(way):
    amplifier = fresh_amplifier((4, 3), seed=7)
    copied = WAYS[way](amplifier)
    assert isinstance(copied, Amplifier)
    assert all(torch.equal(a, b) for a, b in zip(copied.named().values(), amplifier.named().values(), strict=True))
    state = neuralgrok(hidden=(4, 3)).init(parameters())
    again = WAYS[way](state)
    assert type(again) is type(state)
    for (path, _, ours), (_, _, theirs) in zip(leaves(again), leaves(state), strict=True):
        assert torch.equal(ours, theirs), path
        assert ours.data_ptr() != theirs.data_ptr(), path


def test_a_deep_copy_shares_no_amplifier():
    transform = neuralgrok(amplifier=fresh_amplifier((4, 3), seed=7))
    before, copied = trained(transform), copy.deepcopy(transform)
    for tensor in copied.init.__self__.given.named().values():
        tensor.zero_()
    assert trained(transform) == before != trained(copied)


def test_a_lambda_of_the_user_s_is_for_cloudpickle():
    transform = masked(grokfast_ema(), lambda _name, p: p.ndim >= 2)
    assert trained(WAYS["cloudpickle"](transform)) == trained(transform)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(chain(transform))


@pytest.mark.parametrize("name", CARDS)
def test_a_card_can_be_pickled(name):
    copied = pickle.loads(pickle.dumps(CARDS[name]))
    assert copied.factory is CARDS[name].factory
    assert copied.base == CARDS[name].base
