"""Muon against PyTorch's, and its costs against the counter."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from grokkit import InputError, grokfast_ema
from grokkit.methods.muon import MUON, muon
from grokkit.methods.newton_schulz import orthogonalized
from grokkit.testing.runs import small_run
from grokkit.train.loop import begin_alone
from grokkit.train.resolve import method_config


def parameters(shape=(6, 10), dtype=torch.float32):
    torch.manual_seed(0)
    return {"hidden": {"w": torch.nn.Parameter(torch.randn(shape, dtype=dtype))}, "vector": {}, "head": {}}


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_steps_are_pytorch_s_but_for_its_bfloat16(shape, nesterov):
    """Its products round to 8 bits: five iterations of it are within 4 % of the largest entry of a step."""
    classes, theirs = parameters(shape), parameters(shape)["hidden"]["w"]
    ours = muon(lr=0.1, wd=0.2, nesterov=nesterov)(classes)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, momentum=0.95, nesterov=nesterov)
    p = classes["hidden"]["w"]
    for _ in range(4):
        gradient = torch.randn(shape)
        p.grad, theirs.grad = gradient.clone(), gradient.clone()
        ours.step()
        reference.step()
    torch.testing.assert_close(p.detach(), theirs.detach(), rtol=0, atol=0.04 * 0.1 * 4 * (10 / 6) ** 0.5)


def test_queries_keys_and_values_are_orthogonalized_apart():
    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(12, 4))
    parts = [torch.nn.Parameter(part.detach().clone()) for part in whole.chunk(3)]
    gradient = torch.randn(12, 4)
    whole.grad = gradient.clone()
    for part, own in zip(parts, gradient.chunk(3), strict=True):
        part.grad = own.clone()
    muon()({"hidden": {"attn.in_proj_weight": whole}}).step()
    muon()({"hidden": dict(zip("qkv", parts, strict=True))}).step()
    torch.testing.assert_close(whole.detach(), torch.cat(parts).detach(), rtol=1e-6, atol=1e-7)


def test_what_cannot_be_queries_keys_and_values_is_one_matrix():
    classes, other = parameters((10, 4)), parameters((10, 4))
    named = {"hidden": {"own.in_proj_weight": classes["hidden"]["w"]}}
    gradient = torch.randn(10, 4)
    for own in (named, other):
        (p,) = own["hidden"].values()
        p.grad = gradient.clone()
        muon()(own).step()
    assert torch.equal(classes["hidden"]["w"], other["hidden"]["w"])
    (charged, alone) = ({"hidden": {name: (10, 4)}} for name in ("own.in_proj_weight", "w"))
    shapes = [
        {"hidden": {name: torch.Size(shape) for name, shape in own["hidden"].items()}} for own in (charged, alone)
    ]
    assert MUON.flops(shapes[0], {"ns_steps": 5}) == MUON.flops(shapes[1], {"ns_steps": 5})


@pytest.mark.parametrize("kind", ["hidden", "vector"])
def test_complex_parameters_are_refused_in_one_line(kind):
    classes = parameters()
    classes[kind]["z"] = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))
    with pytest.raises(InputError, match="z is complex, and Muon is for real matrices; use AdamW"):
        muon()(classes)


def test_everything_else_is_adamw_s_bit_for_bit_also_after_loading():
    torch.manual_seed(0)
    start = torch.randn(3, 5)
    ends = []
    for own in (True, False):
        p = torch.nn.Parameter(start.clone())

        def make(p=p, own=own):
            if own:
                return muon(adamw_lr=0.01, adamw_wd=0.3)({**parameters(), "head": {"p": p}})
            return torch.optim.AdamW([p], 0.01, betas=(0.9, 0.98), weight_decay=0.3, fused=True)

        optimizer = make()
        for step in range(6):
            if step == 3:
                state, optimizer = optimizer.state_dict(), make()
                optimizer.load_state_dict(state)
            p.grad = torch.full_like(p, 0.1 * step - 0.2)
            optimizer.step()
        ends.append(p.detach().clone())
    assert torch.equal(*ends)


@pytest.mark.parametrize("given", [lambda p: [("added", p)], lambda p: [p], lambda p: p, lambda p: iter([p])])
@pytest.mark.parametrize("when", ["at once", "copied", "loaded"])
@pytest.mark.parametrize("beside", [{}, {"head": {"h": (2, 2)}}], ids=["hidden alone", "with a head"])
def test_a_group_that_is_added_is_adamw_s_bit_for_bit(beside, when, given):
    """With the parameters' names or without."""
    torch.manual_seed(0)
    start = torch.randn(3, 5)
    added, alone = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())

    def make():
        own = {
            kind: {n: torch.nn.Parameter(torch.ones(shape)) for n, shape in of.items()} for kind, of in beside.items()
        }
        return muon()({**parameters(), **own, "hidden": {"m": torch.nn.Parameter(torch.ones(2, 2))}})

    def add(optimizer, p):
        optimizer.add_param_group({"params": given(p), "lr": 0.01, "weight_decay": 0.3})

    optimizer = make()
    if when == "copied":
        optimizer = copy.deepcopy(optimizer)
    add(optimizer, added)
    plain = torch.optim.AdamW([alone], 0.01, betas=(0.9, 0.98), weight_decay=0.3, fused=True)
    for step in range(4):
        if step == 2 and when == "loaded":
            state, optimizer = optimizer.state_dict(), make()
            add(optimizer, added)
            optimizer.load_state_dict(state)
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            p.grad = torch.full_like(p, 0.1 * step - 0.15)
        alone.grad = torch.full_like(alone, 0.1 * step - 0.15)
        optimizer.step()
        plain.step()
    assert torch.equal(added, alone)


