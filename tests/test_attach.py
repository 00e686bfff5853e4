"""The attached face: with every optimizer it does what filtering by hand would do, and wastes nothing."""

import copy

import pytest
import torch
from by_hand import (
    TRANSFORMS,
    ByHand,
    counted,
    loss,
    make,
    network,
    optimizer_cases,
    pure_only,
    run,
    same,
    values,
)
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from grokkit import GradientTransform, InputError, attach, chain, grad_norm, grokfast_ema

CASES = {label: (cls, settings) for label, cls, settings in optimizer_cases()}
STEPS = range(8)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("case", CASES)
def test_every_optimizer_equals_filtering_by_hand(case, transform):
    factory = TRANSFORMS[transform]
    model, optimizer = make(*CASES[case], dtype=torch.float64)
    by_hand = run(model, ByHand(optimizer, factory()), STEPS)
    model, optimizer = make(*CASES[case], dtype=torch.float64)
    attach(optimizer, pure_only(factory()))
    assert same(run(model, optimizer, STEPS), by_hand)
    model, optimizer = make(*CASES[case], dtype=torch.float64)
    attach(optimizer, factory())
    for ours, theirs in zip(run(model, optimizer, STEPS), by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    bare = run(*make(*CASES[case], dtype=torch.float64), STEPS)
    assert not any(torch.equal(a, b) for a, b in zip(bare, by_hand, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_learning_rate_and_defaults_stay_as_they_were(case):
    model, optimizer = make(*CASES[case])
    defaults = copy.deepcopy(optimizer.defaults)
    groups = copy.deepcopy([{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups])
    attach(optimizer, grokfast_ema())
    run(model, optimizer, STEPS)
    assert optimizer.defaults == defaults
    assert [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups] == groups


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_zero_grad_either_way_is_the_same(transform):
    ends = []
    for set_to_none in (True, False):
        model, optimizer = make(torch.optim.Adam, {})
        attach(optimizer, TRANSFORMS[transform]())
        ends.append(run(model, optimizer, STEPS, set_to_none=set_to_none))
    assert same(*ends)


class Twice(torch.optim.Optimizer):
    """Calls the closure itself, as sharpness-aware and line-search optimizers do."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    def step(self, closure):
        return [closure(), closure()]


@pytest.mark.parametrize("how", ["positional", "keyword"])
@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Rprop])
def test_step_with_closure(cls, how):
    model, optimizer = make(cls, {"lr": 0.05})
    attach(optimizer, grokfast_ema(alpha=0.8))
    plain = run(model, optimizer, STEPS)
    model, optimizer = make(cls, {"lr": 0.05})
    attach(optimizer, grokfast_ema(alpha=0.8))
    for step in STEPS:
        seen = []

        def closure(step=step, seen=seen):
            optimizer.zero_grad()
            value = loss(model, step)
            value.backward()
            seen.append(value)
            return value

        result = optimizer.step(closure) if how == "positional" else optimizer.step(closure=closure)
        assert len(seen) == 1
        assert result is seen[0]
    assert same(values(model), plain)


def test_optimizer_that_calls_its_closure_twice():
    model = network()
    optimizer = Twice(model.parameters())
    attach(optimizer, grokfast_ema())
    with pytest.raises(InputError, match="Twice calls its closure several times"):
        optimizer.step(lambda: loss(model, 0).backward())


def test_sparse_gradient_is_refused_and_the_optimizer_stays_usable():
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    handle = attach(optimizer, grokfast_ema())
    table(torch.tensor([1, 3])).sum().backward()
    start = values(table)
    with pytest.raises(InputError, match=r"sparse_coo; make it dense, e.g. Embedding\(sparse=False\)"):
        optimizer.step()
    assert same(values(table), start)
    handle.detach()
    optimizer.step()
    moved = (table.weight.detach() != start[0]).any(1)
    assert moved.tolist() == [False, True, False, True, False]


def test_dense_after_a_refused_sparse_gradient():
    table = nn.Embedding(5, 2)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    attach(optimizer, grokfast_ema(lamb=2.0))
    start = values(table)[0]
    table.weight.grad = torch.ones(5, 2).to_sparse()
    with pytest.raises(InputError, match="group 0 parameter 0"):
        optimizer.step()
    table.weight.grad = torch.ones(5, 2)
    optimizer.step()
    torch.testing.assert_close(table.weight.detach(), start - 0.1 * 3)


def test_step_inside_and_outside_no_grad():
    ends = []
    for grad in (True, False):
        model, optimizer = make(torch.optim.Adam, {})
        attach(optimizer, grokfast_ema())
        for step in STEPS:
            optimizer.zero_grad()
            loss(model, step).backward()
            with torch.set_grad_enabled(grad):
                optimizer.step()
        assert not any(
            leaf.requires_grad for leaf in optimizer.state[model[0].weight].values() if torch.is_tensor(leaf)
        )
        ends.append(values(model))
    assert same(*ends)


def test_ema_keeps_its_storage():
    model, optimizer = make(torch.optim.SGD, {"lr": 0.1})
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    before = [(p.grad.data_ptr(), optimizer.state[p]["grokkit/slow"].data_ptr()) for p in model.parameters()]
    for step in range(2, 6):
        run(model, optimizer, [step], set_to_none=False)
    after = [(p.grad.data_ptr(), optimizer.state[p]["grokkit/slow"].data_ptr()) for p in model.parameters()]
    assert before == after


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def test_a_steady_ema_step_is_two_in_place_kernels_and_one_for_the_counts_and_allocates_nothing():
    model, optimizer = make(torch.optim.SGD, {"lr": 0.1, "foreach": True})
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    with Recorder() as recorder:
        optimizer.step()
    kernels = [name for name in recorder.names if "profiler" not in name]
    filtered = ["aten::_foreach_lerp_", "aten::_foreach_add_", "aten::add_"]
    assert kernels == [*filtered, "aten::_foreach_add_"]  # the last is SGD's


def test_transform_without_an_in_place_face():
    seen = []
    transform = GradientTransform(
        lambda params: {name: torch.zeros((), dtype=torch.int64) for name in params},
        lambda grads, state, params: (
            {name: g * (1 + state[name]) for name, g in grads.items()},
            {**state, **{name: state[name] + 1 for name in grads}},
        ),
    )
    p = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([p], lr=1.0)
    attach(optimizer, transform)
    for _ in range(3):
        p.grad = torch.ones(2)
        optimizer.step()
        seen.append(p.grad.tolist())
    assert seen == [[1, 1], [2, 2], [3, 3]]
    assert p.tolist() == [-6, -6]


@pytest.mark.parametrize(
    ("optimizer", "transform", "message"),
    [
        (lambda: network(), grokfast_ema, "needs a torch.optim optimizer, got Sequential; pass the optimizer"),
        (
            lambda: torch.optim.Adam(network().parameters()),
            lambda: grokfast_ema,
            r"got 'grokfast_ema'; call it: grokfast_ema\(...\)",
        ),
        (lambda: torch.optim.Adam(network().parameters()), lambda: 3, "got 'int'; use e.g. grokkit.grokfast_ema()"),
        (lambda: torch.optim.LBFGS(network().parameters()), grokfast_ema, "LBFGS evaluates its closure several"),
        (
            lambda: torch.optim.SparseAdam(network().parameters()),
            grokfast_ema,
            r"SparseAdam takes sparse gradients, .*; use Adam, and Embedding\(sparse=False\)",
        ),
        (lambda: torch.optim.SGD([{"params": []}], lr=0.1), grokfast_ema, "has no parameters; add some"),
    ],
)
def test_refusals(optimizer, transform, message):
    with pytest.raises(InputError, match=message):
        attach(optimizer(), transform())


def test_chain_in_the_loop_runs_in_the_order_given():
    p = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([p], lr=1.0)
    attach(optimizer, chain(grad_norm(1.0), grokfast_ema(lamb=2.0)))
    p.grad = torch.tensor([3.0, 4.0])
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.tensor([-1.8, -2.4]))


class Clipped(torch.optim.SGD):
    """As many write their own: something first, then the step of the class above."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.clamp_(-1e6, 1e6)
        return super().step(closure)


@pytest.mark.parametrize("with_closure", [False, True])
def test_subclass_that_calls_the_step_above_is_filtered_once(with_closure):
    ends = []
    for cls in (torch.optim.SGD, Clipped):  # in this order: PyTorch hooks SGD.step when an SGD is made
        model, optimizer = make(cls, {"lr": 0.05})
        attach(optimizer, grokfast_ema(alpha=0.8))
        for step in STEPS:
            optimizer.zero_grad()
            if with_closure:
                optimizer.step(lambda model=model, step=step: loss(model, step).backward())
            else:
                loss(model, step).backward()
                optimizer.step()
        ends.append(values(model))
        assert counted(optimizer, model[0].weight) == len(STEPS)
    assert same(*ends)


def test_a_step_that_raises_does_not_disturb_the_next():
    def fails():
        raise KeyboardInterrupt

    model, optimizer = make(Clipped, {"lr": 0.05})
    attach(optimizer, grokfast_ema(alpha=0.8))
    run(model, optimizer, range(4))
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(fails)
    run(model, optimizer, range(4, 8))
    ends = values(model)
    model, optimizer = make(Clipped, {"lr": 0.05})
    attach(optimizer, grokfast_ema(alpha=0.8))
    assert same(run(model, optimizer, STEPS), ends)
