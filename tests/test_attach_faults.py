"""The tests of attach's mechanism are tested: each fault planted in it is caught by one of them."""

import copy
import functools
import gc
import importlib
import warnings
import weakref

import pytest
import torch
from torch import nn

from grokkit import InputError, attach, grokfast_ema, hooks, masked
from grokkit.kept import entries, layout, rows, saved
from grokkit.unapplied import Unapplied

attaching = importlib.import_module("grokkit.attach")  # grokkit.attach is the function
WENT_ON, AFRESH = 10.1, 2.0  # a gradient of 1 after one of 10, with α = 0.9 and λ = 1


def made(cls=torch.optim.SGD, size=3, **settings):
    p = nn.Parameter(torch.zeros(size))
    optimizer = cls([p], lr=0.1)
    attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0), **settings)
    return p, optimizer


def step(p, optimizer, gradient):
    p.grad = torch.full_like(p, gradient)
    optimizer.step()
    return p.grad


def is_all(grad, value):
    torch.testing.assert_close(grad, torch.full_like(grad, value))


def trained(**settings):
    p, optimizer = made(**settings)
    step(p, optimizer, 10.0)
    return p, optimizer


def cleared_state_begins_afresh():
    p, optimizer = trained()
    optimizer.state.clear()
    is_all(step(p, optimizer, 1.0), AFRESH)


def replaced_state_is_read():
    p, optimizer = trained()
    optimizer.state[p]["grokkit/slow"] = torch.full((3,), 100.0)
    is_all(step(p, optimizer, 1.0), 1 + 0.9 * 100 + 0.1)


def state_written_in_place_is_read():
    p, optimizer = trained()
    optimizer.state[p]["grokkit/step"].zero_()
    is_all(step(p, optimizer, 1.0), AFRESH)


def nothing_is_shared_with_another():
    p, optimizer = trained()
    q, other = made()
    other.load_state_dict(optimizer.state_dict())
    step(p, optimizer, 1.0)
    is_all(step(q, other, 1.0), WENT_ON)


def nothing_of_an_entry_is_shared_with_another():
    p, optimizer = trained()
    q, other = made()
    other.state[q] = optimizer.state[p]
    step(q, other, 1.0)
    is_all(step(p, optimizer, 1.0), WENT_ON)


def what_is_moved_away_is_freed():
    p, optimizer = trained()
    old = weakref.ref(optimizer.state[p]["grokkit/slow"])
    optimizer.state[p]["grokkit/slow"] = torch.zeros(3)
    assert old() is None


def all_is_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        p, optimizer = trained()
        gone = weakref.ref(optimizer)
        del p, optimizer
        assert gone() is None
    finally:
        gc.enable()


def cut_state_goes_on():
    p, optimizer = trained(cls=torch.optim.Adam)
    keep = torch.tensor([True, False, True])
    entry = optimizer.state.pop(p)
    for key in entry:
        if key != "step":
            entry[key] = entry[key][keep]
    q = nn.Parameter(p.detach()[keep])
    optimizer.param_groups[0]["params"] = [q]
    optimizer.state[q] = entry
    is_all(step(q, optimizer, 1.0), WENT_ON)
    assert optimizer.state[q]["grokkit/step"].tolist() == [2, 2]


def counts_of_those_left_out_stay():
    p, q = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([p, q], lr=0.1)
    attach(optimizer, grokfast_ema())
    for with_gradient in ([p, q], [p], [p]):
        optimizer.zero_grad()
        for each in with_gradient:
            each.grad = torch.ones(2)
        optimizer.step()
    assert optimizer.state[p]["grokkit/step"].tolist() == [3, 3]
    assert optimizer.state[q]["grokkit/step"].tolist() == [1, 1]


def misfits_are_told_of():
    p, optimizer = trained()
    optimizer.state[p]["grokkit/slow"] = torch.zeros(5)
    with pytest.warns(UserWarning, match="begins afresh"):
        is_all(step(p, optimizer, 1.0), AFRESH)


