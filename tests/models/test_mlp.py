import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.models import MLP


def test_is_linear_layers_with_biases_and_nothing_else():
    model = MLP(features=6, classes=4, depth=3, width=5)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == {
        "layers.0.weight": (5, 6),
        "layers.0.bias": (5,),
        "layers.1.weight": (5, 5),
        "layers.1.bias": (5,),
        "layers.2.weight": (4, 5),
        "layers.2.bias": (4,),
    }
    one, two, three = model.layers
    x = torch.randn(7, 6)
    hidden = torch.relu(x @ one.weight.T + one.bias)
    hidden = torch.relu(hidden @ two.weight.T + two.bias)
    torch.testing.assert_close(model(x), hidden @ three.weight.T + three.bias)


def test_the_published_network_has_199_210_parameters():
    assert sum(p.numel() for p in MLP(features=784, classes=10).parameters()) == 784 * 200 + 200 * 200 + 200 * 10 + 410


def test_init_scale_multiplies_every_parameter():
    plain, scaled = _seeded(1.0), _seeded(8.0)
    for before, after in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert float(before.detach().abs().min()) > 0
        torch.testing.assert_close(after, 8.0 * before)


def _seeded(init_scale):
    torch.manual_seed(0)
    return MLP(features=6, classes=4, width=5, init_scale=init_scale)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_flops_formula_equals_the_counter(depth):
    model = MLP(features=6, classes=3, depth=depth, width=5)
    with FlopCounterMode(display=False) as counter:
        out = model(torch.randn(11, 6))
    assert counter.get_total_flops() == model.forward_flops(11, 6)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == model.step_flops(11, 6) - model.forward_flops(11, 6)


def test_a_step_of_the_published_size_costs_less_than_three_forward_passes():
    """784 → 200 → 200 → 10: the first layer has most of the weights, and its inputs need no gradient."""
    model = MLP(features=784, classes=10)
    assert 3 * model.forward_flops(64, 784) / model.step_flops(64, 784) == pytest.approx(1.357, abs=1e-3)


@pytest.mark.parametrize("setting", ["depth", "width"])
def test_bad_size(setting):
    with pytest.raises(InputError, match=rf"^mlp {setting}=0 is not possible: at least 1; the paper uses 3 and 200$"):
        MLP(features=6, classes=3, **{setting: 0})
