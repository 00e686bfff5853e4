"""The attached face's memory: saved, loaded, copied, refused, removed; resuming is bit for bit."""

import copy
import io
from typing import NamedTuple

import pytest
import torch
from by_hand import TRANSFORMS, counted, loss, make, network, optimizer_cases, run, same, values
from grids import pairwise
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from grokkit import GradientTransform, InputError, attach, chain, grad_norm, grokfast_ema, grokfast_ma, masked

CASES = {label: (cls, settings) for label, cls, settings in optimizer_cases()}
HALF, WHOLE = 6, 12


class LengthState(NamedTuple):
    mean: Tensor  # of the gradients' lengths: one for all parameters
    seen: Tensor


def divide_by_mean_length():
    """A transform whose whole state is shared between the parameters."""

    def update(grads, state, params):
        length = torch.sqrt(sum(g.square().sum() for g in grads.values()))
        mean = torch.where(state.seen == 0, length, 0.5 * (state.mean + length))
        return {name: g / mean for name, g in grads.items()}, LengthState(mean, state.seen + 1)

    return GradientTransform(lambda params: LengthState(torch.zeros(()), torch.zeros((), dtype=torch.int64)), update)


def through_a_file(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def half_way(case, factory):
    """Train to the middle; returns what a checkpoint holds."""
    model, optimizer = make(*case)
    attach(optimizer, factory())
    run(model, optimizer, range(HALF))
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def whole_run(case, factory):
    model, optimizer = make(*case)
    attach(optimizer, factory())
    return run(model, optimizer, range(WHOLE))


def resumed(case, factory, checkpoint, attach_first):
    model, optimizer = make(*case)
    model.load_state_dict(checkpoint["model"])
    if attach_first:
        attach(optimizer, factory())
    optimizer.load_state_dict(checkpoint["optimizer"])
    if not attach_first:
        attach(optimizer, factory())
    return run(model, optimizer, range(HALF, WHOLE))


@pytest.mark.parametrize(("case", "transform", "attach_first"), pairwise(CASES, ["ma", "chain"], [True, False]))
def test_resume_is_bit_for_bit(case, transform, attach_first):
    factory = TRANSFORMS[transform]
    checkpoint = through_a_file(half_way(CASES[case], factory))
    ours = resumed(CASES[case], factory, checkpoint, attach_first)
    assert same(ours, whole_run(CASES[case], factory))


ADAM = (torch.optim.Adam, {})


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-load", "load-attach"])
def test_shared_state_is_saved_and_its_saved_copy_left_alone(attach_first):
    checkpoint = half_way(ADAM, divide_by_mean_length)
    entries = checkpoint["optimizer"]["state"]
    assert entries.keys() == {0, 1, 2, 3}  # nothing but parameters, as distributed checkpoints need it
    assert {key for key in entries[0] if "grokkit" in key} == {"grokkit:mean", "grokkit:seen"}
    assert entries[0]["grokkit:seen"] == HALF
    checkpoint = through_a_file(checkpoint)
    before = copy.deepcopy(checkpoint)
    ours = resumed(ADAM, divide_by_mean_length, checkpoint, attach_first)
    assert same(ours, whole_run(ADAM, divide_by_mean_length))
    for key in ("grokkit:mean", "grokkit:seen"):
        assert str(checkpoint["optimizer"]["state"][0][key]) == str(before["optimizer"]["state"][0][key])


class PhaseState(NamedTuple):
    phase: Tensor
    phases: Tensor


def turning(conjugate=False):
    """A transform with complex numbers that all parameters share, one by itself and some in a row."""

    def update(grads, state, params):
        phase, phases = state.phase * (0.6 + 0.8j), state.phases + (1 + 2j)
        return {name: g * phase.imag for name, g in grads.items()}, PhaseState(
            phase, phases.conj() if conjugate else phases
        )

    return GradientTransform(
        lambda params: PhaseState(torch.ones((), dtype=torch.complex64), torch.zeros(2) + 0j), update
    )


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize("conjugate", [False, True])
def test_complex_numbers_that_all_parameters_share_are_saved_with_both_parts(attach_first, conjugate):
    def factory():
        return turning(conjugate)

    model, optimizer = make(*ADAM)
    handle = attach(optimizer, factory())
    run(model, optimizer, range(HALF))
    saved = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    assert saved["optimizer"]["state"][0]["grokkit:phases"].shape == (2, 16)
    assert same(resumed(ADAM, factory, saved, attach_first), whole_run(ADAM, factory))
    del handle


def test_complex_numbers_that_were_saved_without_their_imaginary_part_are_refused():
    model, optimizer = make(*ADAM)
    attach(optimizer, turning())
    run(model, optimizer, range(2))
    saved = optimizer.state_dict()
    for name in ("grokkit:phase", "grokkit:phases"):
        saved["state"][0][name] = saved["state"][0][name][..., :8].clone()
    optimizer.load_state_dict(saved)
    with pytest.raises(InputError, match="should be a complex64 tensor of shape .*, but is a float64 tensor"):
        run(model, optimizer, range(1))


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_training_on_leaves_the_loaded_checkpoint_alone(transform, attach_first):
    checkpoint = through_a_file(half_way(ADAM, TRANSFORMS[transform]))
    before = copy.deepcopy(checkpoint["optimizer"]["state"])
    resumed(ADAM, TRANSFORMS[transform], checkpoint, attach_first)
    for index, entry in checkpoint["optimizer"]["state"].items():
        assert entry.keys() == before[index].keys()
        for key in (key for key in entry if "grokkit" in key):  # PyTorch itself steps on Adam's counter
            assert torch.equal(torch.as_tensor(entry[key]), torch.as_tensor(before[index][key])), key


def test_rolling_back_to_an_earlier_checkpoint_while_attached():
    model, optimizer = make(*ADAM)
    attach(optimizer, TRANSFORMS["chain"]())
    run(model, optimizer, range(HALF))
    checkpoint = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    first = run(model, optimizer, range(HALF, WHOLE))
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    assert same(run(model, optimizer, range(HALF, WHOLE)), first)


def test_saving_again_before_the_first_step_after_loading():
    checkpoint = half_way(ADAM, TRANSFORMS["chain"])
    _, optimizer = make(*ADAM)
    attach(optimizer, TRANSFORMS["chain"]())
    optimizer.load_state_dict(checkpoint["optimizer"])
    again = {"model": checkpoint["model"], "optimizer": optimizer.state_dict()}
    ours = resumed(ADAM, TRANSFORMS["chain"], again, attach_first=True)
    assert same(ours, whole_run(ADAM, TRANSFORMS["chain"]))


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-load", "load-attach"])
def test_a_plain_run_s_checkpoint_starts_the_filter_fresh(attach_first):
    model, optimizer = make(*ADAM)
    run(model, optimizer, range(HALF))
    checkpoint = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    attach(optimizer, TRANSFORMS["chain"]())
    expected = run(model, optimizer, range(HALF, WHOLE))
    assert counted(optimizer, model[0].weight, "1/step") == WHOLE - HALF
    assert same(resumed(ADAM, TRANSFORMS["chain"], checkpoint, attach_first), expected)


def test_a_plain_checkpoint_loaded_into_a_running_filter_resets_it():
    model, optimizer = make(*ADAM)
    plain = copy.deepcopy(optimizer.state_dict())
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(3))
    optimizer.load_state_dict(plain)
    run(model, optimizer, range(1))
    assert counted(optimizer, model[0].weight) == 1


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize(
    ("saved_with", "loaded_into", "message"),
    [
        (grokfast_ema, grokfast_ma, "holds .*grokkit/slow.* keeps .*grokkit/window.*attach the transform it was"),
        (grokfast_ma, grokfast_ema, "holds .*grokkit/window.* keeps .*grokkit/slow"),
        (grokfast_ema, grad_norm, "holds .*grokkit/slow.* keeps nothing"),
        (grokfast_ema, lambda: chain(grokfast_ema()), "holds .*grokkit/slow.* keeps .*grokkit/0/slow"),
        (
            lambda: chain(grokfast_ema()),
            lambda: chain(grokfast_ema(), grokfast_ema(alpha=0.9)),
            "holds .*grokkit/0/slow.* keeps .*grokkit/1/slow",
        ),
        (
            lambda: grokfast_ma(window_size=4),
            lambda: grokfast_ma(window_size=5),
            r"saved 'window' has shape \(5, 3, 3\), this transform needs \(5, 3, 4\); attach it with the settings",
        ),
        (lambda: grokfast_ma(window_size=1), lambda: grokfast_ma(window_size=2), r"shape \(5, 3, 0\)"),
    ],
)
def test_state_of_another_transform_is_refused(saved_with, loaded_into, message, attach_first):
    checkpoint = half_way(ADAM, saved_with)
    with pytest.raises(InputError, match=message):
        resumed(ADAM, loaded_into, checkpoint, attach_first)