def copies_are_attached():
    q, other = copy.deepcopy(trained())
    is_all(step(q, other, 1.0), WENT_ON)


def shallow_copies_are_refused():
    with pytest.raises(InputError, match="deepcopy"):
        copy.copy(trained()[1])


class Choosing(torch.optim.SGD):
    def load_state_dict(self, state_dict):
        for p in self.param_groups[0]["params"]:
            self.state[p] = {}


def classes_that_load_themselves_bring_it_back():
    _, optimizer = trained(cls=Choosing)
    q, other = made(cls=Choosing)
    other.load_state_dict(optimizer.state_dict())
    is_all(step(q, other, 1.0), WENT_ON)


class Wrapper(torch.optim.Optimizer):
    def __init__(self, optimizer):
        super().__init__(optimizer.param_groups, {})
        self.optimizer = optimizer

    def step(self, closure=None):
        self.optimizer.step(closure)


def wrapped(*, first=True, saved=None):
    p = nn.Parameter(torch.zeros(3))
    optimizer = Wrapper(torch.optim.SGD([p], lr=0.1))
    for act in (1, 2) if first else (2, 1):
        if act == 1:
            attach(optimizer, grokfast_ema(alpha=0.9, lamb=1.0))
        elif saved:
            optimizer.load_state_dict(saved)
    return p, optimizer


def wrappers_save_what_they_wrap(first=True):
    p, optimizer = wrapped()
    step(p, optimizer, 10.0)
    q, other = wrapped(first=first, saved=copy.deepcopy(optimizer.state_dict()))
    is_all(step(q, other, 1.0), WENT_ON)


def several_are_refused():
    class Several(torch.optim.Optimizer):
        def __init__(self, params):
            self.optimizers = [torch.optim.SGD([p], lr=0.1) for p in params]
            super().__init__(params, {})

    with pytest.raises(InputError, match="attach"):
        attach(Several([nn.Parameter(torch.zeros(1)) for _ in range(2)]), grokfast_ema())


def cleared(p, optimizer, passes):
    for _ in range(passes):
        p.square().sum().backward()
        optimizer.zero_grad()


def nobody_s_step_is_told_of():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, grokfast_ema())
    cleared(p, optimizer, 9)
    with pytest.warns(UserWarning, match="never been applied"):
        cleared(p, optimizer, 1)


def accumulation_is_not_told_of():
    p = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, grokfast_ema())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            p.square().sum().backward()
        optimizer.step()


