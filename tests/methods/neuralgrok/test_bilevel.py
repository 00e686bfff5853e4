"""The outer step: its gradient against two other ways to it, and that the model does not notice."""

import copy
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from amplifiers import amplifier, assert_close, largest, numpy_of, tensors
from cards import CARDS
from reference.amplifier import transform as reference
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from grokkit import InputError, NeuralGrok, attach, grad_norm
from grokkit.methods.neuralgrok.amplifier import Amplifier, fresh_amplifier, map_amplifier
from grokkit.methods.neuralgrok.bilevel import learned
from grokkit.methods.neuralgrok.transform import neuralgrok
from grokkit.randomness import global_state
from grokkit.rng import stream

FIRST = 0.1  # 1 − β₁: what the first gradient's share of Adam's mean is


def data(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "data"), dtype=torch.float64)


class Net(nn.Module):
    """With a frozen layer, a parameter of the inner loss alone, and one of the outer loss alone."""

    def __init__(self):
        super().__init__()
        self.first, self.frozen, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2, bias=False)
        self.inner_only, self.outer_only = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        self.double()
        for name, p in self.named_parameters():
            p.data.copy_(0.7 * torch.randn(p.shape, generator=stream(0, name), dtype=torch.float64))
        self.frozen.requires_grad_(False)

    def forward(self, x, *, inner):
        return self.last(self.frozen(self.first(x).tanh()).tanh()) + (self.inner_only if inner else self.outer_only)


X, Y, X_OUTER, Y_OUTER = data(10, 3), data(10, 2, seed=1), data(6, 3, seed=2), data(6, 2, seed=3)


def inner(net):
    return (net(X, inner=True) - Y).square().sum()


def outer(net):
    """Not linear in the step, so that a gradient taken at θ in the place of θ' is another."""
    return (net(X_OUTER, inner=False) - Y_OUTER).square().mean()


def setup(rates=(0.3, 0.3), **settings):
    """The layers in one group, the others in another; an amplifier that varies over these gradients."""
    net = Net()
    layers = [p for name, p in net.named_parameters() if "." in name]
    others = [net.inner_only, net.outer_only]
    optimizer = torch.optim.SGD([{"params": layers, "lr": rates[0]}, {"params": others, "lr": rates[1]}])
    settings = {"amplifier": amplifier(5, 4, steep=2.0), "every": 1, "weight_decay": 0.0, "c": 0.7} | settings
    return net, optimizer, NeuralGrok(net, optimizer, **settings)


def rate_of(optimizer, p):
    return next(group["lr"] for group in optimizer.param_groups if any(q is p for q in group["params"]))


def inner_gradients(net):
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(inner(net), list(trained.values()), allow_unused=True)
    return {name: g for name, g in zip(trained, grads, strict=True) if g is not None}


def loss_in_numpy(net, optimizer, weights, biases, c):
    """L_outer(θ − η·G), with G from the numpy reference."""
    there = copy.deepcopy(net)
    for name, g in inner_gradients(net).items():
        step = torch.from_numpy(reference(weights, biases, g.numpy(), c))
        there.get_parameter(name).data.sub_(rate_of(optimizer, net.get_parameter(name)) * step)
    return outer(there).item()


def gradient_densely(net, grads, rate, f, c):
    """By PyTorch's own differentiation through the softmax at every entry, and through the model at θ'."""
    leaves = map_amplifier(lambda t: t.clone().requires_grad_(), f)
    moved = {}
    for name, g in grads.items():
        p = net.get_parameter(name)
        amplified = leaves(g.flatten()).softmax(0).reshape(g.shape) * g
        moved[name] = p.detach() - rate(p) * c * amplified / amplified.norm()
    loss = (functional_call(net, moved, (X_OUTER,), {"inner": False}) - Y_OUTER).square().mean()
    found = iter(torch.autograd.grad(loss, [*leaves.weights, *leaves.biases]))
    return loss.item(), map_amplifier(lambda _: next(found), f)


def gradient_of(ng):
    """From Adam's mean after the first step without decay."""
    return map_amplifier(lambda t: t / FIRST, ng.handle.state.mean)


RATES = pytest.mark.parametrize("rates", [(0.3, 0.3), (0.4, 0.05), (0.3, 0.0)])


@RATES
def test_the_gradient_is_that_of_finite_differences(rates):
    """Central differences of step h: truncation h² and rounding ε/h are about 1e-10, a hundredth of what is allowed."""
    net, optimizer, ng = setup(rates)
    inner(net).backward()
    weights, biases = numpy_of(map_amplifier(torch.clone, ng.amplifier))
    loss = ng.outer_step(outer_loss=lambda: outer(net))
    assert loss.item() == pytest.approx(loss_in_numpy(net, optimizer, weights, biases, 0.7), rel=1e-12)
    found, h = gradient_of(ng), 1e-5
    assert largest(found) > 1e-4
    for arrays, gradients in ((weights, found.weights), (biases, found.biases)):
        for array, gradient in zip(arrays, gradients, strict=True):
            for index in np.ndindex(array.shape):
                there, sides = array[index], []
                for array[index] in (there + h, there - h):
                    sides.append(loss_in_numpy(net, optimizer, weights, biases, 0.7))
                array[index] = there
                difference = (sides[0] - sides[1]) / (2 * h)
                assert gradient[index].item() == pytest.approx(difference, rel=0, abs=1e-6 * largest(found))


