import math

import numpy as np
import pytest
import torch

from grokkit.probe.projection import pca
from grokkit.rng import stream

EMPTY = {"number": [], "x": [], "y": [], "explained_x": [], "explained_y": []}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "projection"), dtype=torch.float64)


def plane(found):
    return np.stack([found["x"], found["y"]], 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rectangle_turned_into_many_dimensions_lies_flat_again(dtype):
    corners = torch.tensor([[5.0, 1.0], [5.0, -1.0], [-5.0, 1.0], [-5.0, -1.0]], dtype=torch.float64)
    axes, _ = torch.linalg.qr(normal(16, 16))
    found = pca((corners @ axes[:2] + 100).to(dtype))
    assert found["number"] == [0, 1, 2, 3]
    assert found["explained_x"] == pytest.approx([25 / 26] * 4, abs=1e-6)
    assert found["explained_y"] == pytest.approx([1 / 26] * 4, abs=1e-6)
    assert np.abs(plane(found)) == pytest.approx(np.abs(corners.numpy()), abs=1e-4)


def test_against_the_eigenvectors_of_the_covariance():
    embedding = normal(23, 6) * torch.arange(1, 7)
    found = pca(embedding)
    values, vectors = np.linalg.eigh(np.cov(embedding.numpy().T))
    assert found["explained_x"][0] == pytest.approx(values[-1] / values.sum())
    assert found["explained_y"][0] == pytest.approx(values[-2] / values.sum())
    expected = (embedding.numpy() - embedding.numpy().mean(0)) @ vectors[:, [-1, -2]]
    assert np.abs(plane(found)) == pytest.approx(np.abs(expected))


def test_the_farthest_row_is_on_the_positive_side_whatever_the_sign_of_the_embedding():
    embedding = normal(23, 6)
    at = plane(pca(embedding))
    assert (at.max(0) >= -at.min(0)).all()
    assert plane(pca(-embedding)) == pytest.approx(at)


def test_fewer_than_two_dimensions():
    found = pca(torch.tensor([[1.0], [2.0], [6.0]]))
    assert found["x"] == pytest.approx([-2.0, -1.0, 3.0])
    assert found["y"] == [0.0, 0.0, 0.0]
    assert (found["explained_x"][0], found["explained_y"][0]) == (1.0, 0.0)


def test_equal_rows_and_what_is_not_finite_have_none():
    broken = normal(5, 3)
    broken[1, 1] = math.inf
    assert pca(torch.full((5, 3), 0.1)) == pca(broken) == pca(broken * math.nan) == EMPTY
