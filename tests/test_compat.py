"""The paper's two functions: against numpy, the paper's loop, and `attach`; kept, refused, not poisoned."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from by_hand import loss, network, run, same, values
from torch.nn.utils import prune

from grokkit import InputError, attach, grokfast_ema, grokfast_ma
from grokkit.compat import gradfilter_ema, gradfilter_ma
from grokkit.rng import stream

STEPS = range(8)
FUNCTIONS = {
    "ema": (gradfilter_ema, {"alpha": 0.8, "lamb": 2.0}, lambda: grokfast_ema(alpha=0.8, lamb=2.0)),
    "ma": (gradfilter_ma, {"window_size": 4, "lamb": 3.0}, lambda: grokfast_ma(window_size=4, lamb=3.0)),
    "ma-sum": (
        gradfilter_ma,
        {"window_size": 3, "lamb": 0.5, "filter_type": "sum", "warmup": False},
        lambda: grokfast_ma(window_size=3, lamb=0.5, filter_type="sum", warmup=False),
    ),
}


def trained(function, settings, steps=STEPS, grads=None, model=None):
    model = model or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in steps:
        optimizer.zero_grad()
        loss(model, step).backward()
        grads = function(model, grads=grads, **settings)
        optimizer.step()
    return model, grads


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_the_attached_transform_bit_for_bit(name):
    function, settings, transform = FUNCTIONS[name]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    attach(optimizer, transform())
    assert same(values(trained(function, settings)[0]), run(model, optimizer, STEPS))


def feed(function, settings, gradients):
    """What the function makes of a series of gradients of one weight."""
    model, grads, out = torch.nn.Linear(3, 2, bias=False).double(), None, []
    for g in gradients:
        model.weight.grad = torch.from_numpy(g.copy())
        grads = function(model, grads=grads, **settings)
        out.append(model.weight.grad.numpy().copy())
    return out


def windows(gradients, w, lamb, trigger):
    """The paper's rule, in numpy: the sum over the window, each step anew."""
    for t, g in enumerate(gradients):
        window = gradients[max(0, t + 1 - w) : t + 1]
        yield g if len(window) < w or trigger(t) else g + lamb * np.mean(window, 0)


GRADIENTS = list(np.random.default_rng(0).normal(size=(9, 2, 3)))