@RATES
@pytest.mark.parametrize("clip", [None, 1.0, 1e-3])
@pytest.mark.parametrize("hidden", [(12,), (16, 16), (4, 3, 5)])
def test_the_gradient_is_that_of_autograd(rates, clip, hidden):
    """Whatever the clip is: G in the outer step is not clipped."""
    f = amplifier(*hidden, steep=2.0)
    net, optimizer, ng = setup(rates, clip=clip, amplifier=f)
    inner(net).backward()
    expected, gradient = gradient_densely(net, inner_gradients(net), lambda p: rate_of(optimizer, p), f, 0.7)
    assert largest(gradient) > 1e-4
    assert ng.outer_step(outer_loss=lambda: outer(net)).item() == pytest.approx(expected, rel=1e-12)
    assert_close(gradient_of(ng), gradient, 1e-10)


def test_the_gradient_of_a_fresh_amplifier_at_tiny_gradients():
    """Where p is uniform to 1e-5, and float32 would lose what there is to learn from: still to 1e-7."""
    net, _, ng = setup(amplifier=None, hidden=(128, 128))
    (1e-5 * inner(net)).backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    _, expected = gradient_densely(net, grads, lambda _: 0.3, map_amplifier(torch.clone, ng.amplifier), 0.7)
    ng.outer_step(outer_loss=lambda: outer(net))
    assert_close(gradient_of(ng), expected, 1e-7)


def test_float32_parameters_learn_what_float64_ones_do():
    """The model's own rounding is all that differs: 1e-4 of the gradient, with an ordinary step of 0.3."""
    net, _, exact = setup()
    inner(net).backward()
    exact.outer_step(outer_loss=lambda: outer(net))
    single = Net().float()
    optimizer = torch.optim.SGD([p for p in single.parameters() if p.requires_grad], lr=0.3)
    ng = NeuralGrok(single, optimizer, amplifier=amplifier(5, 4, steep=2.0), every=1, weight_decay=0.0, c=0.7)
    (single(X.float(), inner=True) - Y.float()).square().sum().backward()
    ng.outer_step(outer_loss=lambda: (single(X_OUTER.float(), inner=False) - Y_OUTER.float()).square().mean())
    assert {t.dtype for t in tensors(ng.amplifier)} == {torch.float64}
    assert_close(gradient_of(ng), gradient_of(exact), 1e-4)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-3, 0.5])
def test_adam_is_pytorch_s(weight_decay):
    f = amplifier(4, 3)
    weights = [nn.Parameter(t.clone()) for t in tensors(f)]
    optimizer = torch.optim.Adam(weights, lr=1e-2, betas=(0.9, 0.98), weight_decay=weight_decay)
    state = neuralgrok(amplifier=f).init({"w": torch.ones(1)})
    for step in range(20):
        gradient = amplifier(4, 3, seed=step + 1)
        for p, g in zip(weights, tensors(gradient), strict=True):
            p.grad = g.clone()
        optimizer.step()
        state = learned(state, gradient, 1e-2, weight_decay)
        assert int(state.updates) == step + 1
        for ours, p in zip(tensors(state.amplifier), weights, strict=True):
            torch.testing.assert_close(ours, p.detach(), rtol=1e-13, atol=1e-14)


def test_the_settings_reach_adam():
    """Of a gradient next to nothing the decay is left, and the first step is lr down its sign."""
    f = amplifier(4, 3)
    for lr, weight_decay in ((1e-2, 0.5), (1e-3, 2.0)):
        net, _, ng = setup(amplifier=f, lr=lr, weight_decay=weight_decay)
        inner(net).backward()
        ng.outer_step(outer_loss=lambda net=net: 1e-30 * outer(net))
        expected = map_amplifier(lambda t, lr=lr, wd=weight_decay: t - lr * t / (t.abs() + 1e-8 / wd), f)
        assert_close(ng.amplifier, expected, 1e-13)


