"""The Grokfast filters against recorded values, closed forms, and the linearity every filter has."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from grokkit import InputError, attach, grad_norm, grokfast_ema, grokfast_ma
from grokkit.rng import stream
from grokkit.state import counters_to_ints, leaves, map_leaves

GOLDEN = {
    "ema_a098_l2": lambda: grokfast_ema(alpha=0.98, lamb=2.0),
    "ema_a08_l01": lambda: grokfast_ema(alpha=0.8, lamb=0.1),
    "ma_w100_l5": lambda: grokfast_ma(window_size=100, lamb=5.0),
    "ma_w7_l2": lambda: grokfast_ma(window_size=7, lamb=2.0),
    "ma_w7_l2_sum": lambda: grokfast_ma(window_size=7, lamb=2.0, filter_type="sum"),
    "ma_w7_l2_nowarmup": lambda: grokfast_ma(window_size=7, lamb=2.0, warmup=False),
}


def pure(transform, gradients):
    """The pure face's results for a sequence of single gradients, stacked."""
    params = {"p": gradients[0]}
    state, results = transform.init(params), []
    for g in gradients:
        out, state = transform.update({"p": g}, state, params)
        results.append(out["p"])
    return torch.stack(results)


def attached(transform, gradients):
    """The attached face's results for the same."""
    p = nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = torch.optim.SGD([p], lr=0.0)
    attach(optimizer, transform)
    results = []
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
        results.append(p.grad.clone())
    return torch.stack(results)


FACES = pytest.mark.parametrize("face", [pure, attached])


@FACES
@pytest.mark.parametrize("case", GOLDEN)
def test_recorded_values(golden, case, face):
    recorded = golden("grokfast_filters")
    for name in ("w", "b"):
        given_, expected = (torch.from_numpy(recorded[f"{key}_{name}"]) for key in ("grad", case))
        ours = face(GOLDEN[case](), given_)
        assert not torch.equal(given_, expected)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@FACES
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.98, 0.999])
def test_ema_of_a_constant_is_its_amplification_from_the_first_step(alpha, face):
    g = torch.tensor([1.0, -2.0, 1e-7])
    ours = face(grokfast_ema(alpha=alpha, lamb=2.0), g.expand(50, 3))
    assert torch.equal(ours, (3 * g).expand(50, 3))


@FACES
@pytest.mark.parametrize("window", [1, 2, 3, 8])
def test_ma_of_a_constant_is_its_amplification_once_the_window_is_full(window, face):
    g = torch.tensor([1.0, -2.0, 0.5])
    ours = face(grokfast_ma(window_size=window, lamb=5.0), g.expand(30, 3))
    assert torch.equal(ours[: window - 1], g.expand(window - 1, 3))
    torch.testing.assert_close(ours[window - 1 :], (6 * g).expand(31 - window, 3), rtol=1e-6, atol=0)


@FACES
def test_ma_without_warmup_amplifies_a_constant_at_once(face):
    g = torch.tensor([1.0, -2.0])
    ours = face(grokfast_ma(window_size=8, lamb=5.0, warmup=False), g.expand(20, 2))
    torch.testing.assert_close(ours, (6 * g).expand(20, 2), rtol=1e-6, atol=0)


@FACES
def test_ma_sum_of_a_constant_is_w_times_the_mean(face):
    ours = face(grokfast_ma(window_size=4, lamb=0.5, filter_type="sum"), torch.ones(6, 1))
    assert ours.flatten().tolist() == [1, 1, 1, 3, 3, 3]


def amplification(transform, omega, steps):
    """|output / input| for e^{iωt}, cosine and sine filtered side by side in float64."""
    t = torch.arange(steps, dtype=torch.float64) * omega
    out = pure(transform, torch.stack([t.cos(), t.sin()], 1))
    return float(torch.linalg.vector_norm(out[-1]))


@pytest.mark.parametrize("omega", [0.001, 0.01, 0.1, 0.5, 1.0, 2.0, math.pi])
@pytest.mark.parametrize(("alpha", "lamb"), [(0.98, 2.0), (0.8, 0.1), (0.0, 1.0)])
def test_ema_amplifies_a_sinusoid_as_its_transfer_function_says(alpha, lamb, omega):
    expected = abs(1 + lamb * (1 - alpha) / (1 - alpha * np.exp(-1j * omega)))
    ours = amplification(grokfast_ema(alpha=alpha, lamb=lamb), omega, steps=1800)  # 0.98^1800 = 1.6e-16
    assert ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("omega", [0.01, 0.1, 0.5, 2.0, math.pi])
