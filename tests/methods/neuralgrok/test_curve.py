"""The piecewise-linear form of an amplifier against the network itself, evaluated at every entry."""

import math
import subprocess
import sys

import pytest
import torch
from amplifiers import amplifier, assert_close, largest, of, recorded

from grokkit.methods.neuralgrok import curve
from grokkit.methods.neuralgrok.amplifier import fresh_amplifier, map_amplifier
from grokkit.methods.neuralgrok.curve import (
    amplifier_gradient,
    evaluate,
    evaluate_,
    pull_back,
    tabulate,
)
from grokkit.rng import stream

GOLDEN = ["h64_l3", "h128_l3_small", "h64_l2", "h32_l4_wide"]


def most_pieces(hidden):
    """Every unit of a layer may cut every piece."""
    return math.prod(width + 1 for width in hidden)


DEPTHS = [(3,), (1152,), (128, 128), (512, 512), (4, 3, 2), (16, 16, 16), (1,), (2, 1, 3, 2)]
SMALL = [hidden for hidden in DEPTHS if most_pieces(hidden) < 2e4]
SCALES = [1e-30, 1e-6, 1e-3, 1.0, 30.0, 1e30]


def normal(n, scale=1.0, seed=0):
    return scale * torch.randn(n, generator=stream(seed, "entries"), dtype=torch.float64)


def table(f, x, **how):
    return tabulate(f, x.amin().double(), x.amax().double(), **how)


def dense_gradient(f, x, cotangents):
    """By autograd through the network at every entry."""
    leaves = map_amplifier(lambda t: t.clone().requires_grad_(), f)
    (cotangents * leaves(x)).sum().backward()
    return map_amplifier(lambda t: t.grad, leaves)


def curve_gradient(f, x, cotangents, **how):
    pieces = table(f, x, **how)
    return amplifier_gradient(f, pieces.edges_E, *pull_back(pieces, x, cotangents))


def in_place(f, x):
    """Less the value at the first entry: ``evaluate_`` leaves a constant open."""
    y = x.clone()
    evaluate_(table(f, x), y)
    return y.double() - y[0].double()


def assert_values(f, x):
    """float64 to 1e-12 and float32 to 1e-6 of the largest value."""
    dense = f(x)
    allowed = float(dense.abs().max())
    torch.testing.assert_close(evaluate(table(f, x), x), dense, rtol=0, atol=1e-12 * allowed)
    torch.testing.assert_close(in_place(f, x), dense - dense[0], rtol=0, atol=1e-12 * allowed)
    single = x.float()
    dense = f(single.double())
    torch.testing.assert_close(in_place(f, single), dense - dense[0], rtol=0, atol=1e-6 * allowed)


@pytest.mark.parametrize("case", GOLDEN)
def test_recorded_amplifiers(golden, case):
    arrays = golden("neuralgrok_amplifier")
    f, x = recorded(arrays, case), torch.from_numpy(arrays[f"{case}.gradient"])
    assert_values(f, x)
    cotangents = torch.from_numpy(arrays[f"{case}.cotangent"])
    assert_close(curve_gradient(f, x, cotangents), dense_gradient(f, x, cotangents), 1e-11)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_values(hidden, scale):
    for seed in range(2):
        x = normal(2000, scale, seed)
        for f in (amplifier(*hidden, seed=seed), fresh_amplifier(hidden, seed)):
            assert_values(f, x)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("hidden", DEPTHS)
def test_gradients(hidden, scale):
    """To 1e-10 of the largest: the order of the sums is all that differs."""
    x, cotangents = normal(2000, scale), normal(2000, seed=1)
    for f in (amplifier(*hidden), fresh_amplifier(hidden)):
        assert_close(curve_gradient(f, x, cotangents), dense_gradient(f, x, cotangents), 1e-10)