def test_defaults_are_those_of_the_lab():
    net = Net()
    ng = NeuralGrok(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert (ng.every, ng._lr, ng._weight_decay, ng._c) == (4, 1e-4, 1e-3, 1.0)
    assert ng.amplifier.hidden == (128, 128)


def test_an_inner_loss_is_as_good_as_its_gradient():
    one, other = setup(), setup()
    inner(one[0]).backward()
    losses = [one[2].outer_step(outer_loss=lambda: outer(one[0]))]
    other[0].first.weight.grad = torch.full((4, 3), 7.0, dtype=torch.float64)  # of no account
    losses.append(other[2].outer_step(outer_loss=lambda: outer(other[0]), inner_loss=lambda: inner(other[0])))
    assert losses[0] == losses[1]
    for ours, theirs in zip(tensors(one[2].amplifier), tensors(other[2].amplifier), strict=True):
        assert torch.equal(ours, theirs)
    assert {name for name, p in other[0].named_parameters() if p.grad is not None} == {"first.weight"}
    assert other[0].first.weight.grad.eq(7.0).all()


def test_the_caller_may_have_switched_gradients_off():
    net, _, ng = setup()
    before = map_amplifier(torch.clone, ng.amplifier)
    with torch.no_grad():
        loss = ng.outer_step(outer_loss=lambda: outer(net), inner_loss=lambda: inner(net))
    assert not loss.requires_grad
    assert not torch.equal(ng.amplifier.weights[0], before.weights[0])
    assert not any(t.requires_grad for t in tensors(ng.amplifier))


class Noisy(nn.Module):
    """Everything that a forward pass changes: BatchNorm's buffers, the random generator; a part in eval mode."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
        self.still = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).eval()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("last", None)

    def forward(self, x):
        self.calls += 1
        self.passing += 1.0
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)  # another tensor in its place
        self.last = x.detach()
        return self.still(self.layers(x))


def noisy():
    torch.manual_seed(0)
    model = Noisy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ng = NeuralGrok(model, optimizer, hidden=(6, 5), every=1, lr=1e-2)
    loss = lambda x: (model(x) - 1.0).square().mean()  # noqa: E731
    for _ in range(2):  # so that the optimizer and the buffers have a past
        optimizer.zero_grad()
        loss(torch.randn(8, 3)).backward()
        optimizer.step()
    loss(torch.randn(8, 3)).backward()
    return model, optimizer, ng, loss


def everything(model, optimizer):
    """All that a loop could notice, in copies."""
    named = {f"parameter {name}": p for name, p in model.named_parameters()}
    named |= {f"gradient {name}": p.grad for name, p in model.named_parameters()}
    named |= {f"buffer {name}": b for name, b in model.named_buffers()}
    random_state = global_state()
    named |= {f"random {name}": tensor for name, tensor in random_state.tensors.items()}
    named |= {"numpy's place": torch.tensor(random_state.others["numpy"][1])}
    for index, p in enumerate(model.parameters()):
        named |= {f"optimizer {index} {key}": value for key, value in optimizer.state[p].items()}
    return {name: value.detach().clone() for name, value in named.items()}


def identities(model):
    """Which tensors these are, and the modes."""
    own = [id(t) for t in (*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters()))]
    return own, [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]


def assert_unnoticed(before, model, optimizer):
    after = everything(model, optimizer)
    assert before.keys() == after.keys()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


@pytest.mark.parametrize("with_inner_loss", [False, True])
def test_the_model_does_not_notice(with_inner_loss):
    model, optimizer, ng, loss = noisy()
    before, same = everything(model, optimizer), identities(model)
    amplifier_before = map_amplifier(torch.clone, ng.amplifier)
    x, calls = torch.randn(5, 3, generator=stream(0, "x")), []

    def outer_loss():
        calls.append((np.random.rand(), random.random()))
        return loss(x)

    inner_loss = (lambda: loss(x)) if with_inner_loss else None
    assert ng.outer_step(outer_loss=outer_loss, inner_loss=inner_loss) is not None
    assert len(calls) == 1
    assert_unnoticed(before, model, optimizer)
    assert identities(model) == same
    assert not torch.equal(ng.amplifier.weights[0], amplifier_before.weights[0])
    assert {key for key in optimizer.state if isinstance(key, str)} == {"grokkit"}


class Spoilt(Exception):
    pass


@pytest.mark.parametrize(
    "where", ["outer", "inner", "no graph", "a gradient that is not finite", "no finite outer loss"]
)
def test_the_model_does_not_notice_a_step_that_fails(where):
    model, optimizer, ng, loss = noisy()
    x = torch.randn(5, 3, generator=stream(0, "x"))

    def fails(*_):
        loss(x)
        raise Spoilt

    inner_loss, outer_loss, error = None, lambda: loss(x), InputError
    if where == "outer":
        outer_loss, error = fails, Spoilt
    elif where == "inner":
        inner_loss, error = fails, Spoilt
    elif where == "no graph":
        outer_loss = lambda: loss(x).item()  # noqa: E731
    elif where == "no finite outer loss":
        outer_loss = lambda: loss(x) * torch.inf  # noqa: E731
    else:
        model.layers[0].bias.grad[2] = torch.inf
    before, same, state = everything(model, optimizer), identities(model), ng.handle.state
    kept = copy.deepcopy(optimizer.state["grokkit"])
    with pytest.raises(error):
        ng.outer_step(outer_loss=outer_loss, inner_loss=inner_loss)
    assert_unnoticed(before, model, optimizer)
    assert identities(model) == same
    assert ng.handle.state.updates == state.updates == 0
    for key, value in optimizer.state["grokkit"].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(kept[key])), key


def test_training_goes_on_as_with_the_amplifier_fixed_as_it_is_now():
    """An outer step changes nothing but the amplifier: the step after it is that of another run with this amplifier."""
    model, optimizer, ng, loss = noisy()
    twin = copy.deepcopy(model)
    ng.outer_step(outer_loss=lambda: loss(torch.ones(5, 3)))
    bare = torch.optim.AdamW(twin.parameters(), lr=1e-2)
    bare.load_state_dict(
        {
            **optimizer.state_dict(),
            "state": {
                i: {key: value.clone() for key, value in optimizer.state[p].items()}
                for i, p in enumerate(model.parameters())
            },
        }
    )
    attach(bare, neuralgrok(amplifier=ng.amplifier))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.grad = p.grad.clone()
    optimizer.step()
    bare.step()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


def loop(net, optimizer, ng, steps, rates=None):
    """In which of the steps an outer step was taken."""
    taken = []
    for step in range(steps):
        if rates is not None:
            for group in optimizer.param_groups:
                group["lr"] = rates[step]
        optimizer.zero_grad()
        inner(net).backward()
        if ng.outer_step(outer_loss=lambda: outer(net)) is not None:
            taken.append(step)
        optimizer.step()
    return taken


@pytest.mark.parametrize(("every", "expected"), [(1, [*range(9)]), (2, [0, 2, 4, 6, 8]), (4, [0, 4, 8]), (100, [0])])
def test_every_t_th_step(every, expected):
    net, optimizer, ng = setup(every=every)
    assert loop(net, optimizer, ng, 9) == expected
    assert int(ng.handle.state.updates) == len(expected)
    assert int(ng.handle.state.step) == 9


def test_nothing_is_due_while_the_learning_rate_is_zero():
    """As at the first step of a warm-up; the next is due when it would have been anyway."""
    net, optimizer, ng = setup(every=4)
    assert loop(net, optimizer, ng, 13, [0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1]) == [4, 12]
    net, optimizer, ng = setup(every=1, rates=(0.0, 0.0))
    fresh = map_amplifier(torch.clone, ng.amplifier)
    inner(net).backward()
    assert ng.outer_step(outer_loss=lambda: pytest.fail("not due")) is None
    assert all(torch.equal(a, b) for a, b in zip(tensors(ng.amplifier), tensors(fresh), strict=True))


def test_a_learning_rate_that_is_a_tensor():
    one, other = setup(), setup()
    for group in other[1].param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    for net, optimizer, ng in (one, other):
        loop(net, optimizer, ng, 2)
    assert_close(one[2].amplifier, other[2].amplifier, 1e-15)


def test_a_step_that_takes_a_closure():
    """The outer step before it, with the inner loss, as the gradient is not there yet."""
    one, other = setup(every=2), setup(every=2)
    taken = loop(*one, 5)
    net, optimizer, ng = other
    found = []
    for step in range(5):

        def closure():
            optimizer.zero_grad()
            loss = inner(net)
            loss.backward()
            return loss

        if ng.outer_step(outer_loss=lambda: outer(net), inner_loss=lambda: inner(net)) is not None:
            found.append(step)
        before = inner(net).item()
        assert optimizer.step(closure).item() == before
    assert found == taken == [0, 2, 4]
    for p, q in zip(one[0].parameters(), net.parameters(), strict=True):
        assert torch.equal(p, q)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one[2].amplifier), tensors(ng.amplifier), strict=True))


def test_a_parameter_without_an_inner_gradient_stays_where_it_is():
    """θ' has the old ``outer_only``; of a zero gradient, as ``zero_grad(set_to_none=False)`` leaves it, too."""
    net, _, ng = setup()
    inner(net).backward()
    assert net.outer_only.grad is None
    seen = []

    def outer_loss():
        seen.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return outer(net)

    ng.outer_step(outer_loss=outer_loss)
    found = map_amplifier(torch.clone, gradient_of(ng))
    net, _, ng = setup()
    inner(net).backward()
    net.outer_only.grad = torch.zeros(2, dtype=torch.float64)
    ng.outer_step(outer_loss=outer_loss)
    for there in seen:
        still = {name for name, p in net.named_parameters() if torch.equal(p, there[name])}
        assert still == {"frozen.weight", "frozen.bias", "outer_only"}
    assert_close(gradient_of(ng), found, 1e-13)


def test_parameters_that_share_their_memory_or_their_names():
    """One layer used twice is one parameter; two groups may have a ``weight`` each."""
    shared, last = nn.Linear(3, 3).double(), nn.Linear(3, 2).double()
    model = nn.ModuleDict({"a": shared, "b": shared, "last": last})
    groups = [{"params": list(m.named_parameters()), "lr": lr} for m, lr in ((shared, 0.2), (last, 0.1))]
    ng = NeuralGrok(model, torch.optim.SGD(groups), amplifier=amplifier(5, steep=2.0), every=1, weight_decay=0.0)
    compute = lambda: (last(shared(shared(X).tanh())) - Y).square().sum()  # noqa: E731
    compute().backward()
    before = [p.detach().clone() for p in model.parameters()]
    assert ng.outer_step(outer_loss=compute).item() > 0.0
    assert largest(gradient_of(ng)) > 0.0
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_detached_it_is_the_bare_optimizer():
    model, optimizer, ng, loss = noisy()
    ng.outer_step(outer_loss=lambda: loss(torch.ones(5, 3)))
    ng.detach()
    ng.detach()
    assert set(optimizer.state) == set(model.parameters())
    assert {key for entry in optimizer.state.values() for key in entry} == {"step", "exp_avg", "exp_avg_sq"}
    twin = copy.deepcopy(model)
    bare = torch.optim.AdamW(twin.parameters(), lr=1e-2)
    bare.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.grad = p.grad.clone()
    optimizer.step()
    bare.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    NeuralGrok(model, optimizer).detach()


def test_detached_it_has_no_amplifier():
    """Rather than a fresh one, or a state in an optimizer that is bare again."""
    model, optimizer, ng, loss = noisy()
    ng.detach()
    for ask in (lambda: ng.amplifier, lambda: ng.outer_step(outer_loss=lambda: loss(torch.ones(5, 3)))):
        with pytest.raises(InputError, match="the transform is detached, and its state is gone; keep what you need"):
            ask()
    assert set(optimizer.state) == set(model.parameters())


def test_no_gradient():
    net, _, ng = setup()
    with pytest.raises(InputError) as caught:
        ng.outer_step(outer_loss=lambda: outer(net))
    assert str(caught.value) == (
        "outer_step() finds no gradient; call it between backward() and step(), or give it inner_loss"
    )


@pytest.mark.parametrize("which", ["outer", "inner"])
@pytest.mark.parametrize(
    ("spoil", "what"),
    [(lambda loss: loss.item(), "float"), (lambda loss: loss.detach(), "Tensor"), (lambda _: None, "NoneType")],
)
def test_a_loss_without_a_graph(which, spoil, what):
    net, _, ng = setup()
    inner(net).backward()
    losses = {"outer_loss": lambda: outer(net), "inner_loss": lambda: inner(net)}
    losses[f"{which}_loss"] = lambda: spoil(outer(net))
    with pytest.raises(InputError) as caught:
        ng.outer_step(**losses)
    assert str(caught.value) == (
        f"{which}_loss() gave {what} without a graph; return the loss as a tensor, computed with the model's "
        "parameters, without calling backward()"
    )


def test_an_outer_loss_of_something_else():
    net, _, ng = setup()
    inner(net).backward()
    elsewhere = torch.ones(2, requires_grad=True)
    for compute in (lambda: elsewhere.sum(), lambda: outer(Net())):
        with pytest.raises(
            InputError, match="outer_loss.. does not depend on the parameters that the optimizer trains"
        ):
            ng.outer_step(outer_loss=compute)


def test_what_is_not_finite_does_not_reach_the_amplifier():
    net, _, ng = setup()
    inner(net).backward()
    with pytest.raises(InputError, match="the outer loss, inf, .*has no finite gradient.*lower the learning rate"):
        ng.outer_step(outer_loss=lambda: outer(net) * torch.inf)
    net.inner_only.grad[0] = torch.nan
    with pytest.raises(InputError, match="has 1 entries that are not finite, of 2; NeuralGrok needs finite gradients"):
        ng.outer_step(outer_loss=lambda: outer(net))
    assert all(t.isfinite().all() for t in tensors(ng.amplifier))


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [("every", value, "a whole number >= 1; the default is 4") for value in (0, -1, 1.5, 4.0, True, "4", None)]
    + [
        ("lr", value, "a finite number > 0; the default is 0.0001")
        for value in (0, 0.0, -1e-4, float("inf"), float("nan"))
    ]
    + [("weight_decay", value, "a finite number >= 0; the default is 0.001") for value in (-1e-3, float("inf"), "0")],
)
def test_bad_settings(setting, value, allowed):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(InputError, match=f"{setting}={value!r} is not possible: {allowed}"):
        NeuralGrok(net, optimizer, **{setting: value})
    NeuralGrok(net, optimizer)  # nothing was attached before


