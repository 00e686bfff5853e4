"""The attached face in all kinds of training loops: it does what filtering by hand would do."""

import copy

import pytest
import torch
from by_hand import (
    TRANSFORMS,
    ByHand,
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

from grokkit import GradientTransform, InputError, attach, chain, grad_norm, grokfast_ema, masked

CASES = {label: (cls, settings) for label, cls, settings in optimizer_cases()}
STEPS = range(8)


def adam(model, **settings):
    return torch.optim.Adam(model.parameters(), lr=0.05, **settings)


def both(change=lambda model: None, make_optimizer=adam, transform=TRANSFORMS["chain"], dtype=torch.float32):
    """Two equal models: one with ``transform`` attached, one to be filtered by hand bit for bit."""
    model, twin = network(dtype=dtype), network(dtype=dtype)
    for each in (model, twin):
        change(each)
    optimizer, other = make_optimizer(model), make_optimizer(twin)
    attach(optimizer, pure_only(transform()))
    return (model, optimizer), (twin, ByHand(other, transform()))


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


def test_frozen_then_unfrozen_layer():
    (model, optimizer), (twin, by_hand) = both(lambda model: model[0].requires_grad_(False))
    start = values(model[0])
    for each, stepper in ((model, optimizer), (twin, by_hand)):
        run(each, stepper, range(3))
        assert same(values(each[0]), start)
    assert not any(p in optimizer.state for p in model[0].parameters())
    for each, stepper in ((model, optimizer), (twin, by_hand)):
        each[0].requires_grad_(True)
        run(each, stepper, range(3, 8))
    assert same(values(model), values(twin))
    assert optimizer.state[model[0].weight]["grokkit/1/step"] == 5
    assert optimizer.state[model[2].weight]["grokkit/1/step"] == 8


def test_layer_frozen_again_keeps_its_filter():
    (model, optimizer), (twin, by_hand) = both()
    for each, stepper in ((model, optimizer), (twin, by_hand)):
        run(each, stepper, range(4))
        each[0].requires_grad_(False)
        run(each, stepper, range(4, 6))
        each[0].requires_grad_(True)
        run(each, stepper, range(6, 10))
    assert same(values(model), values(twin))
    assert optimizer.state[model[0].weight]["grokkit/1/step"] == 8


def test_steps_without_any_gradient_do_nothing():
    model, optimizer = make(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9})
    attach(optimizer, grokfast_ema())
    start = values(model)
    optimizer.step()
    assert same(values(model), start)
    assert not optimizer.state
    run(model, optimizer, range(2))
    optimizer.zero_grad()
    before = copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.step()
    assert str(optimizer.state_dict()["state"]) == str(before)


def test_a_mask_that_lets_no_gradient_of_this_step_through():
    model, optimizer = make(torch.optim.SGD, {"lr": 0.1})
    attach(optimizer, masked(pure_only(grokfast_ema()), lambda _name, p: p is model[0].weight))
    model[0].requires_grad_(False)
    run(model, optimizer, range(2))
    assert "grokkit/step" not in optimizer.state.get(model[2].weight, {})


def test_several_groups():
    def make_optimizer(model):
        groups = [
            {"params": model[2].parameters(), "lr": 0.2},
            {"params": model[0].parameters(), "weight_decay": 0.3},
        ]
        return torch.optim.AdamW(groups, lr=0.05)

    (model, optimizer), (twin, by_hand) = both(make_optimizer=make_optimizer)
    assert same(run(model, optimizer, STEPS), run(twin, by_hand, STEPS))


def test_group_added_after_attach():
    def make_optimizer(model):
        return torch.optim.AdamW(model[0].parameters(), lr=0.05)

    (model, optimizer), (twin, by_hand) = both(make_optimizer=make_optimizer)
    by_hand.state = by_hand.transform.init({f"{id(p)}": p.detach() for p in twin.parameters()})
    for each, stepper, inner in ((model, optimizer, optimizer), (twin, by_hand, by_hand.optimizer)):
        run(each, stepper, range(3))
        each[2].zero_grad()
        inner.add_param_group({"params": each[2].parameters(), "lr": 0.2})
        run(each, stepper, range(3, 8))
    assert same(values(model), values(twin))
    assert optimizer.state[model[0].weight]["grokkit/1/step"] == 8
    assert optimizer.state[model[2].weight]["grokkit/1/step"] == 5


def test_group_taken_away_leaves_no_state_behind():
    model = network()
    optimizer = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=0.1)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    for p in optimizer.param_groups.pop(0)["params"]:
        del optimizer.state[p]
    run(model, optimizer, range(2, 4))
    assert set(optimizer.state) == set(model[2].parameters())
    assert optimizer.state[model[2].weight]["grokkit/step"] == 4
    assert len(optimizer.state_dict()["state"]) == 2