def test_groups_that_are_added_without_names_are_called_by_their_places():
    optimizer = muon()(parameters())
    for _ in range(2):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]})
    names = [group["param_names"] for group in optimizer.param_groups]
    assert names == [["w"], *([f"group {g} parameter {k}" for k in (0, 1)] for g in (1, 2))]
    with pytest.raises(ValueError, match="Some param names are missing"):
        optimizer.add_param_group(
            {"params": [("a", torch.nn.Parameter(torch.ones(2))), torch.nn.Parameter(torch.ones(2))]}
        )
    with pytest.raises(TypeError, match="ordered collections"):
        optimizer.add_param_group({"params": {torch.nn.Parameter(torch.ones(2))}})


@pytest.mark.parametrize("nesterov", [True, False])
def test_to_maximize_is_to_minimize_the_negative(nesterov):
    """Set in all groups, as PyTorch's optimizers have it."""
    ends = []
    for maximize in (False, True):
        classes = {**parameters(), "head": {"h": torch.nn.Parameter(torch.ones(3, 6))}}
        optimizer = muon(nesterov=nesterov)(classes)
        for group in optimizer.param_groups:
            group["maximize"] = maximize
        for k in range(3):
            for p in (p for own in classes.values() for p in own.values()):
                p.grad = (-1.0 if maximize else 1.0) * torch.linspace(-1.0, 0.1 + k, p.numel()).view(p.shape)
                before = p.grad.clone()
            optimizer.step()
            assert torch.equal(p.grad, before)
        ends.append([p.detach().clone() for own in classes.values() for p in own.values()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ends, strict=True))