@pytest.mark.parametrize("setting", [{"c": 0.0}, {"clip": -1.0}, {"hidden": ()}, {"amplifier": "nowhere.npz"}])
def test_bad_settings_of_the_transform(setting):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(InputError):
        NeuralGrok(net, optimizer, **setting)
    NeuralGrok(net, optimizer)


def test_attached_twice():
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    NeuralGrok(net, optimizer)
    with pytest.raises(InputError, match="this optimizer has a transform attached; detach"):
        NeuralGrok(net, optimizer)
    with pytest.raises(InputError, match="this optimizer has a transform attached; detach"):
        attach(optimizer, grad_norm())


def test_the_program_s_outer_step_is_that_of_each_run_alone():
    """Three members, each with its own weights, data, amplifier, learning rates, decay and c; three outer steps."""
    card, seeds = CARDS["neuralgrok"], range(3)
    shapes = {"w": (4, 3), "b": (4,), "v": (2, 4)}
    weights = [
        {name: 0.5 * data(*shape, seed=10 * seed + i) for i, (name, shape) in enumerate(shapes.items())}
        for seed in seeds
    ]
    x, y = data(3, 8, 3, seed=5), data(3, 8, 2, seed=6)
    eta, lr, wd, c = (
        torch.tensor(values, dtype=torch.float64)
        for values in ([0.3, 0.1, 0.5], [1e-2, 1e-3, 3e-2], [0.0, 1e-3, 0.1], [1.0, 0.5, 0.7])
    )

    def loss(w, x, y):
        return ((x @ w["w"].T + w["b"]).tanh() @ w["v"].T - y).square().mean()

    def program(w, x, y, eta, lr, wd, c, state):
        method = card.bilevel(every=1, amplifier_lr=lr, amplifier_wd=wd, c=c, clip=0.1, hidden=(6, 5), amplifier=None)
        grads = torch.func.grad(loss)(w, x[:5], y[:5])
        moved = method.direction(state, grads)
        there = {name: w[name] - eta * step for name, step in moved.items()}
        cotangents = {name: -eta * g for name, g in torch.func.grad(loss)(there, x[5:], y[5:]).items()}
        return method.learn(state, grads, cotangents)

    def stack(trees):
        return torch.utils._pytree.tree_map(lambda *leaves: torch.stack(leaves), *trees)

    amplifiers = [amplifier(6, 5, seed=seed, steep=2.0) for seed in seeds]
    states = stack([neuralgrok(amplifier=f).init(w) for f, w in zip(amplifiers, weights, strict=True)])
    alone = []
    for i in seeds:
        model = nn.ParameterDict({name: nn.Parameter(w.clone()) for name, w in weights[i].items()})
        optimizer = torch.optim.SGD(model.parameters(), lr=eta[i].item())
        settings = {"every": 1, "amplifier_lr": lr[i].item(), "amplifier_wd": wd[i].item(), "c": c[i].item()}
        settings |= {"clip": 0.1, "hidden": (7,), "amplifier": amplifiers[i], "seed": 0}
        alone.append((model, card.bilevel.attach(model, optimizer, settings)))
    for step in range(3):
        states = torch.vmap(program)(stack(weights), x, y, eta, lr, wd, c, states)
        for i, (model, ng) in enumerate(alone):
            loss(model, x[i, :5], y[i, :5]).backward()
            ng.outer_step(outer_loss=lambda model=model, i=i: loss(model, x[i, 5:], y[i, 5:]))
            model.zero_grad()
            for kind in ("amplifier", "mean", "square"):
                ours = map_amplifier(lambda t, i=i: t[i], getattr(states, kind))
                assert_close(ours, getattr(ng.handle.state, kind), 1e-9)
            assert int(states.updates[i]) == int(ng.handle.state.updates) == step + 1
    assert largest(map_amplifier(torch.sub, alone[0][1].amplifier, amplifiers[0])) > 1e-2


