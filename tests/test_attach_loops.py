"""The attached face in real training loops: frozen layers, groups, tied weights, compilation, schedulers, AMP."""

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
    pure_only,
    run,
    same,
    values,
)
from torch import nn

from grokkit import attach, grokfast_ema, masked

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
    assert counted(optimizer, model[0].weight, "1/step") == 5
    assert counted(optimizer, model[2].weight, "1/step") == 8


def test_layer_frozen_again_keeps_its_filter():
    (model, optimizer), (twin, by_hand) = both()
    for each, stepper in ((model, optimizer), (twin, by_hand)):
        run(each, stepper, range(4))
        each[0].requires_grad_(False)
        run(each, stepper, range(4, 6))
        each[0].requires_grad_(True)
        run(each, stepper, range(6, 10))
    assert same(values(model), values(twin))
    assert counted(optimizer, model[0].weight, "1/step") == 8


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
    assert counted(optimizer, model[0].weight, "1/step") == 8
    assert counted(optimizer, model[2].weight, "1/step") == 5


def test_group_taken_away_leaves_no_state_behind():
    model = network()
    optimizer = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=0.1)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(2))
    for p in optimizer.param_groups.pop(0)["params"]:
        del optimizer.state[p]
    run(model, optimizer, range(2, 4))
    assert set(optimizer.state) == set(model[2].parameters())
    assert counted(optimizer, model[2].weight) == 4
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
    assert counted(optimizer, model[2].weight) == len(STEPS)


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


def test_masked_goes_by_the_names_that_the_optimizer_was_given():
    two = nn.Linear(4, 4), nn.Linear(4, 4)
    optimizer = torch.optim.SGD([{"params": list(part.named_parameters())} for part in two], lr=0.05)
    attach(optimizer, masked(grokfast_ema(lamb=2.0), lambda name, _p: name == "weight"))
    two[1](two[0](torch.ones(3, 4))).sum().backward()
    raw = [p.grad.clone() for part in two for p in part.parameters()]
    optimizer.step()
    for p, gradient, factor in zip([p for part in two for p in part.parameters()], raw, (3, 1, 3, 1), strict=True):
        torch.testing.assert_close(p.grad, gradient * factor)


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


SCALED = {
    "adam": (torch.optim.Adam, {"fused": False}),
    "adam-foreach": (torch.optim.Adam, {"foreach": True}),
    "adam-fused": (torch.optim.Adam, {"fused": True}),
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd-fused": (torch.optim.SGD, {"lr": 0.05, "fused": True}),
}


def scaled_run(model, optimizer, steps, explicit, overflow_at=None):
    """Mixed-precision style: scale, (unscale,) step; one step may meet an infinite gradient."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in steps:
        optimizer.zero_grad()
        scaler.scale(loss(model, step) * (float("inf") if step == overflow_at else 1.0)).backward()
        if explicit:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    return scaler


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("explicit", [False, True], ids=["", "unscale_"])
@pytest.mark.parametrize("case", SCALED)
def test_grad_scaler(case, explicit, transform):
    model, optimizer = make(*SCALED[case])
    attach(optimizer, TRANSFORMS[transform]())
    run(model, optimizer, [0, 1, 2, 4, 5, 6, 7])
    twin, other = make(*SCALED[case])
    attach(other, TRANSFORMS[transform]())
    scaler = scaled_run(twin, other, STEPS, explicit, overflow_at=3)
    assert scaler.get_scale() == 2.0**9
    assert same(values(model), values(twin))  # scales are powers of two, so exact
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        ours, theirs = other.state[q], optimizer.state[p]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(torch.as_tensor(ours[k]), torch.as_tensor(theirs[k])) for k in ours if "grok" in k)


@pytest.mark.parametrize("explicit", [False, True], ids=["", "unscale_"])
@pytest.mark.parametrize("case", SCALED)
def test_grad_scaler_overflow_leaves_everything_as_it_is(case, explicit):
    model, optimizer = make(*SCALED[case])
    attach(optimizer, grokfast_ema())
    scaled_run(model, optimizer, [0], explicit, overflow_at=0)
    assert same(values(model), values(network()))
    assert not any("grokkit/slow" in entry for entry in optimizer.state.values())
    scaled_run(model, optimizer, [1], explicit)
    before = {p: optimizer.state[p]["grokkit/slow"].clone() for p in model.parameters()}
    weights = values(model)
    scaled_run(model, optimizer, [2], explicit, overflow_at=2)
    assert same(values(model), weights)
    for p, slow in before.items():
        assert torch.equal(optimizer.state[p]["grokkit/slow"], slow)
        assert counted(optimizer, p) == 1


def amp_run(model, optimizer, steps, scaler, clip, stepper=None):
    """Two micro-batches a step, at a scale; the third step overflows. Without a scaler that one is left out by hand."""
    for step in steps:
        optimizer.zero_grad()
        for part in (2 * step, 2 * step + 1):
            value = loss(model, part) / 2
            (value if scaler is None else scaler.scale(value * (float("inf") if step == 2 else 1.0))).backward()
        if clip:
            if scaler is not None:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        if scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        elif step != 2:
            stepper.step()
    return values(model)


def scaler_of_two(state=None):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.load_state_dict(state or scaler.state_dict())
    return scaler


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("case", SCALED)
def test_scaled_accumulated_and_clipped_equals_filtering_by_hand(case, transform, clip):
    (model, optimizer), (twin, by_hand) = both(
        lambda model: None,
        lambda m: SCALED[case][0](m.parameters(), **{"lr": 0.05, **SCALED[case][1]}),
        TRANSFORMS[transform],
    )
    expected = amp_run(twin, by_hand.optimizer, STEPS, None, clip, by_hand)
    assert same(amp_run(model, optimizer, STEPS, scaler_of_two(), clip), expected)


@pytest.mark.parametrize("half", [2, 4], ids=["before", "after"])
@pytest.mark.parametrize("case", SCALED)
def test_a_scaled_run_resumes_bit_for_bit(case, half):
    """Before or after the step that overflows."""
    ends = []
    for stop in (half, None):
        model, optimizer = make(*SCALED[case])
        attach(optimizer, TRANSFORMS["chain"]())
        scaler = scaler_of_two()
        amp_run(model, optimizer, STEPS[:stop], scaler, 0.3)
        if stop:
            saved = copy.deepcopy([model.state_dict(), optimizer.state_dict(), scaler.state_dict()])
            model, optimizer = make(*SCALED[case])
            attach(optimizer, TRANSFORMS["chain"]())
            model.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
            amp_run(model, optimizer, STEPS[stop:], scaler_of_two(saved[2]), 0.3)
        ends.append(values(model))
    assert same(*ends)


@pytest.mark.parametrize("kept", [torch.float64, torch.bfloat16])
def test_a_state_dict_of_another_dtype_s_model(kept):
    """The average is kept as precisely as this model needs it, whatever the checkpoint's was, unless it was less."""
    model, optimizer = make(torch.optim.SGD, {"lr": 0.05}, kept)
    attach(optimizer, grokfast_ema())
    run(model, optimizer, range(3))
    twin, other = make(torch.optim.SGD, {"lr": 0.05}, torch.float32)
    attach(other, grokfast_ema())
    other.load_state_dict(optimizer.state_dict())
    run(twin, other, range(3, 4))
    assert other.state[twin[0].weight]["grokkit/slow"].dtype is torch.float32
    assert counted(other, twin[0].weight) == 4
