"""``optimizer.state`` is the truth, whatever users do to it between two steps."""

import copy
import weakref
from collections import defaultdict

import pytest
import torch
from by_hand import TRANSFORMS, make, run, same, values
from torch import nn

from grokkit import GradientTransform, InputError, attach, grokfast_ema, grokfast_ma, neuralgrok
from grokkit.attach import attached

WENT_ON, AFRESH = 1 + (0.9 * 10 + 0.1 * 1), 1 + 1  # a gradient of 1 after one of 10, with α = 0.9 and λ = 1


def averaging(rows=3, cls=torch.optim.SGD, dtype=torch.float32, **settings):
    """A parameter whose first gradient was 10, everywhere."""
    p = nn.Parameter(torch.zeros(rows, 2, dtype=dtype))
    optimizer = cls([p], lr=0.1)
    attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0), **settings)
    step(p, optimizer, 10.0)
    return p, optimizer


def step(p, optimizer, gradient=1.0):
    """What the optimizer steps on, given this gradient."""
    p.grad = torch.zeros_like(p) + gradient
    optimizer.step()
    return p.grad


def is_all(grad, value):
    torch.testing.assert_close(grad, torch.full_like(grad, value))


def replaced(optimizer, change, of=""):
    for entry in optimizer.state.values():
        for key, leaf in entry.items():
            entry[key] = change(leaf) if of in key else leaf


def cloned(optimizer):
    return {p: {key: leaf.clone() for key, leaf in entry.items()} for p, entry in optimizer.state.items()}


RESETS = {
    "clear": lambda p, o: o.state.clear(),
    "pop": lambda p, o: o.state.pop(p),
    "another defaultdict": lambda p, o: setattr(o, "state", defaultdict(dict)),
    "a plain dict": lambda p, o: setattr(o, "state", {}),
    "an empty entry": lambda p, o: o.state.update({p: {}}),
    "no entry": lambda p, o: o.state.update({p: None}),
    "ours removed": lambda p, o: [o.state[p].pop(key) for key in list(o.state[p]) if "grokkit" in key],
    "zeros in place": lambda p, o: [leaf.zero_() for leaf in o.state[p].values()],
    "zeros in their place": lambda p, o: replaced(o, torch.zeros_like),
}
CHANGES = {
    "nothing": lambda p, o: None,
    "clones": lambda p, o: replaced(o, torch.clone),
    "a plain dict of clones": lambda p, o: setattr(o, "state", cloned(o)),
    "another dict of the same": lambda p, o: setattr(o, "state", defaultdict(dict, {p: dict(o.state[p])})),
    "a deep copy": lambda p, o: setattr(o, "state", copy.deepcopy(o.state, {id(p): p})),
    "averaged with itself": lambda p, o: replaced(o, lambda t: (t + t) / 2),
    "as float64": lambda p, o: replaced(o, torch.Tensor.double, of="grokkit"),
    "away and back": lambda p, o: [replaced(o, lambda t: t.to("cpu", copy=True)) for _ in range(2)],
    "saved and loaded": lambda p, o: o.load_state_dict(o.state_dict()),
    "saved, cleared and loaded": lambda p, o: o.load_state_dict([copy.deepcopy(o.state_dict()), o.state.clear()][0]),
}


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_what_is_removed_begins_afresh(reset, capturable):
    p, optimizer = averaging(capturable=capturable)
    RESETS[reset](p, optimizer)
    is_all(step(p, optimizer), AFRESH)
    is_all(step(p, optimizer), AFRESH)  # an average of ones


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_still_there_goes_on(change, cls, capturable):
    p, optimizer = averaging(cls=cls, capturable=capturable)
    CHANGES[change](p, optimizer)
    is_all(step(p, optimizer), WENT_ON)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("change", CHANGES)
def test_every_filter_trains_on_as_if_nothing_had_been_done(change, name):
    ends = []
    for interrupted in (False, True):
        model, optimizer = make(torch.optim.SGD, {"lr": 0.05, "momentum": 0.9})
        attach(optimizer, TRANSFORMS[name]())
        run(model, optimizer, range(4))
        if interrupted and "dict" not in change and "copy" not in change:
            for p in model.parameters():
                CHANGES[change](p, optimizer)
        elif interrupted:
            optimizer.state = defaultdict(dict, cloned(optimizer))
        ends.append(run(model, optimizer, range(4, 8)))
    assert same(*ends)


def test_a_value_written_in_place_counts():
    p, optimizer = averaging()
    optimizer.state[p]["grokkit/slow"].mul_(2)
    is_all(step(p, optimizer), 1 + 0.9 * 20 + 0.1)