@pytest.mark.parametrize(("window", "lamb"), [(100, 5.0), (7, 2.0)])
def test_ma_amplifies_a_sinusoid_as_its_transfer_function_says(window, lamb, omega):
    expected = abs(1 + lamb * np.exp(-1j * omega * np.arange(window)).mean())
    assert amplification(grokfast_ma(window, lamb), omega, steps=350) == pytest.approx(expected, rel=1e-12)


@FACES
@pytest.mark.parametrize("start", [1, 2, 5])
@pytest.mark.parametrize(
    "make",
    [
        grokfast_ema,
        lambda **kw: grokfast_ma(window_size=3, **kw),
        lambda **kw: grokfast_ma(window_size=3, warmup=False, **kw),
        lambda **kw: grokfast_ma(window_size=1, **kw),
    ],
)
def test_the_second_stage_is_the_filter_that_ran_from_the_first_step(make, start, face):
    gradients = torch.randn(20, 3, generator=stream(0, "g"))
    ours = face(make(start_step=start), gradients)
    assert torch.equal(ours[:start], gradients[:start])
    assert torch.equal(ours[start:], face(make(), gradients)[start:])


@FACES
@pytest.mark.parametrize("make", [grokfast_ema, lambda **kw: grokfast_ma(window_size=3, **kw)])
def test_a_filter_that_stops_leaves_the_gradient_from_there_on(make, face):
    gradients = torch.randn(20, 3, generator=stream(0, "g"))
    ours = face(make(start_step=2, stop_step=7), gradients)
    assert torch.equal(ours[:7], face(make(start_step=2), gradients)[:7])
    assert not torch.equal(ours[:7], gradients[:7])
    assert torch.equal(ours[7:], gradients[7:])


@FACES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_the_slow_gradient_alone_takes_the_gradient_s_place(face, dtype):
    gradients = torch.randn(12, 3, generator=stream(0, "g"), dtype=torch.float32).to(dtype)
    exact = gradients.to(torch.complex128 if dtype.is_complex else torch.float64)
    mean = torch.stack([exact[t - 3 : t + 1].mean(0) if t >= 3 else exact[t] for t in range(12)])
    slow = [exact[0]]
    for g in exact[1:]:
        slow.append(0.9 * slow[-1] + 0.1 * g)
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
    for transform, expected in (
        (grokfast_ma(window_size=4, lamb=3.0, slow_only=True), mean),
        (grokfast_ema(alpha=0.9, lamb=3.0, slow_only=True), torch.stack(slow)),
    ):
        torch.testing.assert_close(face(transform, gradients).to(exact.dtype), expected, **tolerance)


@FACES
@pytest.mark.parametrize(
    ("transform", "first"),
    [
        (lambda: grokfast_ma(window_size=100, lamb=5.0, start_step=500), 500),
        (lambda: grokfast_ma(window_size=100, lamb=5.0, start_step=50), 99),
        (lambda: grokfast_ma(window_size=100, lamb=5.0, start_step=50, warmup=False), 50),
        (lambda: grokfast_ma(window_size=100, lamb=5.0), 99),
        (lambda: grokfast_ema(start_step=500), 500),
    ],
)
def test_the_first_step_that_is_filtered(transform, first, face):
    """The paper's two-stage run: the window of 100 is full by the time, so the filter acts at step 500, not at 599."""
    gradients = torch.randn(first + 2, 2, generator=stream(0, "g"))
    ours = face(transform(), gradients)
    changed = [t for t in range(first + 2) if not torch.equal(ours[t], gradients[t])]
    assert changed == [first, first + 1]


def test_the_running_sum_does_not_drift():
    """10⁴ float32 steps, magnitudes over eight decades: the error stays that of a few hundred additions.

    Between two fresh sums of the ring lie 2w roundings, each at most ε/2 of the sum of magnitudes that are in
    play, and the fresh sum itself makes w: 3w·ε/2 of what the last 2w gradients sum to.
    """
    window, width, steps = 50, 32, 10_000
    generator = stream(0, "drift")
    tide = torch.sin(torch.arange(steps) / 200).unsqueeze(1)
    scale = 10.0 ** (3 * tide + 2 * torch.rand(steps, 1, generator=generator) - 1)
    gradients = scale * torch.randn(steps, width, generator=generator)
    transform = grokfast_ma(window_size=window, lamb=1.0)
    state = transform.init({"p": gradients[0]})
    sums = torch.cat([torch.zeros(1, width), gradients.abs()]).double().cumsum(0)
    naive, worst, worst_naive = torch.zeros(width), 0.0, 0.0
    for t in range(steps):
        state = transform.update_({"p": gradients[t].clone()}, state, {})
        if t < window:
            naive += gradients[t]
            continue
        naive += gradients[t] - gradients[t - window]
        exact = gradients[t - window + 2 : t + 1].double().sum(0)
        bound = 1.5 * window * 2.0**-23 * (sums[t + 1] - sums[max(t + 1 - 2 * window, 0)])
        worst = max(worst, float(((state.total["p"] - exact).abs() / bound).max()))
        exact = gradients[t - window + 1 : t + 1].double().sum(0)
        worst_naive = max(worst_naive, float(((naive - exact).abs() / bound).max()))
    assert worst < 1
    assert worst_naive > 100  # a sum that is never made afresh does not pass this test


