"""The reweighting by softmax: numpy's results, closed forms, and magnitudes at which a careless softmax fails."""

import math

import numpy as np
import pytest
import torch
from amplifiers import amplifier, numpy_of, of, recorded, tensors
from cards import CARDS
from faces import FACES, in_place, pure
from grids import pairwise
from reference.amplifier import transform as reference
from reference.filters import neuralgrok as reference_steps
from torch import nn

from grokkit import InputError, attach, chain, clip_norm, grad_norm, grokfast_ema, masked, neuralgrok
from grokkit.methods.neuralgrok.amplifier import map_amplifier
from grokkit.methods.neuralgrok.transform import divergence_from_uniform
from grokkit.rng import stream

CURVE = of([[[1.0], [-1.0]], [[3.0, -2.0]]], [[-0.5, 0.25], [0.75]])  # 3·relu(x − 1/2) − 2·relu(1/4 − x) + 3/4


BOTH = pytest.mark.parametrize("face", [pure, in_place])


def normal(shapes, scale=1.0, dtype=torch.float32, seed=0):
    return {
        name: (scale * torch.randn(shape, generator=stream(seed, name), dtype=torch.float64)).to(dtype)
        for name, shape in shapes.items()
    }


SHAPES = {"w": (20, 7), "kernel": (2, 3, 4), "b": (7,), "scalar": ()}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def length(grads):
    return float(torch.cat([g.flatten().double() for g in grads.values()]).norm())