def test_the_default_settings_are_the_paper_s():
    slow, expected = None, []
    for g in GRADIENTS:
        slow = g if slow is None else 0.98 * slow + 0.02 * g
        expected.append(g + 2.0 * slow)
    np.testing.assert_allclose(feed(gradfilter_ema, {}, GRADIENTS), expected, rtol=1e-12)
    many = list(np.random.default_rng(1).normal(size=(130, 2, 3)))
    expected = list(windows(many, 100, 5.0, lambda t: False))
    np.testing.assert_allclose(feed(gradfilter_ma, {}, many), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("warmup", [True, False])
def test_a_trigger_adds_nothing_while_the_window_fills(warmup):
    model, grads = torch.nn.Linear(3, 2, bias=False).double(), None
    for t, g in enumerate(GRADIENTS):
        model.weight.grad = torch.from_numpy(g.copy())
        grads = gradfilter_ma(model, grads, window_size=3, lamb=2.0, warmup=warmup, trigger=t < 5)
        expected = g if t < 5 else g + 2.0 * np.mean(GRADIENTS[t - 2 : t + 1], 0)
        np.testing.assert_allclose(model.weight.grad.numpy(), expected, rtol=1e-12)


def test_settings_may_change_on_the_way():
    first, second = GRADIENTS[:2]
    model = torch.nn.Linear(3, 2, bias=False).double()
    model.weight.grad = torch.from_numpy(first.copy())
    grads = gradfilter_ema(model, None, 0.9, 1.0)
    model.weight.grad = torch.from_numpy(second.copy())
    gradfilter_ema(model, grads, 0.5, 4.0)
    np.testing.assert_allclose(model.weight.grad.numpy(), second + 4.0 * (first + second) / 2, rtol=1e-12)


def through_a_file(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kept", [through_a_file, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_resuming_is_bit_for_bit(name, kept):
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    resumed, _ = trained(function, settings, range(5, 8), kept(grads), model)
    assert same(values(resumed), values(trained(function, settings)[0]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_step_that_is_not_finite_leaves_no_trace(name, bad):
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    before = copy.deepcopy(grads)
    loss(model, 9).backward()
    model[2].bias.grad[0] = bad
    raw = [p.grad.clone() for p in model.parameters()]
    grads = function(model, grads=grads, **settings)
    assert str(grads) == str(before)
    for p, g in zip(model.parameters(), raw, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=0, atol=0, equal_nan=True)


def test_late_frozen_and_missing_gradients():
    model = network()
    model[0].requires_grad_(False)
    loss(model, 0).backward()
    grads = gradfilter_ema(model, None, 0.5, 1.0)
    assert set(grads) == {"2.weight", "2.bias"}
    model[0].requires_grad_(True)
    model.zero_grad()
    loss(model, 1).backward()
    raw = model[0].weight.grad.clone()
    model[2].bias.grad = None
    grads = gradfilter_ema(model, grads, 0.5, 1.0)
    torch.testing.assert_close(model[0].weight.grad, 2.0 * raw, rtol=0, atol=0)  # its first: g + 1·g
    assert {name: entry["step"] for name, entry in grads.items()} == {
        "0.weight": 1,
        "0.bias": 1,
        "2.weight": 2,
        "2.bias": 1,
    }


@pytest.mark.parametrize("call", [gradfilter_ema, gradfilter_ma])
def test_a_call_that_finds_no_gradient_says_so(call):
    """Before any backward pass, after zero_grad(), or with all parameters frozen."""
    message = f"{call.__name__}\\(\\) found no gradient, and did nothing; call it between backward\\(\\) and step"
    with pytest.warns(UserWarning, match=message) as caught:
        assert call(network()) == {}
    assert caught[0].filename == __file__
    model, grads = trained(call, {}, range(2))
    before = str(grads)
    model.zero_grad()
    with pytest.warns(UserWarning, match=message):
        assert call(model, grads) is grads
    loss(model, 2).backward()
    model.requires_grad_(False)
    raw = [p.grad.clone() for p in model.parameters()]
    with pytest.warns(UserWarning, match=message):
        call(model, grads)
    assert str(grads) == before
    assert same([p.grad for p in model.parameters()], raw)


@pytest.mark.parametrize(
    ("grads", "call"),
    [
        (lambda: trained(gradfilter_ema, {}, range(1))[1], gradfilter_ma),
        (lambda: trained(gradfilter_ma, {"window_size": 4}, range(1))[1], gradfilter_ma),
        (lambda: {name: torch.zeros_like(p) for name, p in network().named_parameters()}, gradfilter_ema),
    ],
)
def test_another_s_state_is_refused(grads, call):
    model = network()
    loss(model, 0).backward()
    with pytest.raises(InputError, match="grads is not what gradfilter_m?e?m?a.* returned with these settings"):
        call(model, grads())


class Wrapped(torch.nn.Module):
    """As DDP, ``torch.compile`` and the like wrap a model: its parameters' names get a part in front."""

    def __init__(self, model, part):
        super().__init__()
        self.add_module(part, model)
        self.inner = [model]

    def forward(self, x):
        return self.inner[0](x)


@pytest.mark.parametrize("part", ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrapped_model_s_filters_are_the_bare_one_s(name, part):
    function, settings, _ = FUNCTIONS[name]
    expected = values(trained(function, settings)[0])
    bare, grads = network(), None
    _, grads = trained(function, settings, range(5), model=Wrapped(bare, part))
    assert set(grads) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    older = {f"{part}.{key}": copy.deepcopy(entry) for key, entry in grads.items()}
    for saved in (grads, older):
        again = copy.deepcopy(bare)
        for model in (Wrapped(again, part), Wrapped(Wrapped(copy.deepcopy(bare), "module"), part)):
            trained(function, settings, range(5, 8), copy.deepcopy(saved), model)
            assert same(values(model), expected)
        resumed, _ = trained(function, settings, range(5, 8), copy.deepcopy(saved), copy.deepcopy(bare))
        assert same(values(resumed), expected)


def test_names_that_only_a_wrapper_tells_apart_stay():
    model = torch.nn.Module()
    model.w, model.module = torch.nn.Parameter(torch.zeros(1)), torch.nn.Module()
    model.module.w = torch.nn.Parameter(torch.zeros(1))
    grads = None
    for _ in range(2):
        model.w.grad, model.module.w.grad = torch.ones(1), torch.full((1,), 10.0)
        grads = gradfilter_ema(model, grads, 0.5, 1.0)
    assert grads.keys() == {"w", "module.w"}
    assert (model.w.grad.item(), model.module.w.grad.item()) == (2.0, 20.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_parameter_that_was_replaced_under_its_name_goes_on(name):
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    for module, key in ((model[0], "weight"), (model[2], "bias")):
        setattr(module, key, torch.nn.Parameter(getattr(module, key).detach().clone()))
    resumed, _ = trained(function, settings, range(5, 8), grads, model)
    assert same(values(resumed), values(trained(function, settings)[0]))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_parameter_that_was_cut_goes_on_if_its_entry_is_cut_alike_and_is_refused_else(name):
    function, settings, _ = FUNCTIONS[name]
    keep = torch.tensor([True, False, True, True])
    whole, rest = torch.nn.Linear(2, 4, bias=False), torch.nn.Linear(2, 3, bias=False)
    series, grads, of_rest = torch.randn(9, 4, 2, generator=stream(0, "g")), None, None
    for t, g in enumerate(series):
        rest.weight.grad = g[keep]
        of_rest = function(rest, of_rest, **settings)
        if t == 5:
            whole.weight = torch.nn.Parameter(whole.weight.detach()[keep])
            whole.weight.grad = g[keep]
            with pytest.raises(
                InputError, match=r"grads\['weight'\].* \(4, 2.*cut it as you cut the parameter, or del"
            ):
                function(whole, grads, **settings)
            grads["weight"] = {k: v if k == "step" else v[keep] for k, v in grads["weight"].items()}
        whole.weight.grad = g.clone() if t < 5 else g[keep]
        grads = function(whole, grads, **settings)
        if t >= 5:
            torch.testing.assert_close(whole.weight.grad, rest.weight.grad, rtol=1e-6, atol=1e-6)


def test_parameters_that_were_renamed_are_refused_not_forgotten():
    """As torch.nn.utils.prune renames ``weight`` to ``weight_orig``: silently, the filter would start afresh."""
    model, grads = trained(gradfilter_ema, {}, range(3))
    model.zero_grad()
    prune.l1_unstructured(model[0], "weight", 0.5)
    loss(model, 3).backward()
    raw = model[0].weight_orig.grad.clone()
    message = (
        "holds the filter of '0.weight', .* and none of '0.weight_orig'; give the entry its new name, or del grads"
    )
    with pytest.raises(InputError, match=message):
        gradfilter_ema(model, grads)
    assert torch.equal(model[0].weight_orig.grad, raw)
    grads["0.weight_orig"] = grads.pop("0.weight")
    gradfilter_ema(model, grads)
    assert grads["0.weight_orig"]["step"] == 4


def test_what_left_the_model_is_left_alone():
    model, grads = trained(gradfilter_ema, {}, range(3))
    del model[2]
    model(torch.ones(2, 3)).sum().backward()
    gradfilter_ema(model, grads)
    assert {name: entry["step"] for name, entry in grads.items()} == {
        "0.weight": 4,
        "0.bias": 4,
        "2.weight": 3,
        "2.bias": 3,
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_filter_follows_the_model_to_another_dtype(name):
    """Averages go on in double precision, from the values that there are."""
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    model.zero_grad()
    by_hand = {n: {k: v if k == "step" else v.double() for k, v in entry.items()} for n, entry in grads.items()}
    expected, _ = trained(function, settings, range(5, 8), by_hand, copy.deepcopy(model).double())
    resumed, grads = trained(function, settings, range(5, 8), grads, model.double())
    assert same(values(resumed), values(expected))
    for entry in grads.values():
        assert {tensor.dtype for key, tensor in entry.items() if key != "step"} == {torch.float64}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_and_to_another_device(name):
    function, settings, _ = FUNCTIONS[name]
    model, grads = torch.nn.Linear(3, 2, bias=False), None
    stayed, expected = torch.nn.Linear(3, 2, bias=False), None
    for t, g in enumerate(torch.randn(9, 2, 3, generator=stream(0, "g"))):
        if t == 5:
            model = model.cuda()
        model.weight.grad, stayed.weight.grad = g.to(model.weight.device, copy=True), g.clone()
        grads, expected = function(model, grads, **settings), function(stayed, expected, **settings)
        torch.testing.assert_close(model.weight.grad.cpu(), stayed.weight.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex_gradients_are_filtered_as_the_attached_transform_filters_them(name):
    function, settings, transform = FUNCTIONS[name]
    one, other, grads = torch.nn.ParameterDict(), torch.nn.ParameterDict(), None
    for model in (one, other):
        model["w"] = torch.nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    attach(optimizer, transform())
    for g in torch.randn(9, 3, dtype=torch.complex64, generator=stream(0, "g")):
        one["w"].grad, other["w"].grad = g.clone(), g.clone()
        grads = function(one, grads, **settings)
        optimizer.step()
        assert torch.equal(one["w"].grad, other["w"].grad)
    real = torch.nn.ParameterDict({"w": torch.nn.Parameter(torch.zeros(3))})
    real["w"].grad = torch.ones(3)
    with pytest.raises(InputError, match="grads is not what gradfilter_m?e?m?a.* returned with these settings"):
        function(real, grads, **settings)


def test_a_call_makes_no_window_anew(monkeypatch):
    """A window of 1,000 is a thousand times the model: to make one at each call would be most of the step."""
    model, grads = trained(gradfilter_ma, {"window_size": 1000}, range(1))
    loss(model, 1).backward()
    made, zeros = [], torch.Tensor.new_zeros

    def noting(tensor, *shape, **options):
        made.append(zeros(tensor, *shape, **options))
        return made[-1]

    monkeypatch.setattr(torch.Tensor, "new_zeros", noting)
    gradfilter_ma(model, grads, window_size=1000)
    assert {tensor.device.type for tensor in made} == {"meta"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_copies_of_grads_go_their_own_ways(name):
    function, settings, _ = FUNCTIONS[name]
    model, grads = trained(function, settings, range(5))
    copied, before = copy.deepcopy(grads), str(grads)
    trained(function, settings, range(5, 8), copied, copy.deepcopy(model))
    assert str(grads) == before != str(copied)


def test_refusals():
    model = network()
    loss(model, 0).backward()
    with pytest.raises(InputError, match="alpha=1.0 is not possible"):
        gradfilter_ema(model, alpha=1.0)
    with pytest.raises(InputError, match="needs the model, a torch.nn.Module, got SGD"):
        gradfilter_ema(torch.optim.SGD(model.parameters(), lr=0.1))
    model[0].weight.grad = model[0].weight.grad.to_sparse()
    with pytest.raises(InputError, match=r"gradient of 0.weight is torch.sparse_coo; make it dense"):
        gradfilter_ma(model)