def noise_among_the_large(generator):
    """100 entries of ±0.1 point to the minimum, of length 1; 100 of ±1 are noise."""
    size = torch.cat([torch.full((100,), 0.1), torch.full((100,), 1.0)]).double()
    g = size * (torch.randint(0, 2, (200,), generator=generator) * 2 - 1)
    return g, torch.where(size < 0.5, -g, 0.0), 0.5


def noise_among_the_small(generator):
    """Four entries of ±1 point to the minimum, of length 2; 400 of ±0.1 are noise."""
    size = torch.cat([torch.full((4,), 1.0), torch.full((400,), 0.1)]).double()
    g = size * (torch.randint(0, 2, (404,), generator=generator) * 2 - 1)
    return g, torch.where(size > 0.5, -g, 0.0), 1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("problem", "fresh", "best", "sign"),
    [(noise_among_the_large, 0.575, 0.125, -1), (noise_among_the_small, 1.086, 0.5, 1)],
)
def test_the_amplifier_learns_to_leave_out_the_noise(problem, fresh, best, sign, seed):
    """Outer loss ½‖θ' − θ*‖² from θ = 0. All entries alike leave ``fresh``, the noise left out ``best``.

    100 steps of 0.01 leave at most 2 % of the way, and until then every 10th loss is lower than the one before.
    """
    g, target, eta = problem(stream(seed, "noise"))
    p = nn.Parameter(torch.zeros_like(g))
    model = nn.ParameterList([p])
    ng = NeuralGrok(model, torch.optim.SGD([p], lr=eta), (16, 16), every=1, lr=1e-2, seed=seed)
    p.grad = g.clone()
    outer_loss = lambda: 0.5 * (p - target).square().sum()  # noqa: E731
    losses = [ng.outer_step(outer_loss=outer_loss).item() for _ in range(101)]
    assert losses[0] == pytest.approx(fresh, abs=0.1 * (fresh - best) + 0.05)
    there = best + 0.02 * (losses[0] - best)
    assert best < losses[-1] < there
    assert all(after < max(before, there) for before, after in pairwise(losses[::10]))
    small, large = (ng.amplifier(torch.tensor([-size, size]).double()) for size in (0.1, 1.0))
    assert sign * (large.min() - small.max() if sign > 0 else large.max() - small.min()) > 1.5


