"""Embeddings by linear algebra, against NumPy and against what they must find."""

import numpy as np
import pytest
import torch

from grokkit.errors import InputError
from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer.linear import linear_embedding
from grokkit.methods.groktransfer.search import Rule
from grokkit.methods.groktransfer.source import find_embedding
from grokkit.rng import stream


def features(n=400):
    """Three features, the first with the largest variance, and two classes that only the third one tells apart."""
    noise = torch.randn(n, 3, generator=stream(0, "x")) * torch.tensor([5.0, 1.0, 0.1])
    classes = torch.arange(n) % 2
    noise[:, 2] += classes
    return TransferData(train=Examples(noise, classes), validation=Examples(noise, classes), vocabulary=None, outputs=2)


def test_pca_finds_the_direction_of_the_largest_variance():
    found = linear_embedding("pca", 2, features())
    x = features().train.inputs.double().numpy()
    _, directions = np.linalg.eigh(np.cov(x.T))
    overlap = np.abs(directions[:, ::-1][:, :2].T @ found.embedding.double().numpy())
    assert np.allclose(overlap, np.eye(2), atol=1e-5)


def test_lda_finds_the_direction_that_tells_the_classes_apart():
    found = linear_embedding("lda", 1, features())
    assert abs(float(found.embedding[2, 0])) > 0.99
    assert found.seconds > 0
    assert found.flops == 2 * 2 * 400 * 9 + 10 * 27


def test_tokens_count_where_they_vary():
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    tokens = torch.cat([pairs, torch.full((25, 1), 5)], 1)  # a sign that stands in every row
    lesson = TransferData(
        train=Examples(tokens, pairs.sum(1) % 5),
        validation=Examples(tokens, pairs.sum(1) % 5),
        vocabulary=6,
        outputs=5,
    )
    stage = find_embedding("lda(dim=3)", lesson, width=16, rule=Rule(), seed=0)
    assert stage.embedding.shape == (6, 3)
    assert stage.attempts == ()
    assert stage.flops == 4 * 25 * 36 + 10 * 216
    assert stage.seconds > 0


@pytest.mark.parametrize("kind", ["pca", "lda"])
def test_more_directions_than_there_are_is_refused(kind):
    with pytest.raises(InputError, match=rf"weak={kind}\(dim=4\) is not possible: at most 3 directions here"):
        linear_embedding(kind, 4, features())