@pytest.mark.parametrize("capturable", [False, True])
def test_a_count_written_in_place_counts(capturable):
    p = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([p], lr=0.1)
    handle = attach(optimizer, grokfast_ma(window_size=3, lamb=1.0), capturable=capturable)
    step(p, optimizer)
    optimizer.state[p]["grokkit/step"].fill_(7)
    step(p, optimizer)
    assert {int(count) for count in handle.state.step.values()} == {8}
    assert optimizer.state[p]["grokkit/step"].tolist() == [8, 8]
    assert optimizer.state_dict()["state"][0]["grokkit/step"] == 8


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("filter_type", ["mean", "sum"])
def test_a_moving_average_begins_afresh_where_its_count_is_set_to_zero(filter_type, capturable, warmup):
    p, q = nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(3, 2))
    used, fresh = (torch.optim.SGD([one], lr=0.1) for one in (p, q))
    for optimizer in (used, fresh):
        average = grokfast_ma(window_size=4, lamb=1.0, warmup=warmup, filter_type=filter_type)
        attach(optimizer, average, capturable=capturable)
    for _ in range(9):
        step(p, used, 100.0)
    used.state[p]["grokkit/step"].zero_()
    for gradient in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0):
        assert torch.equal(step(p, used, gradient), step(q, fresh, gradient))


def test_state_of_one_parameter_alone_is_reset():
    """The others go on, and so does the count of each."""
    ps = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    optimizer = torch.optim.SGD(ps, lr=0.1)
    handle = attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0))
    for gradient in (10.0, 1.0):
        for p in ps:
            p.grad = torch.full_like(p, gradient)
        optimizer.step()
        if gradient == 10.0:
            del optimizer.state[ps[1]]
    for p, expected in zip(ps, (WENT_ON, AFRESH, WENT_ON), strict=True):
        is_all(p.grad, expected)
    assert list(handle.state.step.values()) == [2, 1, 2]


def test_what_is_shared_is_reset_and_replaced_as_well():
    p = nn.Parameter(torch.randn(4))
    optimizer = torch.optim.SGD([p], lr=0.1)
    handle = attach(optimizer, neuralgrok(hidden=(4,)))
    for _ in range(3):
        step(p, optimizer)
    replaced(optimizer, torch.clone)
    step(p, optimizer)
    assert handle.state.step == 4
    fresh = {path: leaf.clone() for path, leaf in optimizer.state["grokkit"].items()}
    fresh["grokkit/step"] = torch.tensor(20)
    optimizer.state["grokkit"] = fresh
    step(p, optimizer)
    assert handle.state.step == 21
    optimizer.state.clear()
    step(p, optimizer)
    assert handle.state.step == 1


@pytest.mark.parametrize("name", ["ema", "ma", "chain", "shared"])
def test_what_is_moved_away_is_freed(name):
    """So that there is room while something else needs it."""
    model, optimizer = make(torch.optim.Adam, {})
    attach(optimizer, {**TRANSFORMS, "shared": lambda: neuralgrok(hidden=(4,))}[name]())
    run(model, optimizer, range(3))
    old = [weakref.ref(leaf) for entry in optimizer.state.values() for leaf in entry.values()]
    replaced(optimizer, torch.clone)
    assert [leaf() for leaf in old] == [None] * len(old)
    run(model, optimizer, range(3, 4))


@pytest.mark.parametrize("way", ["load_state_dict", "the entry", "the state"])
def test_what_comes_live_from_another_optimizer_is_not_shared_with_it(way):
    p, optimizer = averaging(rows=1)
    q = nn.Parameter(torch.zeros_like(p))
    other = torch.optim.SGD([q], lr=0.1)
    attach(other, grokfast_ema(alpha=0.9, lamb=1.0))
    if way == "load_state_dict":
        other.load_state_dict(optimizer.state_dict())
    elif way == "the entry":
        other.state[q] = optimizer.state[p]
    else:
        other.state = defaultdict(dict, {q: optimizer.state[p]})
    for each, its in ((q, other), (p, optimizer), (q, other), (p, optimizer))[0 if way != "load_state_dict" else 1 :]:
        grad = step(each, its)
    slow, theirs = optimizer.state[p]["grokkit/slow"], other.state[q]["grokkit/slow"]
    assert slow.data_ptr() != theirs.data_ptr()
    torch.testing.assert_close(slow, torch.full_like(slow, 0.9 * (0.9 * 10 + 0.1) + 0.1))
    if way != "load_state_dict":
        torch.testing.assert_close(slow, theirs)
        torch.testing.assert_close(grad, 1 + slow)