def test_frozen_it_stays_at_the_fresh_amplifier_s_loss():
    g, target, eta = noise_among_the_large(stream(0, "noise"))
    f = fresh_amplifier((16, 16))
    transform = neuralgrok(amplifier=f)
    state = transform.init({"w": g})
    for _ in range(3):
        out, state = transform.update({"w": g}, state, {"w": g})
        assert float(0.5 * (-eta * out["w"] - target).square().sum()) == pytest.approx(0.575, abs=0.05)
    assert all(torch.equal(a, b) for a, b in zip(tensors(state.amplifier), tensors(f), strict=True))


@pytest.mark.parametrize("which", ["outer", "inner"])
@pytest.mark.parametrize("spoil", ["backward", "zero_grad", "both"])
def test_a_loss_that_calls_backward_is_refused_and_leaves_the_gradients(which, spoil):
    """Also one that clears them first, as a training step does; one that only clears them is no harm."""
    net, optimizer, ng = setup()
    inner(net).backward()
    before = {name: (p.grad, p.grad.clone()) for name, p in net.named_parameters() if p.grad is not None}

    def spoiled(loss):
        if spoil != "backward":
            optimizer.zero_grad()
        value = loss(net)
        if spoil != "zero_grad":
            value.backward(retain_graph=True)
        return value

    losses = {"outer_loss": lambda: outer(net), "inner_loss": lambda: inner(net)}
    losses[f"{which}_loss"] = lambda: spoiled(outer if which == "outer" else inner)
    if spoil == "zero_grad":
        assert ng.outer_step(**losses) is not None
    else:
        with pytest.raises(InputError, match=rf"{which}_loss\(\) called backward\(\); return the loss without it"):
            ng.outer_step(**losses)
    for name, (grad, value) in before.items():
        p = net.get_parameter(name)
        assert p.grad is grad
        assert torch.equal(grad, value)


@pytest.mark.parametrize("loss", [torch.tensor(1.0), 3, None])
def test_a_loss_that_is_no_function_is_refused(loss):
    net, _, ng = setup()
    inner(net).backward()
    with pytest.raises(InputError, match=r"outer_loss=.* is not possible: a function that computes the loss"):
        ng.outer_step(outer_loss=loss)


def test_a_complex_loss_is_refused():
    net, _, ng = setup()
    inner(net).backward()
    with pytest.raises(InputError, match=r"outer_loss\(\) gave 1 numbers, torch.complex128 .*; return one real number"):
        ng.outer_step(outer_loss=lambda: outer(net) * (1 + 1j))


@pytest.mark.parametrize("rate", [None, "absent"])
def test_an_optimizer_without_a_learning_rate_is_refused(rate):
    class Relative(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {} if rate == "absent" else {"lr": rate})

    net = nn.Linear(2, 1)
    optimizer = Relative(net.parameters())
    with pytest.raises(InputError, match=r"group 0 of Relative has no learning rate 'lr'.* attach\(optimizer, neural"):
        NeuralGrok(net, optimizer)
    attach(optimizer, grad_norm()).detach()  # nothing was left attached