def assert_close(ours, theirs, dtype):
    for name, expected in theirs.items():
        assert ours[name].dtype is dtype
        allowed = TOLERANCE[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(ours[name].double().numpy(), expected, rtol=0, atol=allowed, err_msg=name)


@FACES
@pytest.mark.parametrize("case", ["h64_l3", "h128_l3_small", "h64_l2", "h32_l4_wide"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_recorded(golden, face, case, dtype):
    """The recorded gradients are float32 already."""
    arrays = golden("neuralgrok_amplifier")
    transform = neuralgrok(clip=None, amplifier=recorded(arrays, case))
    ours = face(transform, {"w": torch.from_numpy(arrays[f"{case}.gradient"]).to(dtype)})
    assert_close(ours, {"w": arrays[f"{case}.transformed"]}, dtype)


@FACES
@pytest.mark.parametrize(
    ("dtype", "scale", "hidden"), pairwise(TOLERANCE, [1e-4, 1.0, 30.0], [(8,), (40,), (16, 16), (4, 3, 2)])
)
def test_agrees_with_numpy(face, dtype, scale, hidden):
    """Amplifiers steep enough to reweigh each of the ranges; half precision is rounded once, at the end."""
    f = amplifier(*hidden, steep=2.0)
    f = f._replace(weights=(f.weights[0] / scale, *f.weights[1:]))
    grads = normal(SHAPES, scale, dtype)
    steps = [{name: g.double().numpy() for name, g in grads.items()}]
    for c, clip in ((1.0, None), (0.3, 0.5)):
        ((expected,), _) = reference_steps(steps, c=c, clip=clip, amplifier=numpy_of(f))
        assert np.abs(expected["w"] / steps[0]["w"]).max() > 2 * np.abs(expected["w"] / steps[0]["w"]).min()
        assert_close(face(neuralgrok(c=c, clip=clip, amplifier=f), grads), expected, dtype)


@FACES
def test_by_hand(face):
    """f(0.25) = 0.75, f(1) = 2.25, f(−1) = −1.75: from −1 to 1/4 the weight grows by e^2.5, to 1 by e^1.5 more."""
    ours = face(neuralgrok(c=2.0, clip=None, amplifier=CURVE), {"w": torch.tensor([0.25, 1.0, -1.0])})["w"]
    weighted = torch.tensor([0.25 * math.exp(-1.5), 1.0, -math.exp(-4.0)])
    torch.testing.assert_close(ours, 2.0 * weighted / weighted.norm(), rtol=1e-6, atol=0)


@FACES
@pytest.mark.parametrize(
    ("c", "clip", "expected"), [(1.0, None, 1.0), (1.0, 1.0, 0.5), (0.5, 1.0, 0.5), (0.4, 1.0, 0.4), (3.0, 0.3, 0.15)]
)
def test_each_of_four_tensors_gets_its_norm(face, c, clip, expected):
    ours = face(neuralgrok((8,), c, clip), normal(SHAPES, dtype=torch.float64))
    assert [float(g.norm()) for g in ours.values()] == pytest.approx([expected] * 4, rel=1e-12)


@FACES
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_zero_stays_zero_and_takes_no_share_of_the_clip(face, dtype):
    grads = {"zero": torch.zeros(3, 2), "w": torch.tensor([0.5, -1.0]), "empty": torch.ones(0, 4)}
    ours = face(neuralgrok((8,)), {name: g.to(dtype) for name, g in grads.items()})
    assert not ours["zero"].any()
    assert ours["zero"].shape == (3, 2)
    assert ours["empty"].shape == (0, 4)
    assert length(ours) == pytest.approx(1.0, rel=2 * TOLERANCE[dtype])
    nothing = face(neuralgrok((8,)), {"zero": torch.zeros(3, dtype=dtype)})
    assert not nothing["zero"].any()


@FACES
@pytest.mark.parametrize("value", [1.0, -3.0, 1e-30, -1e30, 1e-44, -3e38])
def test_one_entry_gets_norm_c(face, value):
    """However large or small: of the last two, one is below float32's normal range and one at its end."""
    for shape in ((), (1,), (1, 1)):
        ours = face(neuralgrok((8,), c=0.25, clip=None), {"w": torch.full(shape, value)})["w"]
        assert ours.shape == shape
        assert ours.item() == pytest.approx(math.copysign(0.25, value), rel=1e-6)


@FACES
@pytest.mark.parametrize("scale", [1e-44, 1e-41, 1e-36, 1e-30, 1e-20, 1e20, 1e30, 1e38])
def test_huge_and_tiny_gradients_beside_ordinary_ones(face, scale):
    """The tiny ones are all alike to f, so only their directions count; of the huge ones the largest takes all."""
    grads = {"odd": torch.tensor([3.0, -2.0, 0.0]) * scale, "w": torch.tensor([0.3, 0.4])}
    ours = face(neuralgrok(clip=None, amplifier=CURVE), grads)
    expected = [1.0, 0.0, 0.0] if scale > 1 else (grads["odd"].double() / grads["odd"].double().norm()).tolist()
    assert ours["odd"].tolist() == pytest.approx(expected, abs=1e-6)
    weighted = torch.tensor([0.3, 0.4])
    assert ours["w"].tolist() == pytest.approx((weighted / weighted.norm()).tolist(), rel=2e-5)


def assert_passes(face, transform, grads):
    """Unchanged, in a step in which another parameter has no gradient."""
    params = {"w": torch.ones(1, 2), **grads}
    state, out = transform.init(params), {name: g.clone() for name, g in grads.items()}
    if face is pure:
        out, _ = transform.update(out, state, params)
    else:
        transform.update_(out, state, params)
    assert out.keys() == grads.keys()
    assert all(torch.equal(out[name], g) for name, g in grads.items())


@BOTH
@pytest.mark.parametrize("grads", [{}, {"a": torch.ones(0), "b": torch.ones(3, 0)}], ids=["none", "empty"])
def test_nothing_to_do(face, grads):
    assert_passes(face, neuralgrok((8,)), grads)


@pytest.mark.filterwarnings("ignore:masked.. lets none of the optimizer")
@FACES
def test_what_is_masked_counts_for_nothing(face):
    grads = {"w": torch.tensor([[3.0, 4.0]]), "b": torch.tensor([100.0])}
    ours = face(masked(neuralgrok((8,)), lambda _name, p: p.ndim == 2), grads)
    alone = face(neuralgrok((8,)), {"w": grads["w"]})
    torch.testing.assert_close(ours["w"], alone["w"], rtol=1e-6, atol=0)
    assert ours["b"].item() == 100.0
    nothing = face(masked(neuralgrok((8,)), lambda _name, _p: False), grads)
    assert all(torch.equal(nothing[name], g) for name, g in grads.items())


@BOTH
def test_a_step_in_which_all_gradients_are_masked(face):
    """The mask lets a parameter through that has no gradient in this step."""
    assert_passes(face, masked(neuralgrok((8,)), lambda _name, p: p.ndim == 2), {"b": torch.tensor([100.0])})


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [(3,), (16, 16)])
def test_adding_a_constant_to_f_changes_nothing(face, dtype, hidden):
    """f is of order 1000 then, of which float64 resolves 1e-13, and float32 only 6e-5: that would show."""
    grads = normal(SHAPES, dtype=dtype)
    f = amplifier(*hidden, steep=2.0)
    shifted = f._replace(biases=(*f.biases[:-1], f.biases[-1] + 1000.0))
    one, other = (face(neuralgrok(amplifier=each), grads) for each in (f, shifted))
    for name, g in one.items():
        torch.testing.assert_close(other[name], g, rtol=1e-11 if dtype is torch.float64 else 4e-6, atol=0)


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("c", "clip"), [(1.0, 1.0), (0.3, 5.0), (2.0, 0.1)])
def test_an_amplifier_without_weights_rescales_and_clips(face, dtype, c, clip):
    grads = normal(SHAPES, 1e-3, dtype)
    flat = map_amplifier(torch.zeros_like, amplifier(16, 16))
    flat.biases[-1].fill_(3.0)
    ours = face(neuralgrok(c=c, clip=clip, amplifier=flat), grads)
    expected = face(chain(grad_norm(c), clip_norm(clip)), grads)
    for name, g in expected.items():
        torch.testing.assert_close(ours[name], g, rtol=6 * torch.finfo(dtype).eps, atol=0)


@FACES
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_so_steep_that_most_weights_underflow(face, dtype):
    """f = 1000·x over −3 to 3: the range of f is 6000, of which exp can hold 100 in float32."""
    steep = of([[[1.0], [-1.0]], [[1000.0, -1000.0]]], [[0.0, 0.0], [0.0]])
    grads = {name: g.clamp(-3.0, 3.0) for name, g in normal({"w": (500,), "v": (40,)}, dtype=dtype).items()}
    ours = face(neuralgrok(clip=None, amplifier=steep), grads)
    for name, g in grads.items():
        assert float(ours[name].double().norm()) == pytest.approx(1.0, rel=2 * TOLERANCE[dtype])
        assert (ours[name] == 0).sum() > 0.8 * g.numel()
        expected = reference(*numpy_of(steep), g.double().numpy())
        np.testing.assert_allclose(ours[name].double(), expected, rtol=0, atol=1e-3 if dtype is torch.float32 else 1e-2)


@FACES
def test_zeros_where_the_amplifier_peaks_do_not_wipe_out_the_rest(face):
    """f = −1000·|x|: at 0 a weight of 1, at ±1/2 of e^−500, below what float32 holds."""
    peak = of([[[1.0], [-1.0]], [[-1000.0, -1000.0]]], [[0.0, 0.0], [0.0]])
    ours = face(neuralgrok(clip=None, amplifier=peak), {"w": torch.tensor([0.0, 0.5, -0.5, 0.0, 1.0])})["w"]
    expected = torch.tensor([0.0, 0.5, -0.5, 0.0, 0.0]) * 2**0.5
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=0)  # float32 resolves 500 to 3e-5


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_million_equal_entries_share_alike(face, dtype):
    ours = face(neuralgrok((16, 16), clip=None), {"w": torch.full((1000, 1000), -0.25, dtype=dtype)})["w"]
    assert ours.unique().tolist() == pytest.approx([-1e-3], rel=1e-6)