def the_first_version_s_windows_are_turned():
    """A cube, of which only the count says how it lies."""
    fresh = {"step": 0, "window": torch.zeros(2, 2)}
    old = {"step": 3, "window": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    found = layout.restored(old, fresh, "a parameter", torch.zeros(2))
    assert found["window"].tolist() == [[1.0, 3.0], [2.0, 4.0]]


def strong(leaf):
    return lambda: leaf


FAULTS = {
    "holds what it left": (entries, "reference", strong, what_is_moved_away_is_freed),
    "does not read what it finds": (
        entries,
        "restored",
        lambda leaves, fresh, name, p: fresh,
        replaced_state_is_read,
    ),
    "forgets what it began when state is cleared": (
        entries.Entries,
        "begin",
        lambda self, store, name, p, leaves: self.begun.update({name: {"step": 5, "slow": torch.full((3,), 100.0)}}),
        cleared_state_begins_afresh,
    ),
    "takes what it finds for its own": (saved, "_copy", lambda leaf: leaf, nothing_is_shared_with_another),
    "writes into the entry of another": (
        entries,
        "restored",
        lambda leaves, fresh, name, p: {"step": 1, "slow": leaves["slow"]},
        nothing_of_an_entry_is_shared_with_another,
    ),
    "does not see what is written in place": (
        rows.Tally,
        "untouched",
        property(lambda self: True),
        state_written_in_place_is_read,
    ),
    "counts every parameter whatever it was given": (
        entries.Entries,
        "_count_singly",
        lambda self, store, named, columns: self._tally.add(1),
        counts_of_those_left_out_stay,
    ),
    "keeps counts as single numbers": (
        entries.Tally,
        "lay",
        lambda self, counts: [torch.tensor(count) for count, _ in counts],
        cut_state_goes_on,
    ),
    "forgets the counts of what is cut": (layout, "number", lambda leaf: leaf.flatten()[0] * 0, cut_state_goes_on),
    "says nothing of a misfit": (entries.warnings, "warn", lambda *_, **__: None, misfits_are_told_of),
    "leaves copies bare": (attaching, "let_copies_attach", lambda *_: None, copies_are_attached),
    "lets shallow copies be": (
        attaching.Recipe,
        "is_copied",
        property(lambda self: True, lambda self, value: None),
        shallow_copies_are_refused,
    ),
    "trusts every class to call the hooks": (
        hooks,
        "loads_itself",
        lambda _: False,
        classes_that_load_themselves_bring_it_back,
    ),
    "does not save with the wrapper": (attaching, "has_hooks", lambda _: False, wrappers_save_what_they_wrap),
    "leaves with the wrapper what it has loaded": (
        attaching,
        "hand_over",
        lambda *_: None,
        functools.partial(wrappers_save_what_they_wrap, first=False),
    ),
    "attaches to what never steps": (attaching, "unwrapped", lambda optimizer: [optimizer], several_are_refused),
    "never looks whether it is applied": (Unapplied, "_watch", lambda self, p: None, nobody_s_step_is_told_of),
    "takes every pass for a new one": (Unapplied, "_is_cleared", lambda self, grad: True, accumulation_is_not_told_of),
    "reads the first version as the second": (
        layout,
        "_turned",
        lambda path, leaf, leaves, fresh: leaf,
        the_first_version_s_windows_are_turned,
    ),
    "holds the optimizer": (attaching, "ref", lambda thing, *_: strong(thing), all_is_freed_without_the_collector),
}
CHECKS = list(dict.fromkeys([*(check for _, _, _, check in FAULTS.values()), replaced_state_is_read]))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: getattr(check, "__name__", "load-attach"))
def test_without_a_fault_it_passes(check):
    check()


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault, monkeypatch):
    place, name, planted, check = FAULTS[fault]
    monkeypatch.setattr(place, name, planted, raising=False)
    with pytest.raises((AssertionError, pytest.fail.Exception, IndexError, UserWarning)):
        check()


def test_a_group_with_more_or_fewer_parameters_than_names_is_said_so():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema())
    group, new = optimizer.param_groups[0], nn.Parameter(torch.zeros(3))
    group["params"].append(new)
    for p in group["params"]:
        p.grad = torch.ones_like(p)
    with pytest.raises(InputError, match=r"group 0 of the optimizer has 3 parameters and 2 names of them; change"):
        optimizer.step()
    group["param_names"].append("new")
    optimizer.step()
    assert list(handle.state.step) == ["weight", "bias", "new"]


def test_what_a_step_takes_in_the_place_of_a_closure_stays_what_it_is():
    class Scaled(torch.optim.SGD):
        @torch.no_grad()
        def step(self, scale=1.0):
            for p in self.param_groups[0]["params"]:
                p.sub_(p.grad, alpha=scale)

    p = nn.Parameter(torch.zeros(1))
    optimizer = Scaled([p], lr=1.0)
    attach(optimizer, grokfast_ema(lamb=2.0))
    p.grad = torch.ones(1)
    optimizer.step(0.5)
    assert p.item() == -1.5


def test_a_mask_that_changes_its_mind_is_named():
    p, q = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))
    optimizer, others = torch.optim.SGD([p, q], lr=0.1), [q]
    attach(optimizer, masked(grokfast_ema(), lambda name, param: any(param is one for one in others)))

    def step():
        p.grad, q.grad = torch.ones(3), torch.ones(3)
        optimizer.step()

    step()
    others.append(p)
    with pytest.raises(InputError, match=r"parameter 0, of which it keeps nothing .* has to stay the same"):
        step()