def test_given_a_scheduler_it_takes_the_rates_of_its_optimizer():
    plain = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    ng = NeuralGrok(plain, torch.optim.lr_scheduler.StepLR(optimizer, 5), hidden=(4,), every=1)
    plain(torch.ones(3, 2)).sum().backward()
    assert ng.outer_step(outer_loss=lambda: plain(torch.ones(3, 2)).square().mean()) is not None


@pytest.mark.parametrize(
    ("weights", "biases"),
    [
        ((1, 2), (3, 4)),
        (None, None),
        ((), ()),
        ((torch.ones(1, 1),), (torch.ones(1),)),
        ((torch.ones(2, 1) + 1j, torch.ones(1, 2)), (torch.zeros(2), torch.zeros(1))),
    ],
)
def test_what_was_put_together_by_hand_and_is_no_amplifier_is_refused(weights, biases):
    with pytest.raises(InputError, match="the amplifier given is not one: its weights and its biases are real tensors"):
        neuralgrok(amplifier=Amplifier(weights, biases))


class Sum(nn.Module):
    """A linear layer whose weight is a sum of two parameters: autograd gives both the same tensor as their gradient,
    unless each ``apart`` has a product of its own."""

    def __init__(self, *, apart):
        super().__init__()
        self.base, self.delta, self.apart = nn.Parameter(data(2, 3)), nn.Parameter(data(2, 3, seed=1)), apart

    def forward(self, x):
        weight = self.base * 1 + self.delta * 1 if self.apart else self.base + self.delta
        return nn.functional.linear(x, weight)


def learned_from(net, step, **options):
    """What the amplifier learns from one outer step, and the loss there."""
    ng = NeuralGrok(net, torch.optim.SGD(net.parameters(), 0.3, **options), amplifier=amplifier(5, 4, steep=2.0))
    step().backward()
    loss = ng.outer_step(outer_loss=step)
    return gradient_of(ng), loss


def test_parameters_whose_gradients_are_one_tensor_learn_as_with_gradients_of_their_own():
    found = []
    for apart in (False, True):
        net = Sum(apart=apart)
        found.append(learned_from(net, lambda net=net: (net(X) - Y).square().mean())[0])
    assert largest(found[1]) > 1e-4
    assert_close(*found, 1e-12)


def test_an_outer_gradient_that_is_an_expanded_view_is_as_good_as_one_that_is_not():
    """Autograd gives the gradient of a sum as one number, expanded."""
    found = []
    for factor in (None, torch.ones(10, 3, dtype=torch.float64)):
        net = nn.Module()
        net.register_parameter("theta", nn.Parameter(data(10, 3)))
        ng = NeuralGrok(net, torch.optim.SGD(net.parameters(), 0.3), amplifier=amplifier(5, 4, steep=2.0), every=1)
        net.theta.grad = data(10, 3, seed=1)
        aside = X + net.theta
        ng.outer_step(outer_loss=lambda a=aside, f=factor: (a if f is None else a * f).sum())
        found.append(gradient_of(ng))
    assert largest(found[1]) > 1e-4
    assert_close(*found, 1e-12)


def test_where_the_optimizer_maximizes_the_amplifier_does_so_too():
    """At each of the same points the objective is minus the loss. The transform is not odd in the gradient, so the
    amplifier is one whose f is even, f(g) = |g|: with it G(−g) = −G(g), and both move the model alike."""
    even = Amplifier((torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2)), (torch.zeros(2), torch.zeros(1)))
    even = map_amplifier(torch.Tensor.double, even)
    found = []
    for sign in (1.0, -1.0):
        net = Net()
        ng = NeuralGrok(net, torch.optim.SGD(net.parameters(), 0.3, maximize=sign < 0), amplifier=even, every=1)
        (sign * inner(net)).backward()
        loss = ng.outer_step(outer_loss=lambda net=net, sign=sign: sign * outer(net))
        assert loss.item() * sign < outer(net).item()
        found.append((loss.item() * sign, sum(g.abs().sum().item() for g in gradient_of(ng).weights)))
    assert found[1] == pytest.approx(found[0], rel=1e-12)


@pytest.mark.parametrize("with_inner_loss", [False, True])
def test_a_sparse_gradient_is_refused_and_the_model_left_as_it_was(with_inner_loss):
    net = nn.Embedding(5, 3, sparse=True)
    ng = NeuralGrok(net, torch.optim.SGD(net.parameters(), 0.1), hidden=(4,), every=1)
    before, loss = net.weight.detach().clone(), lambda: net(torch.tensor([1, 2])).square().mean()
    loss().backward()
    with pytest.raises(InputError, match=r"the gradient of .* is torch.sparse_coo; make it dense"):
        ng.outer_step(outer_loss=loss, inner_loss=loss if with_inner_loss else None)
    assert torch.equal(net.weight, before)