def test_nor_does_that_of_the_pure_face():
    """Gradients fall by 10⁶ and stay there; what was rounded off the large ones is forgotten within two windows."""
    window, width, steps = 7, 10, 120
    gradients = torch.randn(steps, width, generator=stream(0, "drift"))
    gradients[steps // 2 :] *= 1e-6
    transform = grokfast_ma(window_size=window, lamb=1.0)
    params = {"p": gradients[0]}
    state = transform.init(params)
    for g in gradients:
        state = transform.update({"p": g}, state, params)[1]
    exact = gradients[-window + 1 :].double().sum(0).float()
    torch.testing.assert_close(state.total["p"], exact, rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("window", [1, 2, 100])
def test_the_moving_average_s_memory_is_its_window(window, warmup):
    params = {"w": torch.zeros(7, 5), "b": torch.zeros(7)}
    transform = grokfast_ma(window_size=window, warmup=warmup)
    state = transform.init(params)
    for _ in range(3):
        state = transform.update({name: p + 1 for name, p in params.items()}, state, params)[1]
    size = sum(leaf.nbytes for path, _name, leaf in leaves(state) if path != "step")
    assert size == window * sum(p.nbytes for p in params.values())


def test_the_exponential_average_s_memory_is_one_copy():
    params = {"w": torch.zeros(7, 5), "b": torch.zeros(7)}
    state = grokfast_ema().init(params)
    assert sum(leaf.nbytes for path, _name, leaf in leaves(state) if path != "step") == 4 * 42


TENSOR_SETTINGS = {
    "ema": (lambda alpha, lamb: grokfast_ema(alpha=alpha, lamb=lamb, start_step=2), [0.0, 0.5, 0.98]),
    "ma": (lambda alpha, lamb: grokfast_ma(window_size=4, lamb=lamb), [0.0, 0.5, 0.98]),
    "grad norm": (lambda alpha, lamb: grad_norm(c=lamb), [0.5, 1.0, 2.0]),
}
LAMBS = [0.5, 5.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("case", TENSOR_SETTINGS)
def test_settings_may_be_tensors_each_member_its_own(case, dtype):
    """float64 settings, as a program holds them, beside gradients of any dtype, 0-d ones too."""
    make, alphas = TENSOR_SETTINGS[case]
    shapes = {"matrix": (4, 3), "scalar": ()}
    steps = {
        name: torch.randn(12, len(LAMBS), *shape, generator=stream(0, name)).to(dtype) for name, shape in shapes.items()
    }
    params = {name: given[0] for name, given in steps.items()}
    settings = (torch.tensor(alphas, dtype=torch.float64), torch.tensor(LAMBS, dtype=torch.float64))
    state = torch.vmap(lambda a, b, p: make(a, b).init(p))(*settings, params)
    members = [make(alpha, lamb) for alpha, lamb in zip(alphas, LAMBS, strict=True)]
    states = [m.init({name: p[i] for name, p in params.items()}) for i, m in enumerate(members)]
    for step in range(12):
        grads = {name: given[step] for name, given in steps.items()}
        out, state = torch.vmap(lambda a, b, g, s, p: make(a, b).update(g, s, p))(*settings, grads, state, params)
        for i, member in enumerate(members):
            own = {name: g[i] for name, g in grads.items()}
            expected, states[i] = member.update(own, states[i], {name: p[i] for name, p in params.items()})
            for name in shapes:
                assert out[name].dtype is dtype
                tolerance = {torch.bfloat16: 1e-2, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
                torch.testing.assert_close(out[name][i], expected[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("make", [lambda: grokfast_ma(4, 2.0, start_step=1), lambda: grokfast_ema(start_step=1)])
def test_members_need_not_have_taken_equally_many_steps(make):
    transform, gradients = make(), torch.randn(15, 5, generator=stream(0, "g"))
    params = {"p": gradients[0]}
    states, expected = [], []
    for ahead in (0, 1, 6):
        state = transform.init(params)
        for g in gradients[:ahead]:
            state = transform.update({"p": g}, state, params)[1]
        states.append({(path, name): leaf for path, name, leaf in leaves(state)})
        expected.append(pure(transform, gradients[: ahead + 9])[ahead:])
    state = map_leaves(lambda path, name, _: torch.stack([own[path, name] for own in states]), transform.init(params))
    for step in range(9):
        grads = {"p": torch.stack([gradients[ahead + step] for ahead in (0, 1, 6)])}
        out, state = torch.vmap(transform.update, in_dims=(0, 0, None))(grads, state, params)
        torch.testing.assert_close(out["p"], torch.stack([e[step] for e in expected]), rtol=1e-6, atol=1e-6)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grokfast_ema(alpha=1), "alpha=1 is not possible: 0 <= alpha < 1; the default is 0.98"),
        (lambda: grokfast_ema(alpha=-0.1), "alpha=-0.1 is not possible: 0 <= alpha < 1; the default is"),
        (lambda: grokfast_ema(alpha=NAN), "alpha=nan is not possible: 0 <= alpha < 1; the default is"),
        (lambda: grokfast_ema(alpha="0.9"), "alpha='0.9' is not possible: 0 <= alpha < 1; the default is"),
        (lambda: grokfast_ema(lamb=-1.0), "lamb=-1.0 is not possible: a finite number >= 0; the default is 2.0"),
        (lambda: grokfast_ema(lamb=INF), "lamb=inf is not possible: a finite number >= 0; the default is 2.0"),
        (lambda: grokfast_ma(lamb=NAN), "lamb=nan is not possible: a finite number >= 0; the default is 5.0"),
        (lambda: grokfast_ma(lamb=None), "lamb=None is not possible: a finite number >= 0; the default is"),
        (lambda: grokfast_ma(window_size=0), "window_size=0 is not possible: a whole number >= 1; the default is 100$"),
        (lambda: grokfast_ma(window_size=1.5), "window_size=1.5 is not possible: a whole number >= 1; .* 100"),
        (lambda: grokfast_ma(window_size=True), "window_size=True is not possible: a whole number >= 1; .* 100"),
        (lambda: grokfast_ma(filter_type="men"), "'men'; did you mean 'mean'[?] Allowed: mean, sum"),
        (lambda: grokfast_ma(filter_type=None), "unknown filter_type 'None'; Allowed: mean, sum"),
        (lambda: grokfast_ema(stop_step=0), "stop_step=0 is not possible: a whole number >= 1; the default is None$"),
        (lambda: grokfast_ma(start_step=9, stop_step=9), "stop_step=9 is not possible: after start_step=9"),
        (lambda: grokfast_ema(slow_only=1), "slow_only=1 is not possible"),
        (lambda: grokfast_ema(start_step=-1), "start_step=-1 is not possible: a whole number >= 0; the default is 0$"),
        (lambda: grokfast_ma(start_step=2.5), "start_step=2.5 is not possible: a whole number >= 0; the default is 0$"),
        (lambda: grokfast_ma(start_step=True), "start_step=True is not possible: a whole number >= 0"),
        (lambda: grad_norm(c=0), "c=0 is not possible: a finite number > 0; the default is 1.0"),
        (lambda: grad_norm(c=NAN), "c=nan is not possible: a finite number > 0; the default is 1.0"),
        (lambda: grad_norm(c=INF), "c=inf is not possible: a finite number > 0; the default is 1.0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_published_defaults():
    def defaults(factory):
        return {name: p.default for name, p in inspect.signature(factory).parameters.items()}

    assert defaults(grokfast_ema) == {
        "alpha": 0.98,
        "lamb": 2.0,
        "start_step": 0,
        "stop_step": None,
        "slow_only": False,
    }
    assert defaults(grokfast_ma) == {
        "window_size": 100,
        "lamb": 5.0,
        "filter_type": "mean",
        "warmup": True,
        "start_step": 0,
        "stop_step": None,
        "slow_only": False,
        "window_dtype": None,
        "window_device": None,
    }


FILTERS = st.one_of(
    st.builds(
        grokfast_ema,
        alpha=st.floats(0, 0.999),
        lamb=st.floats(0, 10),
        start_step=st.integers(0, 4),
        stop_step=st.none() | st.integers(5, 9),
        slow_only=st.booleans(),
    ),
    st.builds(
        grokfast_ma,
        window_size=st.integers(1, 9),
        lamb=st.floats(0, 10),
        filter_type=st.sampled_from(["mean", "sum"]),
        warmup=st.booleans(),
        start_step=st.integers(0, 4),
        stop_step=st.none() | st.integers(5, 9),
        slow_only=st.booleans(),
    ),
)
SERIES = arrays(np.float64, (12, 4), elements=st.floats(-100, 100))
QUICK = settings(max_examples=40, deadline=None)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


@QUICK
@given(FILTERS, SERIES, SERIES, st.floats(-10, 10), st.floats(-10, 10))
@pytest.mark.parametrize("face", [pure, attached])
def test_filters_are_linear(face, transform, one, other, a, b):
    one, other = torch.from_numpy(one), torch.from_numpy(other)
    close(face(transform, a * one + b * other), a * face(transform, one) + b * face(transform, other))


@QUICK
@given(FILTERS, SERIES, st.permutations(range(4)))
@pytest.mark.parametrize("face", [pure, attached])
def test_every_entry_is_filtered_by_itself(face, transform, series, order):
    series = torch.from_numpy(series)
    whole = face(transform, series)
    close(face(transform, series[:, order]), whole[:, order])
    for index in range(4):
        close(face(transform, series[:, index]), whole[:, index])


@QUICK
@given(FILTERS, SERIES, st.integers(1, 11))
def test_filters_are_causal(transform, series, step):
    series = torch.from_numpy(series)
    assert torch.equal(pure(transform, series[:step]), pure(transform, series)[:step])


NARROW = {"window_size": 10, "lamb": 3.0, "window_dtype": torch.bfloat16}


def averages(face, gradients, **settings):
    """What the filter adds at each step, over λ."""
    outs, transform = [], grokfast_ma(**settings)
    params = {"w": torch.zeros(50)}
    state = transform.init(params)
    for g in gradients:
        if face == "pure":
            out, state = transform.update({"w": g}, state, params)
        else:
            out = {"w": g.clone()}
            state = transform.update_(out, counters_to_ints(state), params)
        outs.append((out["w"] - g) / settings["lamb"])
    return outs, state


@pytest.mark.parametrize("face", ["pure", "in place"])
def test_a_window_in_bfloat16_rounds_the_average_by_no_more_than_its_entries(face):
    """|error| ≤ 2⁻⁸·mean |g|, however long it runs: the sum is of what is kept, so nothing builds up."""
    gradients = [torch.randn(50, generator=stream(step, "gradient")) for step in range(200)]
    rounded, state = averages(face, gradients, **NARROW)
    exact, _ = averages(face, gradients, **{**NARROW, "window_dtype": None})
    assert state.window["w"].dtype is torch.bfloat16
    assert state.window["w"].nbytes == 9 * 50 * 2
    errors = []
    for t in range(10, 200):
        bound = 2**-8 * torch.stack(gradients[t - 9 : t + 1]).abs().mean(0) + 1e-6
        assert ((rounded[t] - exact[t]).abs() <= bound).all()
        errors.append((rounded[t] - exact[t]).abs().max())
    assert max(errors) > 1e-4  # it does round
    assert max(errors[-50:]) < 2 * max(errors[:50])


def test_a_window_in_bfloat16_is_the_same_in_both_faces_and_attached():
    gradients = [torch.randn(50, generator=stream(step, "gradient")) for step in range(40)]
    for ours, theirs in zip(
        averages("pure", gradients, **NARROW)[0], averages("", gradients, **NARROW)[0], strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_window_on_the_cpu_is_the_same_filter():
    def run(**where):
        p = torch.nn.Parameter(torch.zeros(50, device="cuda"))
        optimizer = torch.optim.SGD([p], lr=1.0)
        attach(optimizer, grokfast_ma(window_size=4, lamb=3.0, **where))
        for step in range(12):
            p.grad = torch.randn(50, generator=stream(step, "gradient")).cuda()
            optimizer.step()
        return p.detach().cpu(), optimizer.state[p]["grokkit/window"].device.type

    (ours, here), (theirs, there) = run(window_device="cpu"), run()
    assert (here, there) == ("cpu", "cuda")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_window_on_another_device_is_made_there():
    state = grokfast_ma(window_size=4, window_device="meta").init({"w": torch.zeros(3)})
    assert (state.window["w"].device.type, state.total["w"].device.type) == ("meta", "cpu")


@pytest.mark.parametrize("dtype", ["bfloat16", torch.int32, 16, torch.complex64, torch.float8_e4m3fn])
def test_a_window_s_dtype_is_floating_point(dtype):
    with pytest.raises(
        InputError, match=r"window_dtype=.* is not possible: a floating-point dtype of at least 16 bits, e.g. torch.bf"
    ):
        grokfast_ma(window_dtype=dtype)