def test_second_attach_is_refused_until_detached():
    model, optimizer = make(*ADAM)
    handle = attach(optimizer, grokfast_ema())
    with pytest.raises(InputError, match=r"has a transform attached; detach\(\) it, or attach chain"):
        attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    handle.detach()
    second = attach(optimizer, grokfast_ma(window_size=2))
    handle.detach()  # an old handle does nothing
    run(model, optimizer, range(2))
    assert optimizer.state[model[0].weight]["grokkit/window"].shape == (5, 3, 1)
    second.detach()
    second.detach()


@pytest.mark.parametrize("factory", [TRANSFORMS["chain"], divide_by_mean_length], ids=["chain", "shared"])
@pytest.mark.parametrize("case", CASES)
def test_detach_leaves_the_bare_optimizer(case, factory):
    model, optimizer = make(*CASES[case])
    handle = attach(optimizer, factory())
    run(model, optimizer, range(HALF))
    kept = copy.deepcopy(optimizer.state_dict())
    taken_before = optimizer.state_dict()
    handle.detach()
    assert str(taken_before) == str(kept)  # a state_dict taken before still has our part
    assert vars(optimizer).keys() == vars(make(*CASES[case])[1]).keys()
    twin, other = make(*CASES[case])
    twin.load_state_dict(model.state_dict())
    bare = {k: {n: v for n, v in e.items() if "grokkit" not in n} for k, e in kept["state"].items() if k != "grokkit"}
    bare = {index: entry for index, entry in bare.items() if entry}
    assert str(optimizer.state_dict()["state"]) == str(bare)
    other.load_state_dict({"state": bare, "param_groups": kept["param_groups"]})
    assert same(run(model, optimizer, range(HALF, WHOLE)), run(twin, other, range(HALF, WHOLE)))
    assert str(optimizer.state_dict()) == str(other.state_dict())