@FACES
@pytest.mark.parametrize("one", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_of_different_precision(face, one, dtype):
    """Each in its own; and what is not finite is found among them."""
    grads = normal({"a": (3, 4)}, dtype=torch.float64) | normal({"b": (5,)}, dtype=dtype) | normal({"c": (2,)})
    expected = {name: reference(*numpy_of(CURVE), g.double().numpy()) for name, g in grads.items()}
    ours = face(neuralgrok(clip=None, amplifier=CURVE), grads)
    for name, g in grads.items():
        coarse = max(TOLERANCE[g.dtype], TOLERANCE[torch.float32])
        assert ours[name].dtype is g.dtype
        np.testing.assert_allclose(ours[name].double(), expected[name], rtol=0, atol=coarse)
    grads["b"][3] = one
    if face is not pure:  # that may not look at values
        with pytest.raises(InputError, match="has 1 entries that are not finite, of 5"):
            face(neuralgrok(amplifier=CURVE), grads)


@FACES
def test_a_float64_gradient_that_float32_cannot_hold(face):
    """Beside one in float32."""
    ours = face(
        neuralgrok(clip=None, amplifier=CURVE),
        {"a": torch.tensor([1e60, -1e50], dtype=torch.float64), "b": torch.ones(4)},
    )
    assert ours["a"].tolist() == [1.0, 0.0]
    assert ours["b"].tolist() == pytest.approx([0.5] * 4, rel=1e-6)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_gradient_that_is_not_finite_is_refused_and_nothing_has_changed(bad):
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.1)
    handle = attach(optimizer, neuralgrok((8,)))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    model.bias.grad = torch.tensor([1.0, bad, bad])
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    before = handle.state
    saved = {key: value.clone() for key, value in optimizer.state[model.weight].items()}
    message = (
        "the gradient of bias has 2 entries that are not finite, of 3; NeuralGrok needs finite gradients: skip such"
    )
    with pytest.raises(InputError, match=message):
        optimizer.step()
    for name, p in model.named_parameters():
        assert torch.equal(p, weights[name])
        torch.testing.assert_close(p.grad, grads[name], rtol=0, atol=0, equal_nan=True)
    assert all(torch.equal(optimizer.state[model.weight][key], value) for key, value in saved.items())
    assert handle.state.step == before.step == optimizer.state["grokkit"]["grokkit/step"] == 1
    assert all(
        torch.equal(a, b) for a, b in zip(tensors(handle.state.amplifier), tensors(before.amplifier), strict=True)
    )
    model.bias.grad = torch.ones(3)
    optimizer.step()
    assert handle.state.step == 2
    assert not torch.equal(model.bias, weights["bias"])