def _in_autocast(*, together):
    """A step whose backward pass and outer step share one autocast block, or have one each."""
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    for name, p in model.named_parameters():
        p.data.copy_(0.7 * torch.randn(p.shape, generator=stream(0, name)))
    outer = NeuralGrok(model, torch.optim.SGD(model.parameters(), lr=1.0), every=1, lr=1e-2)
    x, y = data(32, 4).float(), data(8, 4, seed=1).float()

    def loss(inputs):
        return (model(inputs).float() - 1).square().mean()

    def autocast():
        return torch.autocast("cpu", torch.bfloat16)

    def apart():
        with autocast():
            return loss(y)

    if together:
        with autocast():
            before = loss(y).item()
            loss(x).backward()
            moved = outer.outer_step(outer_loss=lambda: loss(y))
            after = loss(y).item()
    else:
        before = apart().item()
        with autocast():
            inner = loss(x)
        inner.backward()
        moved = outer.outer_step(outer_loss=apart)
        after = apart().item()
    return before, moved.item(), after, outer.amplifier


def test_inside_autocast_the_outer_loss_is_of_the_moved_weights_and_later_ones_are_not():
    before, moved, after, learned_together = _in_autocast(together=True)
    assert before == after != moved
    _, moved_apart, _, learned_apart = _in_autocast(together=False)
    assert moved == moved_apart
    assert all(map(torch.equal, learned_together.weights, learned_apart.weights))


def test_a_sharded_outer_step_leaves_other_optimizers_gradients(monkeypatch):
    """Of a sharded model the gradient arrives in ``.grad``; that path is taken here by a model that is not."""
    monkeypatch.setattr("grokkit.methods.neuralgrok.bilevel.is_distributed", lambda p: True)
    body, head = nn.Linear(4, 4), nn.Linear(4, 1)
    model, ours = nn.Sequential(body, head), torch.optim.SGD(body.parameters(), lr=0.1)
    outer = NeuralGrok(model, ours, every=1)
    x, y = data(8, 4).float(), data(8, 4, seed=1).float()
    model(x).square().mean().backward()
    kept = [p.grad.clone() for p in model.parameters()]
    assert outer.outer_step(outer_loss=lambda: model(y).square().mean()) is not None
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), kept, strict=True))


def test_where_steps_are_captured_an_outer_step_writes_into_the_amplifier_that_they_read():
    """And learns what one does that need not."""
    learned = []
    for capturable in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.param_groups[0]["capturable"] = capturable  # Adam has it too, and steps with it on a GPU alone
        outer, x = NeuralGrok(model, optimizer, hidden=(4,), every=1, lr=1e-2), data(8, 2).float()
        for step in range(4):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            if step == 1:
                captured = dict(optimizer.state["grokkit"])
            if step > 1:
                outer.outer_step(outer_loss=lambda model=model, x=x: (model(x) - 1).square().mean())
            optimizer.step()
        state = optimizer.state["grokkit"]
        assert all(state[key] is tensor for key, tensor in captured.items()) is capturable
        learned.append([p.detach().clone() for p in (*outer.amplifier.weights, *outer.amplifier.biases)])
    assert all(map(torch.equal, *learned))


class WithSlowCopy(nn.Module):
    """An encoder beside a slow copy of itself, which every forward pass takes a little further."""

    def __init__(self, replaces):
        super().__init__()
        self.fast, self.replaces = nn.Linear(4, 4), replaces
        self.slow = copy.deepcopy(self.fast).requires_grad_(False)
        self.table = nn.Embedding(5, 4, max_norm=0.5)  # another optimizer's

    def forward(self, x):
        with torch.no_grad():
            for slow, fast in zip(self.slow.parameters(), self.fast.parameters(), strict=True):
                if self.replaces:
                    slow.data = slow.data.lerp(fast.data, 0.1)
                else:
                    slow.lerp_(fast, 0.1)
        return (self.fast(x) - self.slow(x) + self.table(torch.arange(len(x)))).square().mean()


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("is_frozen_in_the_optimizer", [False, True])
def test_what_a_forward_pass_changes_of_other_parameters_is_put_back(replaces, is_frozen_in_the_optimizer):
    model = WithSlowCopy(replaces)
    model.fast.weight.data.add_(1)
    own = [*model.fast.parameters(), *(model.slow.parameters() if is_frozen_in_the_optimizer else ())]
    optimizer = torch.optim.Adam(own, lr=1e-2)
    ng = NeuralGrok(model, optimizer, hidden=(4,), every=1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(3, 4)).backward()
        model.table.weight.data.mul_(3)
        before = copy.deepcopy(model.state_dict())
        assert ng.outer_step(outer_loss=lambda: model(torch.randn(2, 4))) is not None
        assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
        optimizer.step()


def test_reentrant_checkpoints_are_refused_in_our_words():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 1)))
    optimizer = torch.optim.Adam(model.parameters())
    ng = NeuralGrok(model, optimizer, hidden=(4,), every=1)

    def loss(use_reentrant):
        return checkpoint(model[1], model[0](torch.randn(3, 4)), use_reentrant=use_reentrant).square().mean()

    loss(use_reentrant=True).backward()
    with pytest.raises(InputError, match="use_reentrant=False"):
        ng.outer_step(outer_loss=lambda: loss(use_reentrant=True))
    assert ng.outer_step(outer_loss=lambda: loss(use_reentrant=False)) is not None


def test_an_expanded_buffer_is_in_no_ones_way():
    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(4, 4)
            self.register_buffer("mask", torch.ones(1, 4).expand(3, 4))

        def forward(self, x):
            return super().forward(x * self.mask)

    model = Masked()
    outer = NeuralGrok(model, torch.optim.SGD(model.parameters(), lr=0.1), hidden=(4,), every=1)
    x = data(3, 4).float()
    model(x).square().mean().backward()
    assert outer.outer_step(outer_loss=lambda: (model(x) - 1).square().mean()) is not None
    assert torch.equal(model.mask, torch.ones(3, 4))