def test_detach_between_loading_and_stepping_leaves_the_checkpoint_alone():
    checkpoint = half_way(ADAM, divide_by_mean_length)
    before = str(checkpoint)
    _, optimizer = make(*ADAM)
    handle = attach(optimizer, divide_by_mean_length())
    optimizer.load_state_dict(checkpoint["optimizer"])
    handle.detach()
    assert str(checkpoint) == before
    assert "grokkit" not in optimizer.state


class Counting(torch.optim.SGD):
    """Keeps something of its own in the state, under a key that is not a parameter."""

    def step(self, closure=None):
        self.state["steps"] = self.state.get("steps", 0) + 1
        return super().step(closure)


def test_an_optimizer_with_state_of_its_own_kind():
    model = network()
    optimizer = Counting(model.parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema())
    run(model, optimizer, range(3))
    optimizer.load_state_dict(through_a_file(optimizer.state_dict()))
    run(model, optimizer, range(3, 5))
    assert counted(optimizer, model[0].weight) == 5
    handle.detach()
    assert optimizer.state == {"steps": 5}


@pytest.mark.parametrize("flat", [False, True])
def test_distributed_checkpoint_s_state_dict(flat):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    model, optimizer = make(*ADAM)
    attach(optimizer, TRANSFORMS["ma"]())
    run(model, optimizer, range(HALF))
    saved = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=options))
    twin, other = make(*ADAM)
    twin.load_state_dict(model.state_dict())
    attach(other, TRANSFORMS["ma"]())
    set_optimizer_state_dict(twin, other, saved, options=options)
    assert same(run(twin, other, range(HALF, WHOLE)), whole_run(ADAM, TRANSFORMS["ma"]))


def test_half_precision_state_is_not_rounded_by_loading():
    def trained(steps, checkpoint=None):
        model, optimizer = make(*ADAM, dtype=torch.bfloat16)
        attach(optimizer, grokfast_ema())
        if checkpoint:
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
        run(model, optimizer, steps)
        return model, optimizer

    model, optimizer = trained(range(HALF))
    checkpoint = through_a_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    model, optimizer = trained(range(HALF, WHOLE), checkpoint)
    twin, other = trained(range(WHOLE))
    assert same(values(model), values(twin))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert optimizer.state[p]["grokkit/slow"].dtype is torch.float32
        assert torch.equal(optimizer.state[p]["grokkit/slow"], other.state[q]["grokkit/slow"])


def test_the_filter_adds_nothing_to_a_checkpoint_before_the_first_step():
    model, optimizer = make(*ADAM)
    attach(optimizer, grokfast_ema())
    loss(model, 0).backward()
    assert optimizer.state_dict()["state"] == {}


def test_the_state_can_be_seen_and_revised_between_steps():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema(alpha=0.5, lamb=1.0))
    assert handle.state is None
    assert list(handle.parameters) == ["weight", "bias"]
    assert handle.parameters["weight"] is model.weight
    handle.revise(lambda state: state._replace(step=dict.fromkeys(state.step, 7)), handle.parameters)
    assert handle.state.step == {"weight": 7, "bias": 7}
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    assert handle.state.step == {"weight": 8, "bias": 8}
    assert counted(optimizer, model.weight) == 8


