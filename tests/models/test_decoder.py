import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.models import Decoder


def small(residual="grokfast", depth=2, **settings):
    torch.manual_seed(0)
    model = Decoder(vocabulary=13, positions=6, depth=depth, width=16, heads=4, residual=residual, **settings)
    for p in model.parameters():  # LayerNorm gains and zero biases would hide errors
        p.data += 0.1 * torch.randn_like(p)
    return model


class Plain(nn.Module):
    """The same function built of PyTorch's own modules, with the same parameter names."""

    def __init__(self, depth, residual):
        super().__init__()
        self.residual = residual
        self.token_embeddings = nn.Embedding(13, 16)
        self.position_embeddings = nn.Embedding(6, 16)
        self.layers = nn.ModuleList()
        for _ in range(depth):
            layer = nn.Module()
            layer.ln_1, layer.ln_2 = nn.LayerNorm(16), nn.LayerNorm(16)
            layer.attn = nn.MultiheadAttention(16, 4, batch_first=True)
            layer.mlp = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))
            self.layers.append(layer)
        self.ln_f = nn.LayerNorm(16)
        self.head = nn.Linear(16, 13, bias=False)

    def forward(self, tokens):
        length = tokens.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)
        x = self.token_embeddings(tokens) + self.position_embeddings(torch.arange(length))
        for layer in self.layers:
            normal = layer.ln_1(x)
            stream = normal if self.residual == "grokfast" else x
            x = stream + layer.attn(normal, normal, normal, attn_mask=mask, need_weights=False)[0]
            x = x + layer.mlp(layer.ln_2(x))
        return self.head(self.ln_f(x))


@pytest.mark.parametrize("residual", ["grokfast", "pre-norm"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_answer_position_equals_torch_modules_with_all_gradients(residual, depth, length):
    model, plain = small(residual, depth), Plain(depth, residual)
    plain.load_state_dict(model.state_dict())
    tokens = torch.randint(0, 13, (9, length))
    expected = plain(tokens)
    torch.testing.assert_close(model(tokens, every_position=True), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(tokens), expected[:, -1], rtol=1e-5, atol=1e-5)
    targets = torch.randint(0, 13, (9,))
    F.cross_entropy(model(tokens), targets).backward()
    F.cross_entropy(expected[:, -1], targets).backward()
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5 * max(scale, 1e-3), msg=name)
        assert length == 1 or scale > 0, f"{name} is not excited"


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("mlp", [None, 24])
def test_flops_formula_equals_the_counter(depth, mlp):
    model, tokens = Decoder(vocabulary=13, positions=6, depth=depth, width=16, mlp=mlp), torch.randint(0, 13, (7, 4))
    model.share_prefixes = False
    with FlopCounterMode(display=False) as counter:
        out = model(tokens)
    assert counter.get_total_flops() == model.forward_flops(7, 4)
    with FlopCounterMode(display=False) as counter:
        model(tokens).sum().backward()
    assert counter.get_total_flops() == model.step_flops(7, 4) == 3 * model.forward_flops(7, 4)
    assert out.shape == (7, 13)


@pytest.mark.parametrize("depth", [1, 2])
def test_flops_of_a_model_that_answers_everywhere_equal_the_counter(depth):
    model = Decoder(vocabulary=13, positions=6, depth=depth, width=16, every_position=True)
    with FlopCounterMode(display=False) as counter:
        out = model(torch.randint(0, 13, (7, 4)))
    assert out.shape == (7, 4, 13)
    assert counter.get_total_flops() == model.forward_flops(7, 4)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert 3 * counter.get_total_flops() == 2 * model.step_flops(7, 4)


def test_size_of_the_published_model():
    model = Decoder(vocabulary=99, positions=5)
    assert sum(p.numel() for p in model.parameters()) == 422_784  # "423k" in the paper's setting


def test_an_mlp_has_the_width_that_it_is_given():
    model = Decoder(vocabulary=99, positions=5, width=16, mlp=24)
    assert [tuple(layer.mlp[0].weight.shape) for layer in model.layers] == [(24, 16), (24, 16)]
    assert Decoder(vocabulary=99, positions=5, width=16).layers[0].mlp[0].weight.shape == (64, 16)


def test_init_scale_leaves_layer_norms():
    torch.manual_seed(0)
    plain = Decoder(vocabulary=13, positions=6, width=16)
    torch.manual_seed(0)
    scaled = Decoder(vocabulary=13, positions=6, width=16, init_scale=0.5)
    for (name, a), b in zip(plain.named_parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(b, a if "ln_" in name else 0.5 * a)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "width=128 is not divisible by heads=3"),
        ({"mlp": 0}, "mlp=0 is not possible: at least 1"),
        ({"depth": 0}, "depth=0 is not possible: at least 1"),
        ({"residual": "prenorm"}, "did you mean 'pre-norm'"),
        ({"init_scale": 0.0}, "init_scale=0.0 is not possible"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Decoder(vocabulary=9, positions=5, **settings)
