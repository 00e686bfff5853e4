"""Complex gradients: each transform is right, against numpy's complex128, or refuses them and says what to do."""

import numpy as np
import pytest
import torch
from reference.filters import REFERENCES
from torch import nn

from grokkit import (
    InputError,
    NeuralGrok,
    attach,
    chain,
    clip_norm,
    grad_norm,
    grokfast_ema,
    grokfast_ma,
    masked,
    neuralgrok,
    row_clip,
)
from grokkit.methods.cautious_decay import cautious_decay
from grokkit.methods.ema_nesterov import ema_nesterov
from grokkit.methods.norm_clamp import norm_clamp
from grokkit.rng import stream
from grokkit.state import counters_to_ints, leaves
from grokkit.transform import in_place

SHAPES = {"matrix": (3, 2), "scalar": ()}
RIGHT = {
    "ema": (lambda: grokfast_ema(0.9, 2.0), "grokfast-ema", {"alpha": 0.9, "lamb": 2.0}),
    "ema, late": (
        lambda: grokfast_ema(0.9, 2.0, 3),
        "grokfast-ema",
        {"alpha": 0.9, "lamb": 2.0, "start_step": 3},
    ),
    "ma": (lambda: grokfast_ma(4, 2.0), "grokfast-ma", {"window_size": 4, "lamb": 2.0}),
    "ma, sum": (
        lambda: grokfast_ma(3, 0.5, "sum", warmup=False),
        "grokfast-ma",
        {"window_size": 3, "lamb": 0.5, "filter_type": "sum", "warmup": False},
    ),
    "ma of one": (lambda: grokfast_ma(1, 2.0), "grokfast-ma", {"window_size": 1, "lamb": 2.0}),
    "grad norm": (lambda: grad_norm(0.5), "grad-norm", {"c": 0.5}),
    "clip norm": (lambda: clip_norm(0.5), "clip-only", {"max_norm": 0.5}),
}


def gradients(dtype):
    """Real and imaginary parts of different size, so that neither can stand in for the other."""
    generator = stream(0, "complex")

    def draw(shape):
        real, imaginary = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        return torch.complex(real, 3.0 * imaginary).to(dtype)

    return [{name: draw(shape) for name, shape in SHAPES.items()} for _ in range(12)]


def pure(transform, steps):
    state, results = transform.init(steps[0]), []
    for grads in steps:
        out, state = transform.update(grads, state, grads)
        results.append(out)
    return results, state


def in_place_(transform, steps):
    state, results = counters_to_ints(transform.init(steps[0])), []
    for grads in steps:
        out = {name: g.clone() for name, g in grads.items()}
        state = in_place(transform)(out, state, grads)
        results.append(out)
    return results, state


def attached(transform, steps):
    params = {name: nn.Parameter(torch.zeros_like(g)) for name, g in steps[0].items()}
    optimizer = torch.optim.SGD(list(params.items()), lr=0.1)
    handle = attach(optimizer, transform)
    results = []
    for grads in steps:
        for name, p in params.items():
            p.grad = grads[name].clone()
        optimizer.step()
        results.append({name: p.grad for name, p in params.items()})
    return results, handle.state


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("face", [pure, in_place_, attached])
@pytest.mark.parametrize("name", RIGHT)
def test_values_and_state_are_numpy_s(name, face, dtype):
    make, reference, settings = RIGHT[name]
    steps = gradients(dtype)
    given = [{n: g.numpy().astype(np.complex128) for n, g in grads.items()} for grads in steps]
    expected, expected_state = REFERENCES[reference](given, **settings)
    results, state = face(make(), steps)
    tolerance = 1e-5 if dtype is torch.complex64 else 1e-13  # some twenty roundings of numbers up to about ten
    for ours, theirs in zip(results, expected, strict=True):
        for parameter, value in theirs.items():
            assert ours[parameter].dtype is dtype
            np.testing.assert_allclose(ours[parameter].numpy(), value, rtol=tolerance, atol=tolerance)
    for path, parameter, leaf in leaves(state):
        np.testing.assert_allclose(np.asarray(leaf), expected_state[path][parameter], rtol=tolerance, atol=tolerance)
    assert max(abs(value.imag).max() for theirs in expected for value in theirs.values()) > 0.1


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("face", [pure, in_place_])
@pytest.mark.parametrize("name", RIGHT)
def test_in_half_precision_too(name, face):
    make, steps = RIGHT[name][0], gradients(torch.complex32)
    wide, _ = face(make(), [{n: g.to(torch.complex64) for n, g in grads.items()} for grads in steps])
    for ours, theirs in zip(face(make(), steps)[0], wide, strict=True):
        for parameter, value in theirs.items():
            assert ours[parameter].dtype is torch.complex32
            torch.testing.assert_close(ours[parameter].to(torch.complex64), value, rtol=4e-3, atol=4e-3)


