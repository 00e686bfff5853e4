"""What is done to the loss: values by hand, and the gradient that is left where rows are fitted."""

import pytest
import torch
import torch.nn.functional as F

from grokkit.errors import InputError
from grokkit.methods.compression import delayed_compression
from grokkit.methods.logit_penalty import logit_penalty
from grokkit.methods.stablemax import stablemax
from grokkit.methods.temperature import logit_temperature


def published_stablemax(outputs, targets):
    """As the authors write it, in float64."""
    z = outputs.double()
    s = torch.where(z < 0, 1 / (1 - z), z + 1)
    return -(s / s.sum(-1, keepdim=True)).log().gather(1, targets[:, None]).mean()


@pytest.mark.parametrize("scale", [0.1, 1.0, 50.0, 1e4])
def test_stablemax_is_the_authors_and_so_is_its_gradient(scale):
    torch.manual_seed(0)
    outputs, targets = (scale * torch.randn(20, 7)).requires_grad_(), torch.randint(7, (20,))
    ours, theirs = stablemax()(F.cross_entropy)(outputs, targets), published_stablemax(outputs, targets)
    torch.testing.assert_close(ours.double(), theirs, rtol=2e-6, atol=1e-7)
    slopes = [torch.autograd.grad(loss, outputs)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-7 / scale)


def test_stablemax_by_hand_and_where_the_softmax_is_full():
    value = stablemax()(F.cross_entropy)(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))
    assert float(value) == pytest.approx(-torch.tensor(4 / 4.5).log().item(), rel=1e-6)
    full = torch.tensor([[200.0, 0.0]], requires_grad=True)
    assert not torch.autograd.grad(F.cross_entropy(full, torch.tensor([0])), full)[0].any()
    (left,) = torch.autograd.grad(stablemax()(F.cross_entropy)(full, torch.tensor([0])), full)
    assert left[0, 1].item() == pytest.approx(1 / 202, rel=1e-5)


def test_at_zero_stablemax_has_a_gradient():
    z = torch.zeros(1, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(stablemax()(F.cross_entropy)(z, torch.tensor([1])), z)
    torch.testing.assert_close(slope, torch.tensor([[1 / 3, -2 / 3, 1 / 3]]))


def test_the_penalty_by_hand():
    outputs = torch.tensor([[1.0, -2.0], [3.0, 0.0]], requires_grad=True)
    loss = logit_penalty(0.4)(lambda z, y: 7.0 * z[0, 0])(outputs, torch.tensor([0, 0]))
    assert loss.item() == pytest.approx(7.0 + 0.4 * (1 + 4 + 9) / 4)
    (slope,) = torch.autograd.grad(loss, outputs)
    torch.testing.assert_close(slope, torch.tensor([[7.0 + 0.2, -0.4], [0.6, 0.0]]))


@pytest.mark.parametrize("lamb", [-1.0, float("nan"), "much", True])
def test_no_penalty_is_refused_in_one_line(lamb):
    with pytest.raises(InputError, match="lamb=.* is not possible"):
        logit_penalty(lamb)


@pytest.mark.parametrize(("target", "expected"), [(0, 0.5 * (5.0 + 2.0)), (1, 0.0)])
def test_a_fitted_batch_is_compressed_and_no_other(target, expected):
    weights = {"w": torch.tensor([[3.0, 4.0]], requires_grad=True), "b": torch.ones(2), "v": torch.tensor([[2.0]])}
    made = delayed_compression(lamb=0.5, at=0.99)
    assert made(F.cross_entropy) is F.cross_entropy
    penalty = made.penalty(torch.tensor([[2.0, 1.0]]), torch.tensor([target]), weights)
    assert penalty.item() == pytest.approx(expected)
    (slope,) = torch.autograd.grad(penalty, weights["w"])
    torch.testing.assert_close(slope, torch.tensor([[0.3, 0.4]]) if expected else torch.zeros(1, 2))


def test_a_matrix_of_zeros_is_not_torn_by_its_norm():
    weights = {"w": torch.zeros(2, 2, requires_grad=True)}
    penalty = delayed_compression(at=0.0).penalty(torch.zeros(1, 2), torch.tensor([0]), weights)
    assert not torch.autograd.grad(penalty, weights["w"])[0].any()


MATRIX = {"w": torch.zeros(2, 2)}


@pytest.mark.parametrize(
    ("outputs", "targets", "weights", "message"),
    [
        (torch.zeros(2, 1), torch.zeros(2, 1), MATRIX, "needs targets that are classes, and these are numbers"),
        (
            torch.zeros(2, 3),
            {"label": torch.zeros(2)},
            MATRIX,
            "needs targets that are classes, and these are in a dict",
        ),
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 4, dtype=torch.int64),
            MATRIX,
            r"the classes in their last .* \(2, 3, 4\)",
        ),
        (torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), MATRIX, r"the classes in their last .* \(2, 1\)"),
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), {"b": torch.zeros(2)}, "the network has none"),
    ],
)
def test_what_cannot_be_compressed_is_refused_in_one_line(outputs, targets, weights, message):
    with pytest.raises(InputError, match=message) as caught:
        delayed_compression().penalty(outputs, targets, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made", [stablemax(), logit_temperature(), logit_penalty()])
def test_outputs_that_are_no_tensor_are_refused_in_one_line(made):
    loss = made(lambda outputs, targets: F.cross_entropy(outputs["logits"], targets))
    with pytest.raises(InputError, match="needs outputs that are one tensor, and the network gives a dict"):
        loss({"logits": torch.zeros(2, 3)}, torch.tensor([0, 1]))