def second(name, p):
    return name == "group 0 parameter 1"


CHAINS = {
    "chain": lambda: chain(grokfast_ema(), neuralgrok()),
    "chain in a chain": lambda: chain(grokfast_ema(), chain(grad_norm(), neuralgrok())),
    "mask": lambda: chain(grokfast_ema(), masked(neuralgrok(), second)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_step_that_is_refused_leaves_the_other_parts_of_a_chain_as_they_were(name):
    ends = []
    for values in [(1.0, torch.nan, 2.0), (1.0, 2.0)]:
        params = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
        optimizer = torch.optim.SGD(params, lr=0.1)
        attach(optimizer, CHAINS[name]())
        for value in values:
            for p in params:
                p.grad = torch.full((3,), value)
            if value == value:
                optimizer.step()
                continue
            with pytest.raises(InputError, match="NeuralGrok needs finite gradients: skip such a step"):
                optimizer.step()
        ends.append([*params, *(p.grad for p in params)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_c_and_clip_may_be_tensors_each_member_its_own(dtype):
    cs, clips = [0.25, 1.0, 2.0], [0.3, 10.0, 1.0]
    grads = normal({"w": (3, 4, 5), "scalar": (3,)}, dtype=dtype)

    def member(c, clip, g):
        return pure(neuralgrok(c=c, clip=clip, amplifier=CURVE), g)

    settings = [torch.tensor(values, dtype=torch.float64) for values in (cs, clips)]
    out = torch.vmap(member)(*settings, grads)
    only_c = torch.vmap(lambda c, g: member(c, None, g))(settings[0], grads)
    for i, (c, clip) in enumerate(zip(cs, clips, strict=True)):
        own = {name: g[i] for name, g in grads.items()}
        for found, expected in ((out, member(c, clip, own)), (only_c, member(c, None, own))):
            for name in grads:
                assert found[name].dtype is dtype
                torch.testing.assert_close(found[name][i], expected[name], rtol=2 * TOLERANCE[dtype], atol=0)
        norm = length({name: g[i] for name, g in out.items()})
        assert norm == pytest.approx(min(clip, c * 2**0.5), rel=4 * TOLERANCE[dtype])


def test_each_member_may_have_an_amplifier_and_an_all_zero_gradient_of_its_own():
    """What one member meets, an all-zero tensor or huge values, leaves the others alone."""
    amplifiers = [amplifier(5, 4, seed=seed) for seed in range(3)]
    transform = neuralgrok((5, 4))
    grads = normal({"w": (3, 4, 5), "b": (3, 2)})
    grads["w"][1], grads["b"][2] = 0.0, 1e30
    states = [
        transform.init({name: g[i] for name, g in grads.items()})._replace(amplifier=f)
        for i, f in enumerate(amplifiers)
    ]
    stacked = torch.utils._pytree.tree_map(lambda *leaves: torch.stack(leaves), *states)
    out, after = torch.vmap(transform.update)(grads, stacked, grads)
    assert after.step.tolist() == [1, 1, 1]
    for i, state in enumerate(states):
        own = {name: g[i] for name, g in grads.items()}
        expected, _ = transform.update(own, state, own)
        for name in grads:
            torch.testing.assert_close(out[name][i], expected[name], rtol=1e-6, atol=0)


def test_the_amplifier_is_copied_at_the_start():
    f = amplifier(4)
    transform = neuralgrok(amplifier=f)
    params = {"w": torch.ones(2)}
    state = transform.init(params)
    state.amplifier.weights[0].zero_()
    assert f.weights[0].any()
    assert transform.init(params).amplifier.weights[0].any()
    assert not any(t.any() for t in [*tensors(state.mean), *tensors(state.square)])


def test_the_amplifier_is_float64_whatever_the_parameters_are():
    for dtype in TOLERANCE:
        state = neuralgrok((4,)).init({"w": torch.ones(2, dtype=dtype)})
        kinds = (state.amplifier, state.mean, state.square)
        assert {t.dtype for kind in kinds for t in tensors(kind)} == {torch.float64}


def test_an_amplifier_may_be_given_as_a_file(tmp_path):
    f = amplifier(4, 3)
    f.save(tmp_path / "amplifier.npz")
    grads = normal(SHAPES)
    from_file = pure(neuralgrok(amplifier=str(tmp_path / "amplifier.npz")), grads)
    given = pure(neuralgrok(hidden=(7,), amplifier=f), grads)
    assert all(torch.equal(from_file[name], given[name]) for name in grads)


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_bad_c(value):
    with pytest.raises(InputError, match=f"c={value!r} is not possible: a finite number > 0; the default is 1.0"):
        neuralgrok(c=value)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_bad_clip(value):
    message = f"clip={value!r} is not possible: a finite number > 0, or None; the default is 1.0"
    with pytest.raises(InputError, match=message):
        neuralgrok(clip=value)


def test_divergence_from_uniform_by_hand():
    """f(−1) = −1.75 and f(1) = 2.25; zeros count, for p is over all entries."""
    e = np.exp([-1.75, 2.25, 0.25, 0.25])
    p = e / e.sum()
    grads = {"w": torch.tensor([-1.0, 1.0, 0.0, 0.0]), "b": torch.tensor([0.3, 0.5, 0.25]), "one": torch.tensor(7.0)}
    found = divergence_from_uniform(CURVE, grads)
    assert list(found) == ["w", "b", "one"]
    assert found["w"].item() == pytest.approx((p * np.log(4 * p)).sum(), rel=1e-12)
    assert found["b"].item() == pytest.approx(0.0, abs=1e-15)
    assert found["one"].item() == 0.0


def test_divergence_of_tiny_differences():
    """KL of e^x around 0 is half the variance of x; at 1e-4 that is 1e-8, of which float64 leaves eight digits."""
    grads = normal({"w": (5000,)}, 1e-4, torch.float64)
    linear = of([[[1.0]], [[1.0]]], [[5.0], [0.0]])
    found = divergence_from_uniform(linear, grads)["w"].item()
    assert found == pytest.approx(float(grads["w"].var(correction=0)) / 2, rel=1e-3)


@pytest.mark.parametrize("name", ["neuralgrok", "neuralgrok-random"])
def test_what_the_cards_show(name):
    grads = normal({"w": (4, 5), "b": (3,)}) | {"empty": torch.ones(0), "zero": torch.zeros(2)}
    state = neuralgrok(amplifier=CURVE).init(grads)
    tables = CARDS[name].probe(state, grads)
    assert {table: list(columns) for table, columns in tables.items()} == {
        "amplifier": ["gradient", "log_weight"],
        "softmax": ["tensor", "kl_from_uniform"],
    }
    x, y = (np.array(column) for column in tables["amplifier"].values())
    reach = max(float(g.abs().max()) for g in grads.values() if g.numel())
    assert [x[0], x[-1], x[len(x) // 2], y[len(x) // 2]] == [-reach, reach, 0.0, 0.0]
    expected = 3.0 * np.maximum(x - 0.5, 0.0) - 2.0 * np.maximum(0.25 - x, 0.0) + 0.5
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    kl = dict(zip(*tables["softmax"].values(), strict=True))
    assert list(kl) == list(grads)
    assert kl["w"] == pytest.approx(float(divergence_from_uniform(CURVE, grads)["w"]), rel=1e-12)
    assert kl["w"] > 0.1
    assert kl["empty"] == 0.0
    assert kl["zero"] == pytest.approx(0.0, abs=1e-15)


def test_the_cards_can_show_gradients_that_are_all_zero():
    grads = {"w": torch.zeros(3), "b": torch.zeros(())}
    tables = CARDS["neuralgrok"].probe(neuralgrok(amplifier=CURVE).init(grads), grads)
    assert set(tables["amplifier"]["log_weight"]) == {0.0}
    assert tables["softmax"]["kl_from_uniform"] == pytest.approx([0.0, 0.0], abs=1e-15)