@pytest.mark.parametrize("name", RIGHT)
def test_a_gradient_that_is_a_conjugate_view_is_filtered_as_what_it_stands_for(name):
    """Autograd may leave one: the memory holds the conjugate."""
    make, steps = RIGHT[name][0], gradients(torch.complex64)
    views = [{n: g.conj().resolve_conj().conj() for n, g in grads.items()} for grads in steps]
    assert views[0]["matrix"].is_conj()
    expected, _ = pure(make(), steps)
    params = {n: nn.Parameter(torch.zeros_like(g)) for n, g in steps[0].items()}
    optimizer = torch.optim.SGD(list(params.items()), lr=0.1)
    attach(optimizer, make())
    for grads, theirs, plain in zip(views, pure(make(), views)[0], expected, strict=True):
        for parameter, p in params.items():
            p.grad = grads[parameter]
        optimizer.step()
        for parameter, value in plain.items():
            torch.testing.assert_close(theirs[parameter], value, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(params[parameter].grad, value, rtol=1e-5, atol=1e-5)


def test_vmapped_over_members_with_settings_of_their_own():
    steps = [{"p": torch.stack([g["matrix"], 2j * g["matrix"]])} for g in gradients(torch.complex128)]
    for make in (lambda v: grokfast_ema(v, v), lambda v: grokfast_ma(3, v), grad_norm, clip_norm):
        values = torch.tensor([0.5, 0.75], dtype=torch.float64)
        state = torch.vmap(lambda v, p, make=make: make(v).init(p))(values, steps[0])
        alone = [pure(make(v.item()), [{"p": g["p"][i]} for g in steps])[0] for i, v in enumerate(values)]
        for step, grads in enumerate(steps):
            out, state = torch.vmap(lambda v, g, s, make=make: make(v).update(g, s, g))(values, grads, state)
            expected = torch.stack([own[step]["p"] for own in alone])
            torch.testing.assert_close(out["p"], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_real_window_is_refused(dtype):
    transform = grokfast_ma(3, 1.0, window_dtype=dtype)
    message = rf"window_dtype={dtype} has no room for an imaginary part, and matrix is torch.complex64; leave it out"
    for face in (pure, in_place_, attached):
        with pytest.raises(InputError, match=message):
            face(transform, gradients(torch.complex64))


def test_beside_complex_parameters_real_ones_may_have_a_narrow_window():
    narrow = masked(grokfast_ma(3, window_dtype=torch.bfloat16), lambda _name, p: not p.is_complex())
    transform = chain(narrow, masked(grokfast_ma(3), lambda _name, p: p.is_complex()))
    steps = [{"c": g["matrix"], "r": g["matrix"].real.float()} for g in gradients(torch.complex64)]
    results, state = attached(transform, steps)
    alone, _ = pure(grokfast_ma(3), [{"c": grads["c"]} for grads in steps])
    torch.testing.assert_close(results[-1]["c"], alone[-1]["c"])
    assert state[0].window["r"].dtype is torch.bfloat16


def test_neuralgrok_refuses_what_its_amplifier_has_no_value_for():
    message = (
        "matrix is torch.complex64, and NeuralGrok's amplifier is a function of one real number; make it real, seen "
        r"through torch.view_as_complex, or leave it out: masked\(neuralgrok\(\), lambda name, p: not p.is_complex"
    )
    for face in (pure, in_place_, attached):
        with pytest.raises(InputError, match=message):
            face(neuralgrok(), gradients(torch.complex64))
    steps = [{**grads, "real": grads["matrix"].real.clone()} for grads in gradients(torch.complex64)]
    results, _ = attached(masked(neuralgrok(), lambda _name, p: not p.is_complex()), steps)
    assert torch.equal(results[0]["matrix"], steps[0]["matrix"])
    assert float(results[0]["real"].norm()) == pytest.approx(1.0, rel=1e-6)


def test_so_do_its_outer_steps():
    model = nn.ParameterDict({"w": nn.Parameter(torch.ones(2, dtype=torch.complex64))})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ng = NeuralGrok(model, optimizer, every=1)
    loss = lambda: model["w"].abs().square().sum()  # noqa: E731
    loss().backward()
    with pytest.raises(InputError, match="NeuralGrok's amplifier is a function of one real number"):
        ng.outer_step(outer_loss=loss)


def as_real(tensors):
    return {name: torch.view_as_real(tensor) for name, tensor in tensors.items()}


def test_cautious_decay_is_that_of_real_and_imaginary_parts_side_by_side():
    w, moved = ({"w": torch.randn(3, 2, dtype=torch.complex128, generator=stream(k, "complex"))} for k in range(2))
    decay = cautious_decay(rate=0.1)
    decayed = decay.update(moved, decay.init(w))[0]
    expected = decay.update(as_real(moved), decay.init(as_real(w)))[0]
    assert not torch.equal(expected["w"], torch.view_as_real(moved["w"]))
    assert torch.equal(torch.view_as_real(decayed["w"]), expected["w"])


@pytest.mark.parametrize("make", [cautious_decay, ema_nesterov, norm_clamp, row_clip])
def test_weight_transforms_take_complex_weights(make):
    z = nn.Parameter(torch.ones(3, 2, dtype=torch.complex64))
    optimizer = torch.optim.SGD([z], lr=0.1)
    attach(optimizer, make())
    for _ in range(2):
        z.grad = torch.full_like(z, 1 + 2j)
        optimizer.step()
    assert z.isfinite().all()
    assert not torch.equal(z.real, z.imag)