@pytest.mark.parametrize("compiled", ["the step", "a function that steps"])
def test_a_compiled_step_is_the_plain_step(compiled):
    """And state_dict() has the state of all parameters, also of those that AdamW trains."""
    ends = []
    for is_compiled in (False, True):
        torch._dynamo.reset()
        classes = {**parameters(), "head": {"h": torch.nn.Parameter(torch.ones(3, 6))}}
        optimizer = muon()(classes)
        called = optimizer.step if compiled == "the step" else lambda optimizer=optimizer: optimizer.step()
        step = torch.compile(called, backend="eager") if is_compiled else called
        for k in range(4):
            for p in (p for own in classes.values() for p in own.values()):
                p.grad = torch.linspace(-1.0, 0.1 + k, p.numel()).view(p.shape)
            step()
        state = optimizer.state_dict()["state"]
        assert [sorted(own) for own in state.values()] == [["momentum"], ["exp_avg", "exp_avg_sq", "step"]]
        ends.append([p.detach().clone() for own in classes.values() for p in own.values()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ends, strict=True))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0)])
def test_a_matrix_without_entries_is_no_trouble(shape):
    empty, full = torch.nn.Parameter(torch.empty(shape)), torch.nn.Parameter(torch.ones(2, 2))
    optimizer = muon()({**parameters(), "hidden": {"empty": empty, "full": full}})
    empty.grad, full.grad = torch.empty(shape), torch.ones(2, 2)
    optimizer.step()
    assert not torch.equal(full, torch.ones(2, 2))


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_step_is_charged_what_the_counter_sees(steps):
    shapes = {"a.in_proj_weight": (12, 4), "b": (6, 10), "c": (10, 6), "wide": (4, 16), "tall": (9, 3)}
    hidden = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    for p in hidden.values():
        p.grad = torch.randn_like(p)
    optimizer, settings = (
        muon(ns_steps=steps)({"hidden": hidden}),
        {**method_config("muon").parts[0].settings, "ns_steps": steps},
    )
    with FlopCounterMode(display=False) as counter:
        optimizer.step()
    charged = MUON.flops({"hidden": {name: p.shape for name, p in hidden.items()}}, settings)
    assert counter.get_total_flops() == charged > 0


@pytest.mark.parametrize("ns_steps", [3, 5])
@pytest.mark.parametrize("shape", [(10, 6), (6, 10)])
def test_a_step_is_the_orthogonalized_gradient_scaled_or_not(shape, ns_steps):
    """The first step by hand: without momentum before it, Nesterov's look ahead only changes the length."""
    for scaled, factor in ((True, max(1.0, shape[0] / shape[1]) ** 0.5), (False, 1.0)):
        classes = parameters(shape, torch.float64)
        p = classes["hidden"]["w"]
        start, p.grad = p.detach().clone(), torch.linspace(-1.0, 1.0, p.numel(), dtype=torch.float64).sin().view(shape)
        muon(lr=0.1, wd=0.0, ns_steps=ns_steps, scaled=scaled)(classes).step()
        (direction,) = orthogonalized([p.grad], ns_steps)
        expected = start - 0.1 * factor * direction
        torch.testing.assert_close(p.detach(), expected, rtol=1e-9, atol=1e-9)


def test_grokfast_goes_before_the_momentum_of_muon():
    """Each step is Muon's on the gradient that the filter leaves."""
    engine, by_hand = (begin_alone(small_run(name)) for name in ("grokfast-ema(lamb=2)+muon", "muon"))
    transform = grokfast_ema(lamb=2.0)
    state = transform.init(dict(by_hand.model.named_parameters()))
    rates = [group["lr"] for group in by_hand.optimizer.param_groups]
    for _ in range(6):
        rows = engine.members[0].batches.next()
        engine.take_step(rows)
        named = dict(by_hand.model.named_parameters())
        by_hand.model.zero_grad()
        inputs, targets = by_hand._task.batch(rows)
        by_hand._task.loss(by_hand._task.forward(by_hand.model, inputs), targets).backward()
        grads, state = transform.update({name: p.grad for name, p in named.items()}, state, named)
        for name, g in grads.items():
            named[name].grad = g
        for group, rate in zip(by_hand.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, engine._progress.step / 10 - 0.1)
        by_hand.optimizer.step()
    for ours, theirs in zip(engine.model.parameters(), by_hand.model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-4, atol=1e-6)
