"""Copies of an attached optimizer: deepcopy, pickle, torch.save; each is attached too, with a state of its own."""

import copy
import io
import pickle
import weakref

import pytest
import torch
from by_hand import TRANSFORMS, average_of_functions, loss, make, network, run, same, values
from distributed import spawned
from torch import nn

from grokkit import InputError, NeuralGrok, attach, grokfast_ema
from grokkit.attach import attached

HALF, WHOLE = 4, 8
ADAM = (torch.optim.Adam, {"lr": 0.05})


def through_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


def through_torch_save(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": through_pickle, "torch.save": through_torch_save}


def copied_half_way(copied, transform, case=ADAM, **settings):
    model, optimizer = make(*case)
    attach(optimizer, transform, **settings)
    run(model, optimizer, range(HALF))
    return model, optimizer, *copied((model, optimizer))


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_goes_on_like_the_original_and_with_a_state_of_its_own(way, capturable):
    model, optimizer, twin, other = copied_half_way(COPIES[way], average_of_functions(), capturable=capturable)
    assert type(other) is torch.optim.Adam
    assert attached(other) is not attached(optimizer)
    assert {id(p) for p in twin.parameters()} == {id(p) for g in other.param_groups for p in g["params"]}
    ends = [run(model, optimizer, range(HALF, WHOLE)), run(twin, other, range(HALF, WHOLE))]
    assert same(*ends)
    whole, single = make(*ADAM)
    attach(single, average_of_functions(), capturable=capturable)
    assert same(ends[0], run(whole, single, range(WHOLE)))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_deep_copy_needs_no_transform_that_can_be_pickled(name):
    model, optimizer, twin, other = copied_half_way(copy.deepcopy, TRANSFORMS[name]())
    assert same(run(model, optimizer, range(HALF, WHOLE)), run(twin, other, range(HALF, WHOLE)))


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_a_copy_is_attached_and_can_be_detached(way):
    _, _, twin, other = copied_half_way(COPIES[way], average_of_functions())
    twin, other = COPIES[way]((twin, other))
    attached(other).detach()
    assert attached(other) is None
    assert not any("grokkit" in key for entry in other.state.values() for key in entry)
    again = copy.deepcopy((twin, other))  # a bare optimizer's copy is bare
    assert attached(again[1]) is None


def test_a_copy_by_itself_has_parameters_of_its_own():
    model, optimizer = make(*ADAM)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    other = copy.deepcopy(optimizer)
    theirs, ours = (o.param_groups[0]["params"] for o in (other, optimizer))
    assert not {id(p) for p in theirs} & {id(p) for p in ours}
    assert set(attached(other).parameters.values()) == set(theirs)


def test_a_shallow_copy_would_share_its_state_and_is_refused():
    model, optimizer = make(*ADAM)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    with pytest.raises(InputError, match=r"copy\.copy\(\) of Adam would share its state .*; use copy\.deepcopy\(\)"):
        copy.copy(optimizer)
    run(model, optimizer, range(2, 3))
    assert attached(optimizer).state.step["group 0 parameter 0"] == 3


class Remembering(torch.optim.SGD):
    """Its copies have all of its attributes, hooks as well."""

    def __getstate__(self):
        return self.__dict__


class Together(torch.optim.SGD):
    def __reduce__(self):
        return Together, (self.param_groups, self.defaults["lr"]), {"state": self.state, "note": 7}


@pytest.mark.parametrize("cls", [Remembering, Together])
def test_classes_with_ways_of_their_own_to_be_copied_are_filtered_once(cls):
    model, optimizer, twin, other = copied_half_way(copy.deepcopy, grokfast_ema(), (cls, {"lr": 0.05}))
    assert same(run(model, optimizer, range(HALF, WHOLE)), run(twin, other, range(HALF, WHOLE)))
    assert set(attached(other).state.step.values()) == {WHOLE}
    assert set(attached(optimizer).state.step.values()) == {WHOLE}


@pytest.mark.parametrize("stepped", [False, True])
def test_neuralgrok_is_copied_with_its_model_and_optimizer(stepped):
    """Before the first step what the amplifier has learned is nowhere but in the handle."""
    model, optimizer = make(*ADAM)
    ng = NeuralGrok(model, optimizer, hidden=(4, 4), every=1, lr=0.1)
    outer(ng, model, optimizer, stepped)
    twin, other, theirs = copy.deepcopy((model, optimizer, ng))
    assert theirs.handle is attached(other)
    found, expected = theirs.amplifier.named(), ng.amplifier.named()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not any(a.data_ptr() == b.data_ptr() for a, b in zip(found.values(), expected.values(), strict=True))
    for each in ((ng, model, optimizer), (theirs, twin, other)):
        outer(*each, True)
    assert same(values(model), values(twin))
    assert theirs.handle.state.updates == ng.handle.state.updates == 2


def outer(ng, model, optimizer, step):
    optimizer.zero_grad()
    loss(model, 0).backward()
    ng.outer_step(outer_loss=lambda: loss(model, 9))
    if step:
        optimizer.step()


def test_a_handle_that_is_detached_is_copied_as_that():
    _, optimizer = make(*ADAM)
    handle = attach(optimizer, grokfast_ema())
    handle.detach()
    copied = through_pickle(handle)
    assert (copied.state, copied.parameters) == (None, {})
    copied.detach()


def test_an_optimizer_that_is_only_in_a_copied_wrapper_is_attached():
    class Holder:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model, optimizer = make(*ADAM)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    twin, holder = copy.deepcopy((model, Holder(optimizer)))
    assert same(run(model, optimizer, range(2, 5)), run(twin, holder.optimizer, range(2, 5)))


def test_the_average_that_a_copy_goes_on_with():
    """1 + (0.9·10 + 0.1·1), by hand."""
    p = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0))
    p.grad = torch.tensor([10.0])
    optimizer.step()
    q, other = copy.deepcopy((p, optimizer))
    q.grad = torch.tensor([1.0])
    other.step()
    torch.testing.assert_close(q.grad, torch.tensor([10.1]))
    p.grad = torch.tensor([1.0])
    optimizer.step()
    torch.testing.assert_close(p.grad, torch.tensor([10.1]))


def test_a_copied_model_leaves_the_optimizer_attached():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    attach(optimizer, grokfast_ema())
    copy.deepcopy(model)
    pickle.dumps(model)
    assert weakref.ref(optimizer)() is optimizer
    run(model, optimizer, range(2))
    assert set(attached(optimizer).state.step.values()) == {2}


def test_a_copy_s_state_is_not_seen_before_it_is_taken_up():
    _, optimizer = make(*ADAM)
    handle = attach(optimizer, grokfast_ema())
    for p in handle.parameters.values():
        p.grad = torch.ones_like(p)
    optimizer.step()
    _, copied = copy.deepcopy((optimizer, handle))
    assert copied.state is None
    copied.revise(lambda state: state, copied.parameters)
    assert set(copied.state.step.values()) == {1}


@pytest.mark.slow  # starts a process
def test_a_spawned_process_trains_on_with_what_it_is_sent():
    model, optimizer = make(*ADAM)
    attach(optimizer, average_of_functions())
    run(model, optimizer, range(HALF))
    twin, other = copy.deepcopy((model, optimizer))
    results = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(spawned.go_on, (model, optimizer, results, range(HALF, WHOLE)))
    ends, count, names = results.get()
    assert count == WHOLE
    assert names == list(attached(optimizer).parameters)
    assert ends == [end.tolist() for end in run(twin, other, range(HALF, WHOLE))]
