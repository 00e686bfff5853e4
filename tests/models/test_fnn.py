import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.models import FNN


def test_is_an_embedding_and_bias_free_linear_layers():
    model = FNN(vocabulary=7, tokens=2, classes=7, depth=2, dim=3, width=5)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == {"token_embeddings.weight": (7, 3), "layers.0.weight": (5, 6), "layers.1.weight": (7, 5)}
    tokens = torch.tensor([[1, 4], [6, 0]])
    e, (w1, w2) = model.token_embeddings.weight, [layer.weight for layer in model.layers]
    by_hand = torch.stack([w2 @ torch.relu(w1 @ torch.cat([e[a], e[b]])) for a, b in tokens])
    torch.testing.assert_close(model(tokens), by_hand)


def test_bias_is_an_option():
    assert FNN(vocabulary=7, tokens=2, classes=7, bias=True).layers[0].bias is not None


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_flops_formula_equals_the_counter(depth):
    model = FNN(vocabulary=7, tokens=2, classes=7, depth=depth, dim=3, width=5)
    with FlopCounterMode(display=False) as counter:
        model(torch.randint(0, 7, (11, 2))).sum().backward()
    assert counter.get_total_flops() == 3 * model.forward_flops(11, 2)


def test_bad_size():
    with pytest.raises(InputError, match=r"fnn dim=0 is not possible"):
        FNN(vocabulary=7, tokens=2, classes=7, dim=0)