def tied():
    """One layer, used twice."""
    layer, last = nn.Linear(3, 3), nn.Linear(3, 2)
    with torch.no_grad():
        for p in (*layer.parameters(), *last.parameters()):
            p.copy_(torch.linspace(-0.5, 0.7, p.numel()).reshape(p.shape))
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), last)


def test_tied_weights_are_filtered_once():
    model, twin = tied(), tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    attach(optimizer, pure_only(grokfast_ema(alpha=0.8)))
    by_hand = ByHand(torch.optim.SGD(twin.parameters(), lr=0.05), grokfast_ema(alpha=0.8))
    assert same(run(model, optimizer, STEPS), run(twin, by_hand, STEPS))
    assert optimizer.state[model[2].weight]["grokkit/step"] == len(STEPS)


def test_a_parameter_listed_twice_is_filtered_once():
    p = nn.Parameter(torch.zeros(2))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = torch.optim.SGD([p, p], lr=1.0)
    attach(optimizer, grokfast_ema(lamb=2.0))
    p.grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    assert p.grad.tolist() == [3.0, -3.0]
    assert p.tolist() == [-6.0, 6.0]  # SGD, too, goes through the list


def test_groups_with_the_same_names_are_all_filtered():
    def make_optimizer(model):
        return torch.optim.SGD([{"params": list(part.named_parameters())} for part in (model[0], model[2])], lr=0.05)

    (model, optimizer), (twin, by_hand) = both(make_optimizer=make_optimizer)
    assert same(run(model, optimizer, STEPS), run(twin, by_hand, STEPS))


def test_masked_by_name():
    model = network()
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.05)
    attach(optimizer, masked(grokfast_ema(lamb=2.0), lambda name, _p: name == "2.weight"))
    loss(model, 0).backward()
    raw = {name: p.grad.clone() for name, p in model.named_parameters()}
    optimizer.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, raw[name] * (3 if name == "2.weight" else 1))
    assert [k for k, entry in optimizer.state_dict()["state"].items() if entry] == [2]


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
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
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


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_model(backend):
    model, optimizer = make(torch.optim.Adam, {})
    attach(optimizer, grokfast_ema(alpha=0.8))
    plain = run(model, optimizer, STEPS)
    model, optimizer = make(torch.optim.Adam, {})
    attach(optimizer, grokfast_ema(alpha=0.8))
    run(torch.compile(model, backend=backend), optimizer, STEPS)
    for ours, theirs in zip(values(model), plain, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_accumulated_gradient_equals_the_big_batch(transform):
    model, optimizer = make(torch.optim.Adam, {}, torch.float64)
    attach(optimizer, TRANSFORMS[transform]())
    for step in STEPS:
        optimizer.zero_grad()
        for part in (2 * step, 2 * step + 1):
            (loss(model, part) / 2).backward()
        optimizer.step()
    small = values(model)
    model, optimizer = make(torch.optim.Adam, {}, torch.float64)
    attach(optimizer, TRANSFORMS[transform]())
    for step in STEPS:
        optimizer.zero_grad()
        torch.stack([loss(model, 2 * step), loss(model, 2 * step + 1)]).mean().backward()
        optimizer.step()
    for ours, theirs in zip(small, values(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("attach_first", [True, False])
def test_learning_rate_scheduler(attach_first):
    model, optimizer = make(torch.optim.SGD, {"lr": 0.1})
    if attach_first:
        attach(optimizer, pure_only(grokfast_ema(alpha=0.8)))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    if not attach_first:
        attach(optimizer, pure_only(grokfast_ema(alpha=0.8)))
    twin, other = make(torch.optim.SGD, {"lr": 0.1})
    by_hand = ByHand(other, grokfast_ema(alpha=0.8))
    for step in STEPS:
        run(model, optimizer, [step])
        scheduler.step()
        other.param_groups[0]["lr"] = 0.1 * 0.5 ** (step // 2)
        run(twin, by_hand, [step])
    assert same(values(model), values(twin))
    assert optimizer.param_groups[0]["lr"] == 0.1 * 0.5**4


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


def test_a_steady_ema_step_is_two_in_place_kernels_and_allocates_nothing():
    model, optimizer = make(torch.optim.SGD, {"lr": 0.1, "foreach": True})
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    with Recorder() as recorder:
        optimizer.step()
    kernels = [name for name in recorder.names if "profiler" not in name]
    assert kernels == ["aten::_foreach_lerp_", "aten::_foreach_add_", "aten::_foreach_add_"]  # the last is SGD's


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
        (lambda: adam(network()), lambda: grokfast_ema, r"got 'grokfast_ema'; call it: grokfast_ema\(...\)"),
        (lambda: adam(network()), lambda: 3, "got 'int'; use e.g. grokkit.grokfast_ema()"),
        (lambda: torch.optim.LBFGS(network().parameters()), grokfast_ema, "LBFGS evaluates its closure several"),
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
