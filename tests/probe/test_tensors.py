import math
from itertools import chain

import pytest
import torch

from grokkit.probe.tensors import probe_tensors
from grokkit.rng import stream

GRADIENTS = ("gradient_entropy", "filtered_gradient_entropy", "gradient_cosine")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=stream(seed, "tensors"), dtype=dtype)


def entropy(values):
    return -sum(abs(v) * math.log(abs(v)) for v in values if v)


def one(weight=0.0, gradient=0.0, filtered=0.0):
    """The probe of one tensor of one member."""
    (found,) = probe_tensors(*({"p": torch.as_tensor(x)[None]} for x in (weight, gradient, filtered)))
    return found.model


def test_entropies_of_known_values():
    assert one(torch.zeros(4))["weight_entropy"] == 0.0
    assert one(torch.full((2, 8), -1 / 16))["weight_entropy"] == pytest.approx(math.log(16), rel=1e-6)
    found = one(gradient=torch.tensor(math.e, dtype=torch.float64), filtered=torch.tensor([0.5, -0.5]))
    assert found["gradient_entropy"] == pytest.approx(-math.e)
    assert found["filtered_gradient_entropy"] == pytest.approx(math.log(2))


def test_cosines_of_known_angles():
    x = torch.tensor([3.0, 4.0])
    for other, cosine in {(6.0, 8.0): 1.0, (-4.0, 3.0): 0.0, (-3.0, -4.0): -1.0, (1.0, 0.0): 0.6}.items():
        assert one(gradient=x, filtered=torch.tensor(other))["gradient_cosine"] == pytest.approx(cosine, abs=1e-15)
    assert one(gradient=1e-30 * x, filtered=1e30 * x)["gradient_cosine"] == pytest.approx(1.0, rel=1e-6)


def test_no_cosine_lies_beyond_one():
    for seed in range(200):
        x = normal(7, seed=seed)
        assert 1 - 1e-12 < one(gradient=x, filtered=x)["gradient_cosine"] <= 1
        assert -1 <= one(gradient=x, filtered=-3 * x)["gradient_cosine"] < -1 + 1e-12


def test_the_zero_vector_has_no_angle_and_what_is_not_finite_is_not_taken_for_one():
    x, zero = torch.ones(3), torch.zeros(3)
    assert one(gradient=x, filtered=zero)["gradient_cosine"] is None
    assert one(gradient=zero, filtered=x)["gradient_cosine"] is None
    assert math.isnan(one(gradient=x, filtered=torch.tensor([1.0, math.nan, 0.0]))["gradient_cosine"])


def test_each_tensor_and_the_model_of_each_member():
    """Against plain loops over all entries."""
    shapes = {"matrix": (3, 4), "scalar": (), "vector": (5,)}
    weights, raw, filtered = (
        {name: normal(2, *shape, seed=10 * i + j) for j, (name, shape) in enumerate(shapes.items())} for i in range(3)
    )
    raw["vector"][1] = 0
    found = probe_tensors(weights, raw, filtered)
    assert len(found) == 2
    for member, own in enumerate(found):
        flat = [
            {name: tensor[member].flatten().tolist() for name, tensor in of.items()} for of in (weights, raw, filtered)
        ]
        assert own.tensors["tensor"] == list(shapes)
        for index, name in enumerate(shapes):
            w, g, f = (of[name] for of in flat)
            row = {column: values[index] for column, values in own.tensors.items()}
            assert row["weight_entropy"] == pytest.approx(entropy(w))
            assert row["gradient_entropy"] == pytest.approx(entropy(g))
            assert row["filtered_gradient_entropy"] == pytest.approx(entropy(f))
            if any(g):
                product = sum(a * b for a, b in zip(g, f, strict=True))
                assert row["gradient_cosine"] == pytest.approx(product / (math.hypot(*g) * math.hypot(*f)))
            else:
                assert row["gradient_cosine"] is None
        w, g, f = ([*chain.from_iterable(of.values())] for of in flat)
        assert own.model == pytest.approx(
            {
                "weight_norm": math.hypot(*w),
                "weight_entropy": entropy(w),
                "gradient_norm": math.hypot(*g),
                "gradient_entropy": entropy(g),
                "filtered_gradient_norm": math.hypot(*f),
                "filtered_gradient_entropy": entropy(f),
                "gradient_cosine": sum(a * b for a, b in zip(g, f, strict=True)) / (math.hypot(*g) * math.hypot(*f)),
            }
        )


def test_without_gradients_there_is_nothing_of_them():
    (found,) = probe_tensors({"a": normal(1, 3), "b": normal(1, 2)}, {}, {})
    assert all(found.tensors[column] == [None, None] for column in GRADIENTS)
    assert {name for name, value in found.model.items() if value is None} == {
        *GRADIENTS,
        "gradient_norm",
        "filtered_gradient_norm",
    }


def test_sums_are_taken_in_float64():
    """In float32 neither 2²⁴ + 1 nor the small part of a product is seen."""
    ones, large = torch.ones(2**24 + 1), torch.tensor([2.0**13, 1.0, 2.0**13])
    assert one(ones)["weight_norm"] == (2**24 + 1) ** 0.5
    turned = torch.tensor([2.0**13, 1.0, -(2.0**13)])
    assert one(gradient=large, filtered=turned)["gradient_cosine"] == pytest.approx(1 / (2**27 + 1), rel=1e-9)


def test_of_complex_entries_both_parts_count():
    x = torch.tensor([3.0 + 4.0j, 0.0])
    found = one(x, x, 2 * x)
    assert (found["weight_norm"], found["gradient_norm"], found["filtered_gradient_norm"]) == (5.0, 5.0, 10.0)
    assert found["weight_entropy"] == pytest.approx(-5 * math.log(5), rel=1e-6)
    assert found["gradient_cosine"] == pytest.approx(1.0)
    assert one(gradient=x, filtered=1j * x)["gradient_cosine"] == pytest.approx(0.0)
    assert one(gradient=x, filtered=x.conj())["gradient_cosine"] == pytest.approx((9 - 16) / 25)
