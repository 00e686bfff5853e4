"""The fast products are torch's own to rounding: values, gradients, gradients of gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F

from grokkit.models import FNN, Decoder, matmul
from grokkit.models.matmul import Linear, linear, precision, torch_kernels

SHAPES = [((700, 40), 50), ((90, 4, 128), 96), ((640, 513), 30), ((3000, 16), 113), ((200, 113), 128)]


@pytest.fixture
def onednn(monkeypatch):
    """oneDNN's kernels whatever the processor."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(matmul, "_onednn_is_faster", lambda: True)


def factors(shape, out, bias=True, requires_grad=True):
    generator = torch.Generator().manual_seed(0)
    sizes = [shape, (out, shape[-1]), (out,)]
    tensors = [torch.randn(size, generator=generator, requires_grad=requires_grad) for size in sizes]
    return tensors if bias else [*tensors[:2], None]


def close(ours, theirs, name=None):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.detach().abs().max()), msg=name)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "out"), SHAPES)
def test_equals_torch(onednn, shape, out, bias):
    ours, theirs = factors(shape, out, bias), factors(shape, out, bias)
    y, expected = linear(*ours), F.linear(*theirs)
    assert type(y.grad_fn).__name__ == "_LinearBackward", "the fast kernel was meant"
    close(y, expected)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(g)
    expected.backward(g)
    for a, b in zip(ours[: 2 + bias], theirs, strict=False):
        close(a.grad, b.grad)


def test_matrices_that_are_not_dense_in_memory(onednn):
    x, wide = torch.randn(300, 64), torch.randn(100, 256)
    for weight in (wide[:, 64:128], wide[::2, :64], torch.randn(64, 100).T, torch.randn(64, 300)[:, ::3].T):
        close(linear(x, weight), F.linear(x, weight))
        close(linear(x.T.contiguous().T, weight), F.linear(x, weight))


def test_gradients_can_be_differentiated(onednn):
    def second(function):
        x, weight, bias = factors((300, 64), 64)
        (g,) = torch.autograd.grad(function(x, weight, bias).tanh().sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), (x, weight, bias))

    for ours, theirs in zip(second(linear), second(F.linear), strict=True):
        close(ours, theirs)


def test_only_asked_for_gradients_are_computed(onednn):
    x, weight, bias = factors((300, 64), 64)
    y = linear(x.detach(), weight, bias.detach())
    y.sum().backward()
    assert weight.grad is not None
    assert (x.grad, bias.grad) == (None, None)


def test_leaves_everything_else_to_torch(onednn):
    x, weight, bias = factors((300, 64), 64, requires_grad=False)
    weight.requires_grad_()
    with torch_kernels():
        assert type(linear(x, weight).grad_fn).__name__ != "_LinearBackward"
    assert type(linear(x[:2], weight).grad_fn).__name__ != "_LinearBackward", "too small to pay"
    assert linear(x.double(), weight.double(), bias.double()).dtype is torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype is torch.bfloat16
    batched = torch.func.vmap(linear, in_dims=(None, 0, None))(x, torch.stack([weight, 2 * weight]), bias)
    close(batched[1].detach(), F.linear(x, 2 * weight, bias).detach())
    (g,) = torch.func.grad(lambda w: linear(x, w, bias).square().sum(), argnums=(0,))(weight.detach())
    (expected,) = torch.autograd.grad(F.linear(x, weight, bias).square().sum(), weight)
    close(g, expected)


def test_the_layer_is_torch_s_with_its_parameters_and_initial_values():
    torch.manual_seed(3)
    ours = Linear(40, 20)
    torch.manual_seed(3)
    theirs = torch.nn.Linear(40, 20)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(ours.weight, theirs.weight)
    assert isinstance(copy.deepcopy(ours), torch.nn.Linear)


@pytest.mark.parametrize("which", ["decoder", "decoder dense", "fnn"])
def test_bf16_is_near_and_keeps_float32_where_it_matters(which):
    torch.manual_seed(0)
    if which == "fnn":
        model = FNN(vocabulary=11, tokens=2, classes=11, depth=3, dim=32, width=64)
        tokens = torch.cartesian_prod(torch.arange(11), torch.arange(11))
    else:
        model = Decoder(vocabulary=13, positions=5, width=32)
        model.share_prefixes = which == "decoder"
        a, b = torch.cartesian_prod(torch.arange(11), torch.arange(11)).T
        tokens = torch.stack([a, torch.full_like(a, 11), b, torch.full_like(a, 12)], 1)
    targets = torch.arange(121) % 11

    def run(of_products):
        model.zero_grad()
        with precision(of_products):
            logits = model(tokens)
            F.cross_entropy(logits, targets).backward()
        return logits.detach(), {name: p.grad for name, p in model.named_parameters()}

    exact, exact_grads = run("float32")
    rounded, rounded_grads = run("bf16")
    assert rounded.dtype is torch.float32
    error = float((rounded - exact).norm() / exact.norm())
    assert 1e-5 < error < 0.02, "8 bits: a relative error of about 2^-9 a product, and not none"
    for name, grad in rounded_grads.items():
        assert grad.dtype is torch.float32
        if exact_grads[name].norm() > 1e-4:
            assert float((grad - exact_grads[name]).norm() / exact_grads[name].norm()) < 0.05, name
    assert torch.equal(run("float32")[0], exact), "and off again"