@pytest.mark.parametrize("seed", range(40))
def test_any_amplifier_on_any_range(seed):
    """Depth, widths, steepness and the range are drawn, far from 0, too."""
    generator = stream(seed, "draw")

    def draw(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    hidden = tuple(draw(1, 9) for _ in range(draw(1, 5)))
    x = 10.0 ** draw(-8, 9) * (normal(300, 10.0 ** draw(-3, 1), seed) + draw(-3, 4))
    f = amplifier(*hidden, seed=seed, steep=10.0 ** draw(-1, 2))
    assert_values(f, x)
    cotangents = normal(300, seed=seed + 1)
    for compact in (True, False):
        assert_close(curve_gradient(f, x, cotangents, compact=compact), dense_gradient(f, x, cotangents), 1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("hidden", SMALL)
def test_as_many_pieces_as_there_could_be_or_only_those_that_there_are(hidden, scale):
    x, cotangents = normal(500, scale), normal(500, seed=1)
    f = amplifier(*hidden)
    compact, full = table(f, x), table(f, x, compact=False)
    assert len(compact.low_P) <= len(full.low_P) == most_pieces(hidden)
    for pieces in (compact, full):
        assert len(pieces.edges_E) == len(pieces.low_P) + 1 == len(pieces.high_P) + 1
        assert (pieces.edges_E.diff() >= 0).all()
        assert pieces.edges_E[0] < x.amin()
        assert pieces.edges_E[-1] > x.amax()
        assert all(values.dtype is torch.float64 for values in pieces)
    torch.testing.assert_close(evaluate(full, x), evaluate(compact, x), rtol=0, atol=1e-12 * float(f(x).abs().max()))
    one = curve_gradient(f, x, cotangents)
    assert_close(curve_gradient(f, x, cotangents, compact=False), one, 1e-11)


def test_a_zigzag_has_every_switch_where_it_is():
    """Layer by layer |x|, ||x| − 1/2|, |||x| − 1/2| − 1/4|: each fold doubles the pieces."""
    fold, half = [[1.0, 1.0], [-1.0, -1.0]], [-0.5, 0.5]
    f = of([[[1.0], [-1.0]], fold, fold, [[1.0, 1.0]]], [[0.0, 0.0], half, [-0.25, 0.25], [0.0]])
    pieces = tabulate(f, torch.tensor(-1.0).double(), torch.tensor(1.0).double())
    assert pieces.edges_E[1:-1].tolist() == [-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]
    assert f(torch.tensor([-1.0, -0.75, -0.5, 0.0, 0.25, 0.5]).double()).tolist() == [0.25, 0.0, 0.25, 0.25, 0.0, 0.25]


@pytest.mark.parametrize("few", [-1, 10_000], ids=["search", "switch by switch"])
@pytest.mark.parametrize("hidden", [(3,), (16, 16, 16), (30,)])
def test_both_lookups(monkeypatch, few, hidden):
    monkeypatch.setattr(curve, "_FEW", few)
    monkeypatch.setattr(curve, "_adds_up", lambda *_: True)
    for seed in range(3):
        f = amplifier(*hidden, seed=seed)
        for scale in (1e-6, 1.0):
            assert_values(f, normal(1000, scale, seed))


def test_which_lookup_is_taken(monkeypatch):
    """``_FEW`` switches are still few."""
    searches = []
    search = torch.bucketize
    monkeypatch.setattr(torch, "bucketize", lambda *args, **how: searches.append(1) or search(*args, **how))
    x = torch.linspace(-1.0, 1.0, 500).double()
    for switches, searched in ((1, 0), (curve._FEW, 0), (curve._FEW + 1, 1)):
        at = torch.linspace(-0.9, 0.9, switches).double()
        f = of([torch.ones(switches, 1).tolist(), torch.ones(1, switches).tolist()], [(-at).tolist(), [0.0]])
        assert len(table(f, x).low_P) == switches + 1
        searches.clear()
        in_place(f, x)
        assert len(searches) == searched


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steep_near_zero_and_flat_elsewhere(dtype):
    """From 0 to 1 over ±1e-4 of a range of ±1. Two shares of 5000 would leave it, to float32's rounding of them."""
    f = of([[[1.0], [1.0]], [[5e3, -5e3]]], [[1e-4, -1e-4], [0.0]])
    x = torch.cat([normal(500, 1e-4), normal(500, 0.3)]).to(dtype)
    expected = f(x.double())
    assert [expected.min().item(), expected.max().item()] == pytest.approx([0.0, 1.0])
    tolerance = 3 * torch.finfo(dtype).eps if dtype is torch.float32 else 1e-12
    torch.testing.assert_close(in_place(f, x), expected - expected[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_narrower_than_a_piece_may_be(dtype):
    """From 0 to 1 between −1 and 0, of a range of ±1e20: the piece between is left out, the step is not."""
    f = of([[[-1.0]], [[-1.0]], [[1.0]]], [[0.0], [1.0], [0.0]])
    x = torch.tensor([-1e20, -3e10, 1e10, 1e20], dtype=dtype)
    assert len(table(f, x).low_P) == 2
    expected = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(evaluate(table(f, x), x.double()), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(in_place(f, x), expected, rtol=0, atol=1e-12)


def test_chunk_by_chunk_is_all_at_once(monkeypatch):
    x, cotangents = normal(1000), normal(1000, seed=1)
    for hidden in ((3,), (64, 64)):
        f = amplifier(*hidden)
        whole, gradient = in_place(f, x), curve_gradient(f, x, cotangents)
        monkeypatch.setattr(curve, "CHUNK", 64)
        assert torch.equal(in_place(f, x), whole)
        assert_close(curve_gradient(f, x, cotangents), gradient, 1e-13)
        monkeypatch.undo()


def test_dead_units_and_zero_weights():
    x = normal(200)
    always_off = of([[[1.0], [0.0], [0.0]], [[2.0, 3.0, 5.0]]], [[-0.5, -1.0, 0.0], [0.25]])
    pieces = table(always_off, x)
    assert pieces.edges_E[1:-1].tolist() == [0.5]
    torch.testing.assert_close(evaluate(pieces, x), 2.0 * (x - 0.5).relu() + 0.25, rtol=1e-14, atol=1e-15)
    all_off = of([[[0.0]] * 4, [[1.0] * 4]], [[-1.0] * 4, [7.0]])
    torch.testing.assert_close(evaluate(table(all_off, x), x), torch.full_like(x, 7.0), rtol=1e-15, atol=0)
    zero = map_amplifier(torch.zeros_like, amplifier(8, 8))
    for compact in (True, False):
        assert not evaluate(table(zero, x, compact=compact), x).any()
        found = curve_gradient(zero, x, torch.ones(200).double(), compact=compact)
        assert largest(found) == found.biases[-1].item() == pytest.approx(200.0, rel=1e-13)
    assert_values(always_off, x)
    assert_values(all_off, x)


@pytest.mark.parametrize("compact", [True, False])
def test_entries_on_a_switch(compact):
    """Three units switch at 1/2, and in the next layer one at 1/2 again."""
    f = of([[[1.0], [2.0], [-1.0]], [[1.0, 1.0, -1.0]], [[1.0]]], [[-0.5, -1.0, 0.5], [0.0], [0.0]])
    x = torch.tensor([-1.0, 0.25, 0.5, 0.5, 0.75, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.75, 1.5], dtype=torch.float64)
    torch.testing.assert_close(evaluate(table(f, x, compact=compact), x), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(in_place(f, x), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, 1e-30, -0.5, 0.5, 7.0, -1e30, 3e38])
@pytest.mark.parametrize("compact", [True, False])
def test_all_entries_equal(value, compact):
    """One of them on the only switch."""
    f = of([[[1.0]], [[2.0]]], [[-0.5], [3.0]])
    x = torch.full((5,), value, dtype=torch.float64)
    expected = f(x)
    torch.testing.assert_close(evaluate(table(f, x, compact=compact), x), expected, rtol=1e-13, atol=0)
    pieces = table(f, x, compact=compact)
    low_P, high_P = pull_back(pieces, x, torch.ones_like(x))
    assert float(low_P.sum() + high_P.sum()) == pytest.approx(5.0, rel=1e-13)


def test_a_switch_within_a_rounding_of_another():
    """The narrow piece between them has no slope but rounding: nothing may come of it."""
    eps = 2.0**-52
    f = of([[[1.0], [1.0]], [[1e3, -1e3]]], [[-0.5, -0.5 - eps], [0.0]])
    x = torch.tensor([0.0, 0.5, 0.5 + eps, 0.5 + 2 * eps, 1.0], dtype=torch.float64)
    for compact in (True, False):
        torch.testing.assert_close(evaluate(table(f, x, compact=compact), x), f(x), rtol=0, atol=1e-11)
    assert len(table(f, x).low_P) == 2
    torch.testing.assert_close(in_place(f, x), f(x) - f(x[:1]), rtol=0, atol=1e-11)


def test_most_of_the_range_in_one_entry():
    """One gradient of 1e6, the others near 0, where the switches are: the float64 face resolves them."""
    x = torch.cat([normal(500, 1e-2), torch.tensor([1e6], dtype=torch.float64)])
    f = amplifier(16, 16, steep=10.0)
    torch.testing.assert_close(evaluate(table(f, x), x), f(x), rtol=1e-9, atol=1e-9)


def test_what_f_adds_to_all_entries_alike_has_no_effect_on_the_slope():
    """f = w·x + b: gradients Σ v·x and Σ v, to the rounding of the sums."""
    f = of([[[1.0]], [[3.0]]], [[100.0], [5.0]])
    x, v = normal(1000, 1e-4), normal(1000, seed=1)
    found = curve_gradient(f, x, v)
    assert found.weights[0].item() == pytest.approx(3.0 * float((v * x).sum()), rel=1e-8)
    assert found.biases[1].item() == pytest.approx(float(v.sum()), rel=1e-12)


PROGRAM = """
import sys, torch
from grokkit.methods.neuralgrok.amplifier import fresh_amplifier
from grokkit.methods.neuralgrok.transform import amplified, hypergradient
from grokkit.probe.memory import peak_bytes, reset_peak

torch.set_num_threads(1)
f = fresh_amplifier((128, 128))

def run(n):
    grads = {"w": torch.linspace(-1.0, 1.0, n)}
    cotangents = {"w": torch.ones(n)}
    reset_peak()
    before = peak_bytes()
    if sys.argv[1] == "transform":
        amplified(f, grads, 1.0, None)
    else:
        hypergradient(f, grads, cotangents, 1.0)
    return peak_bytes() - before

n = int(sys.argv[2])
run(n // 100)  # what the libraries take once
print(run(n))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
@pytest.mark.parametrize(("what", "n", "bytes_an_entry"), [("transform", 10**7, 16), ("hypergradient", 3 * 10**6, 100)])
def test_memory_is_that_of_the_entries_not_of_the_width(what, n, bytes_an_entry):
    """At every entry the network itself would take 8·128 bytes and more."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, what, str(n)], check=True, capture_output=True, text=True)
    assert 4 * n < int(done.stdout) < bytes_an_entry * n


def test_millions_of_equal_entries():
    x = torch.full((3_000_000,), 0.25)
    f = amplifier(64, 64)
    assert len(in_place(f, x).unique()) == 1
    values = evaluate(table(f, x), x.double())
    assert values.unique().tolist() == pytest.approx(f(x[:1].double()).tolist(), rel=1e-13)
