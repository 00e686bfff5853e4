"""The numpy reference of NeuralGrok's transformation against recorded values, finite differences and closed forms."""

import numpy as np
import pytest
from reference.amplifier import amplify, gradients, transform
from reference.filters import neuralgrok

CASES = ["h64_l3", "h128_l3_small", "h64_l2", "h32_l4_wide"]


def amplifier(*widths, seed=0):
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    return [rng.normal(size=shape) for shape in shapes], [rng.normal(size=out) for out, _ in shapes]


def recorded(arrays, case, what):
    count = sum(name.startswith(f"{case}.{what}") for name in arrays.files)
    return [arrays[f"{case}.{what}{layer}"] for layer in range(count)]


@pytest.mark.parametrize("case", CASES)
def test_transformed_as_recorded(golden, case):
    arrays = golden("neuralgrok_amplifier")
    ours = transform(recorded(arrays, case, "weight"), recorded(arrays, case, "bias"), arrays[f"{case}.gradient"])
    np.testing.assert_allclose(ours, arrays[f"{case}.transformed"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_gradients_as_recorded(golden, case):
    arrays = golden("neuralgrok_amplifier")
    weights, biases = recorded(arrays, case, "weight"), recorded(arrays, case, "bias")
    ours = gradients(weights, biases, arrays[f"{case}.gradient"], arrays[f"{case}.cotangent"])
    theirs = recorded(arrays, case, "grad_weight"), recorded(arrays, case, "grad_bias")
    largest = max(np.abs(array).max() for kind in theirs for array in kind)
    for mine, recorded_ in zip(ours, theirs, strict=True):
        for got, expected in zip(mine, recorded_, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * largest)


@pytest.mark.parametrize("widths", [(1, 1), (1, 6, 1), (1, 5, 4, 1), (1, 4, 3, 3, 1)])
def test_gradients_are_those_of_finite_differences(widths):
    """Central differences of step h: truncation h² and rounding ε/h are about 1e-10, a hundredth of what is allowed."""
    weights, biases = amplifier(*widths)
    rng, h = np.random.default_rng(1), 1e-5
    g, cotangent = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    exact = gradients(weights, biases, g, cotangent, c=2.0)
    largest = max(np.abs(array).max() for kind in exact for array in kind)
    assert all(np.abs(array).max() > 1e-2 * largest for array in exact[0])
    for arrays, found in zip((weights, biases), exact, strict=True):
        for array, gradient in zip(arrays, found, strict=True):
            for index in np.ndindex(array.shape):
                there, sides = array[index], []
                for array[index] in (there + h, there - h):
                    sides.append((cotangent * transform(weights, biases, g, c=2.0)).sum())
                array[index] = there
                difference = (sides[0] - sides[1]) / (2 * h)
                assert gradient[index] == pytest.approx(difference, rel=0, abs=1e-8 * largest)


def test_the_network_by_hand():
    """y = 2·relu(x − 1) − relu(−x) + 0.5."""
    weights = [np.array([[1.0], [-1.0]]), np.array([[2.0, -1.0]])]
    biases = [np.array([-1.0, 0.0]), np.array([0.5])]
    x = np.array([[-2.0, 0.0], [1.0, 3.0]])
    assert amplify(weights, biases, x).tolist() == [[-1.5, 0.5], [0.5, 4.5]]


def test_a_linear_network_by_hand():
    """MLP(x) = x·ln 2: p is proportional to 2^g, so 1 and 2 are weighed 2 : 4."""
    ours = transform([np.array([[np.log(2.0)]])], [np.array([7.0])], np.array([1.0, 2.0]), c=3.0)
    np.testing.assert_allclose(ours, 3.0 * np.array([2.0, 8.0]) / np.sqrt(68.0), rtol=1e-14)


def test_an_amplifier_that_learned_nothing_rescales():
    weights, biases = amplifier(1, 6, 1)
    g = np.random.default_rng(1).normal(size=(3, 4))
    ours = transform([np.zeros_like(weight) for weight in weights], biases, g, c=0.5)
    np.testing.assert_allclose(ours, 0.5 * g / np.linalg.norm(g), rtol=1e-14)


def test_zero_stays_zero():
    weights, biases = amplifier(1, 6, 1)
    zero = np.zeros((2, 3))
    assert not transform(weights, biases, zero).any()
    assert not any(array.any() for kind in gradients(weights, biases, zero, np.ones((2, 3))) for array in kind)


@pytest.mark.parametrize(
    ("c", "clip", "length"), [(1.0, 1.0, 0.5), (2.0, 1.0, 0.5), (0.25, 1.0, 0.25), (2.0, None, 2.0)]
)
def test_four_tensors_share_what_the_clip_leaves(c, clip, length):
    weights, biases = amplifier(1, 6, 1)
    rng = np.random.default_rng(1)
    steps = [{name: rng.normal(size=(3, 2)) for name in "abcd"} for _ in range(2)]
    for grads, out in zip(steps, neuralgrok(steps, c=c, clip=clip, amplifier=(weights, biases))[0], strict=True):
        for name, g in grads.items():
            expected = length * transform(weights, biases, g)
            np.testing.assert_allclose(out[name], expected, rtol=1e-14)