def test_a_loaded_state_is_not_seen_before_it_is_taken_up():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema())
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert handle.state is None
    handle.revise(lambda state: state, handle.parameters)
    assert handle.state.step == {"weight": 1, "bias": 1}


WIDER = [(torch.bfloat16, torch.float32), (torch.float32, torch.float64), (torch.bfloat16, torch.float64)]


@pytest.mark.parametrize(("before", "after"), WIDER, ids=str)
@pytest.mark.parametrize("way", ["model.to", "load"])
def test_a_filter_goes_on_where_the_model_becomes_more_precise(before, after, way):
    """Nothing was rounded: 1 + (0.5·8 + 0.5·1) of the average of 8 and 1; the mean of a window of 2 is the same."""
    for transform in (grokfast_ema(alpha=0.5, lamb=1.0), grokfast_ma(2, 1.0)):
        model = torch.nn.Linear(2, 1, bias=False, dtype=before)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer, transform)
        model.weight.grad = torch.full((1, 2), 8.0, dtype=before)
        optimizer.step()
        if way == "load":
            saved = optimizer.state_dict()
            model = torch.nn.Linear(2, 1, bias=False, dtype=after)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            attach(optimizer, transform)
            optimizer.load_state_dict(saved)
        model.to(after)
        model.weight.grad = torch.ones(1, 2, dtype=after)
        optimizer.step()
        assert model.weight.grad.tolist() == [[5.5, 5.5]]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("saved", [False, True])
def test_a_parameter_that_takes_over_another_one_s_name_keeps_its_own_count(named, saved):
    """By its place in the optimizer, or where the group before it had the same names.

    The other has seen three gradients and this two, 30 and 60: a ring of three has 1 after them, and goes on in the
    third slot. 1 + (30 + 60 + 1)/3, then 2 + (60 + 1 + 2)/3, then 3 + (1 + 2 + 3)/3.
    """
    p, q = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    groups = [{"params": [("w", each)] if named else [each]} for each in (p, q)]
    optimizer = torch.optim.Adam(groups, lr=0.1)
    attach(optimizer, grokfast_ma(3, 1.0, warmup=False))
    for theirs, mine in ((5.0, None), (5.0, 30.0), (5.0, 60.0)):
        p.grad, q.grad = torch.full((2,), theirs), None if mine is None else torch.full((2,), mine)
        optimizer.step()
    del optimizer.param_groups[0], optimizer.state[p]
    if saved:
        checkpoint = through_a_file(optimizer.state_dict())
        optimizer = torch.optim.Adam([{"params": [("w", q)] if named else [q]}], lr=0.1)
        attach(optimizer, grokfast_ma(3, 1.0, warmup=False))
        optimizer.load_state_dict(checkpoint)
    found = []
    for mine in (1.0, 2.0, 3.0):
        q.grad = torch.full((2,), mine)
        optimizer.step()
        found.append(q.grad[0].item())
    assert found == pytest.approx([1 + 91 / 3, 23.0, 5.0], rel=1e-5)
    assert counted(optimizer, q) == 5


def with_state(init, update):
    """A transform that leaves gradients alone, whose state is what these give of the parameters' names."""
    return GradientTransform(lambda params: init(params), lambda grads, state, params: (grads, update(params)))


def zeros(params):
    return {name: torch.zeros_like(p) for name, p in params.items()}


@pytest.mark.parametrize(
    ("init", "update", "message"),
    [
        (
            lambda p: {"step": 0, "mean": zeros(p)},
            zeros,
            r"init\(\) gave a dict in its state with the key 'step', which",
        ),
        (lambda p: ({}, {"mean": zeros(p)}), zeros, r"init\(\) gave .* keyed by parameter names: put counts beside it"),
        (lambda p: {}, lambda p: {"mean": zeros(p)}, r"update\(\) gave a dict in its state with the key 'mean'"),
        (lambda p: (), zeros, r"update\(\) gave a state of another structure than init\(\); begin with all"),
        (lambda p: (None, zeros(p)), lambda p: (zeros(p), zeros(p)), "another structure"),
        (zeros, lambda p: (zeros(p), 1), "another structure"),
    ],
)
@pytest.mark.parametrize("within", [lambda t: t, lambda t: masked(chain(grokfast_ema(), t), lambda name, p: True)])
def test_a_state_of_which_a_part_would_be_lost_is_refused(init, update, message, within):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    attach(optimizer, within(with_state(init, update)))
    model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(InputError, match=message):
        optimizer.step()


def test_a_state_may_hold_only_some_parameters():
    """Those under a mask, and those that have had a gradient."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    handle = attach(optimizer, masked(with_state(zeros, zeros), lambda name, p: p.ndim == 2))
    for used in (model[0], model):
        optimizer.zero_grad()
        used(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    assert set(handle.state) == {"0.weight", "1.weight"}
