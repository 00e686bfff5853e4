import math
import time
from itertools import pairwise

import pytest
import torch

from grokkit.errors import InputError
from grokkit.probe.fourier import circle, dominant_frequencies, natural_order, spectrum
from grokkit.rng import stream

P = 97
POWERS = [pow(5, j, P) for j in range(P - 1)]  # 5 is the smallest primitive root of 97


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "fourier"), dtype=torch.float64)


def planted(n, amplitudes, phase=0.3, dim=16):
    """n rows: each frequency with its amplitude on a circle in a plane of its own, around a mean that is not zero."""
    axes, _ = torch.linalg.qr(normal(dim, dim))
    angle = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    rows = torch.full((n, dim), 7.0, dtype=torch.float64)
    for place, (k, amplitude) in enumerate(amplitudes.items()):
        one, other = axes[2 * place], axes[2 * place + 1]
        rows += amplitude * ((k * angle + phase).cos()[:, None] * one + (k * angle + phase).sin()[:, None] * other)
    return rows


def by_number(rows):
    """The embedding of 0…P−1 whose rows in the order of powers of 5 are these; that of 0 is far away."""
    embedding = torch.full((P, rows.shape[1]), 1e6, dtype=torch.float64)
    embedding[POWERS] = rows
    return embedding


def shares(embedding, order="additive"):
    found = spectrum(embedding, order=order)
    assert found["frequency"] == list(range(1, len(found["share"]) + 1))
    return found["share"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_planted_frequencies_have_their_shares_and_no_other_has_any(dtype):
    found = shares(planted(P, {5: 3.0, 17: 4.0, 48: 1.0}).to(dtype))
    expected = [0.0] * 48
    expected[4], expected[16], expected[47] = 9 / 26, 16 / 26, 1 / 26
    assert found == pytest.approx(expected, abs=1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("modulus", [3, 4, 12, 97])
def test_shares_are_the_squares_of_cosines_and_sines_and_add_up_to_one(modulus):
    embedding = normal(modulus, 5) + 10
    centered = embedding - embedding.mean(0)
    expected = []
    for k in range(1, modulus // 2 + 1):
        angles = [2 * math.pi * j * k / modulus for j in range(modulus)]
        waves = [torch.tensor([math.cos(a) for a in angles]), torch.tensor([math.sin(a) for a in angles])]
        if 2 * k == modulus:  # its sine is 0
            waves = waves[:1]
        carried = sum(((wave.double() / wave.double().norm()) @ centered).square().sum() for wave in waves)
        expected.append(float(carried / centered.square().sum()))
    assert shares(embedding) == pytest.approx(expected, rel=1e-5)
    assert sum(shares(embedding)) == pytest.approx(1, abs=1e-14)


def test_noise_is_spread_evenly():
    found = shares(normal(P, 1000))
    # a sum of 2·1000 squares has a relative standard deviation of √(2/2000) = 3 %
    assert found == pytest.approx([2 / 96] * 48, rel=0.15)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_multiplicative_order_finds_what_is_planted_on_powers_and_additive_order_does_not(k):
    embedding = by_number(planted(P - 1, {k: 2.0}))
    found = shares(embedding, "multiplicative")
    assert len(found) == 48
    assert found[k - 1] == pytest.approx(1, abs=1e-12)
    embedding[0] = embedding[1:].mean(0)
    assert max(shares(embedding)) < 0.05  # a Gauss sum: every additive frequency has its part


def test_squares_and_non_squares_are_the_last_frequency():
    squares = {j * j % P for j in range(1, P)}
    signs = torch.tensor([[1.0 if j in squares else -1.0] for j in range(P)])
    found = shares(signs, "multiplicative")
    assert found[47] == pytest.approx(1, abs=1e-12)
    assert found[:47] == pytest.approx([0] * 47, abs=1e-12)


@pytest.mark.parametrize("modulus", [3, 5, 7, 23, 97, 113])
def test_multiplicative_order_visits_every_number_but_zero_by_equal_factors(modulus):
    numbers = circle(normal(modulus, 4), order="multiplicative")["number"]
    assert sorted(numbers) == list(range(1, modulus))
    assert all(after == before * numbers[1] % modulus for before, after in pairwise(numbers))


def test_equal_rows_and_what_is_not_finite_have_no_spectrum_and_no_circle():
    broken = normal(P, 4)
    broken[3, 2] = math.nan
    for embedding in (torch.full((P, 4), 0.1), broken, broken * math.inf):
        assert shares(embedding) == [None] * 48
        assert dominant_frequencies(spectrum(embedding)) == []
        assert circle(embedding) == {"number": [], "x": [], "y": [], "frequency": []}


def test_dominant_frequencies_come_largest_first():
    found = spectrum(planted(P, {5: 3.0, 17: 4.0, 48: 1.0}))
    assert dominant_frequencies(found) == [17]
    assert dominant_frequencies(found, 3) == [17, 5, 48]


@pytest.mark.parametrize("order", ["additive", "multiplicative"])
def test_a_planted_circle_is_that_circle_from_the_positive_x_axis_on(order):
    n = P if order == "additive" else P - 1
    rows = planted(n, {5: 3.0, 17: 4.0}, phase=0.0)
    found = circle(rows if order == "additive" else by_number(rows), order=order)
    assert found["number"] == (list(range(P)) if order == "additive" else POWERS)
    assert found["frequency"] == [17] * n
    angles = [2 * math.pi * 17 * j / n for j in range(n)]
    assert found["x"] == pytest.approx([4 * math.cos(a) for a in angles], abs=1e-9)
    assert found["y"] == pytest.approx([4 * math.sin(a) for a in angles], abs=1e-9)
    other = circle(rows if order == "additive" else by_number(rows), order=order, frequency=5)
    assert [math.hypot(x, y) for x, y in zip(other["x"], other["y"], strict=True)] == pytest.approx([3.0] * n)


def test_the_plane_is_not_stretched():
    """An ellipse stays one, whatever else there is at right angles to its plane."""
    angle = 2 * math.pi * 2 * torch.arange(7, dtype=torch.float64) / 7
    rows = torch.stack([3 * angle.cos(), angle.sin(), (angle / 2 + 1).cos() / 9], 1)
    found = circle(rows)
    assert found["frequency"] == [2] * 7
    assert found["x"] == pytest.approx((3 * angle.cos()).tolist())
    assert found["y"] == pytest.approx(angle.sin().tolist())


def test_one_dimension_gives_a_line():
    found = circle(normal(P, 1))
    assert found["y"] == [0.0] * P
    assert max(found["x"]) > 0


def test_what_a_product_is_a_rotation_of():
    orders = [natural_order(o, p) for o, p in (("*/", 97), ("+", 97), ("*+", 97), ("*", 91), ("", 97))]
    assert orders == ["multiplicative", "additive", "additive", "additive", "additive"]


def test_orders_that_are_not_possible():
    with pytest.raises(InputError, match="multiplicative order of 96 numbers is not possible: a prime"):
        spectrum(normal(96, 4), order="multiplicative")
    with pytest.raises(InputError, match="unknown order 'multiplied'; did you mean 'multiplicative'"):
        spectrum(normal(97, 4), order="multiplied")
    with pytest.raises(InputError, match="embedding of 2 numbers has no spectrum"):
        circle(normal(2, 4))


def test_that_a_number_is_no_prime_is_seen_at_once():
    """Without a look at its divisors this one would take P² = 36 million products."""
    start = time.process_time()
    assert natural_order(["*"], 6_000) == "additive"
    assert time.process_time() - start < 0.5
