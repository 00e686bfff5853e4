"""Small and spectral starts, and the model they leave as it is."""

import pytest
import torch
from torch import nn

from grokkit.errors import InputError
from grokkit.methods.clip_to_grok import start_rows
from grokkit.methods.starts import small_start, spectral_start
from grokkit.methods.zero_head import zero_head
from grokkit.testing.runs import small_run
from grokkit.train.loop import begin_alone


def test_small_start_multiplies_every_matrix_and_no_vector():
    started, plain = (begin_alone(small_run(name)).model for name in ("small-start(alpha=0.25)", "adamw"))
    for (name, p), q in zip(started.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, 0.25 * q if q.ndim > 1 else q), name


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_spectral_start_gives_each_hidden_matrix_one_largest_singular_value(scale):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(2, 5))
    found = spectral_start(scale)(model, None, 0).tensors
    assert list(found) == ["1.weight"]
    assert torch.linalg.svdvals(found["1.weight"])[0].item() == pytest.approx(scale * (2 / 8) ** 0.5, rel=1e-5)
    torch.testing.assert_close(found["1.weight"] / found["1.weight"].norm(), model[1].weight / model[1].weight.norm())


def test_spectral_start_serves_weights_in_half_precision():
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(2, 5)).bfloat16()
    (found,) = spectral_start()(model, None, 0).tensors.values()
    assert found.dtype is torch.bfloat16
    assert torch.linalg.svdvals(found.float())[0].item() == pytest.approx((2 / 8) ** 0.5, rel=0.01)


def test_spectral_start_takes_the_outputs_of_a_transposed_convolution_for_rows():
    model = nn.Sequential(nn.Linear(3, 8), nn.ConvTranspose1d(8, 2, 3), nn.Linear(2, 5))
    (found,) = spectral_start()(model, None, 0).tensors.values()
    assert found.shape == (8, 2, 3)
    matrix = found.transpose(0, 1).flatten(1)
    assert torch.linalg.svdvals(matrix)[0].item() == pytest.approx((2 / 24) ** 0.5, rel=1e-5)


def test_queries_keys_and_values_start_apart():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(3, 4)
            self.attention = nn.MultiheadAttention(4, 2, bias=False)
            self.head = nn.Linear(4, 3, bias=False)

    model = Attention()
    with torch.no_grad():
        model.attention.in_proj_weight[:4] *= 7.0
    found = spectral_start()(model, None, 0).tensors["attention.in_proj_weight"]
    for part in found.chunk(3):
        assert torch.linalg.svdvals(part)[0].item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("weight_norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.parametrize(("start", "place"), [(zero_head(), 2), (spectral_start(), 1)])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_weight_that_others_make_is_refused_and_not_halved_without_effect(weight_norm, start, place):
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(2, 5))
    start(model, None, 0)
    weight_norm(model[0])
    start(model, None, 0)
    weight_norm(model[place])
    with pytest.raises(InputError, match=f"sets a weight, and {place}.* only makes one with others"):
        start(model, None, 0)


@pytest.mark.parametrize("spectral_norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
@pytest.mark.parametrize("start", [zero_head(), small_start(), start_rows()])
def test_a_weight_that_is_divided_by_its_norm_is_refused_and_not_torn_or_left_as_it_is(spectral_norm, start):
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 5))
    start(model, None, 0)
    spectral_norm(model[1])
    with pytest.raises(InputError, match=r"sets a weight, and 1\..*orig.* only makes one with others"):
        start(model, None, 0)


@pytest.mark.parametrize("weight_norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_by_weight_norm_lengths_can_be_set_since_magnitudes_are_set_too(weight_norm):
    for start in (small_start(alpha=0.25), start_rows(c=3.0)):
        model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 5))
        weight_norm(model[1])
        x = torch.eye(8)
        before = model[1](x) - model[1].bias
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in start(model, None, 0).tensors.items():
                if not name.endswith("bias"):
                    own[name].copy_(tensor)
        after = model[1](x) - model[1].bias
        expected = 0.25 * before if isinstance(start, type(small_start())) else 3.0 * before / before.norm(dim=0)
        torch.testing.assert_close(after, expected)