def test_a_live_state_dict_loaded_before_attaching_is_not_shared_either():
    p, optimizer = averaging()
    q = nn.Parameter(torch.zeros_like(p))
    other = torch.optim.SGD([q], lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    attach(other, grokfast_ema(alpha=0.9, lamb=1.0))
    is_all(step(p, optimizer), WENT_ON)
    is_all(step(q, other), WENT_ON)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_changed_to_another_dtype_goes_on(dtype):
    model = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0))
    for p in model.parameters():
        p.grad = torch.full_like(p, 10.0)
    optimizer.step()
    model.to(dtype)
    for p in model.parameters():
        p.grad = torch.full_like(p, 1.0)
    optimizer.step()
    for p in model.parameters():
        torch.testing.assert_close(
            p.grad, torch.full_like(p, WENT_ON), rtol=1e-2 if dtype is torch.bfloat16 else 1e-6, atol=0
        )
    kept = torch.float64 if dtype is torch.float64 else torch.float32
    assert {slow.dtype for slow in handle.state.slow.values()} == {kept}


def test_a_group_added_after_the_state_was_cleared():
    p, optimizer = averaging()
    q = nn.Parameter(torch.zeros(2))
    optimizer.state.clear()
    optimizer.add_param_group({"params": [q]})
    q.grad = torch.full_like(q, 4.0)
    is_all(step(p, optimizer), AFRESH)
    is_all(q.grad, 8.0)


def test_what_another_transform_left_by_hand_is_refused():
    p, optimizer = averaging()
    optimizer.state[p]["grokkit/window"] = torch.zeros(2)
    del optimizer.state[p]["grokkit/slow"]
    with pytest.raises(InputError, match="holds .*grokkit/step.*grokkit/window.* keeps .*grokkit/slow"):
        step(p, optimizer)


def numbers_of_each_parameter():
    """It keeps a 0-d float of each: the sum of its gradient's lengths, negative so that it is not the largest row."""

    def update(grads, state, params):
        new = {name: state[name] - g.norm() for name, g in grads.items()}
        return {name: g * new[name] for name, g in grads.items()}, {**state, **new}

    return GradientTransform(lambda params: {name: torch.zeros(()) for name in params}, update)


def test_other_numbers_of_a_parameter_are_kept_as_rows_as_well():
    p = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, numbers_of_each_parameter())
    step(p, optimizer, torch.tensor([3.0, 0.0, 4.0]))
    assert optimizer.state[p]["grokkit/"].tolist() == [-5.0, -5.0, -5.0]
    saved = copy.deepcopy(optimizer.state_dict())
    assert saved["state"][0]["grokkit/"].tolist() == -5.0
    optimizer.state[p]["grokkit/"] = torch.tensor([-5.0, 0.0])[[1, 0, 1]]  # cut, and padded with zeros
    is_all(step(p, optimizer, torch.tensor([0.0, 3.0, 4.0]))[2:], -40.0)
    q = nn.Parameter(torch.zeros(3))
    other = torch.optim.SGD([q], lr=0.1)
    other.load_state_dict(saved)
    attach(other, numbers_of_each_parameter())
    is_all(step(q, other, torch.tensor([0.0, 3.0, 4.0]))[2:], -40.0)


def test_entries_are_tensors_that_begin_with_the_parameter_s_dimensions():
    shapes = [(), (5,), (4, 3), (2, 3, 2), (0, 2)]
    ps = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    optimizer = torch.optim.SGD(ps, lr=0.1)
    attach(optimizer, grokfast_ema())
    for _ in range(2):
        for p in ps:
            p.grad = torch.ones_like(p)
        optimizer.step()
    for p in ps:
        for key, leaf in optimizer.state[p].items():
            assert isinstance(leaf, torch.Tensor), key
            assert leaf.shape in (p.shape, p.shape[:1]), key
    assert {
        int(entry["grokkit/step"].max()) for entry in optimizer.state.values() if entry["grokkit/step"].numel()
    } == {2}
    assert list(attached(optimizer).state.step.values()) == [2] * 5


def test_frozen_parameters_state_is_left_alone_whatever_happens_to_the_others():
    """Its count stays when the others' rows move."""
    model, optimizer = make(torch.optim.SGD, {"lr": 0.05})
    handle = attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    model[0].requires_grad_(False)
    model.zero_grad()
    optimizer.param_groups[0]["params"] = list(model.parameters())[::-1]  # other names for the same
    run(model, optimizer, range(2, 5))
    assert [int(optimizer.state[p]["grokkit/step"][0]) for p in model.parameters()] == [2, 2, 5, 5]
    model[0].requires_grad_(True)
    run(model, optimizer, range(5, 6))
    assert list(handle.state.step.values()) == [6, 6, 3, 3]
    assert len(values(model)) == 4
