import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.models import FNN, fnn
from grokkit.models.matmul import precision
from grokkit.tasks import modular_task


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
    model.use_tables = False  # what they save is not subtracted
    with FlopCounterMode(display=False) as counter:
        model(torch.randint(0, 7, (11, 2))).sum().backward()
    assert counter.get_total_flops() == model.step_flops(11, 2) == 3 * model.forward_flops(11, 2)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("spec", ["a*b mod 7", "a*c + b*d - e mod 3"])
@pytest.mark.parametrize("rows", [1, 13, None])
def test_tables_change_nothing(spec, rows, bias, depth):
    task = modular_task(spec, layout="operands")
    torch.manual_seed(0)
    tokens = task.inputs_NT.shape[1]
    model = FNN(
        vocabulary=task.vocabulary, tokens=tokens, classes=task.classes, depth=depth, dim=6, width=40, bias=bias
    )
    picked = torch.randint(0, len(task.inputs_NT), (rows or 300,))  # some stand twice
    results = []
    for model.use_tables in (True, False):
        model.zero_grad()
        logits = model(task.inputs_NT[picked])
        F.cross_entropy(logits, task.targets_N[picked]).backward()
        results.append((logits.detach(), [p.grad.clone() for p in model.parameters()]))
    (tables, table_grads), (plain, plain_grads) = results
    torch.testing.assert_close(tables, plain, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(table_grads, plain_grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * max(1e-3, float(theirs.abs().max())))


def test_tables_are_used_when_rows_are_many_and_nowhere_else(monkeypatch):
    model = FNN(vocabulary=7, tokens=2, classes=7, dim=3, width=5)
    used = []
    monkeypatch.setattr(fnn, "_Network", type("Spy", (), {"apply": lambda *inputs: used.append(1)}))
    model(torch.zeros(7, 2, dtype=torch.int64))
    with precision("bf16"):
        model(torch.zeros(8, 2, dtype=torch.int64))
    assert not used
    model(torch.zeros(8, 2, dtype=torch.int64))
    assert used


def test_bad_size():
    with pytest.raises(InputError, match=r"fnn dim=0 is not possible"):
        FNN(vocabulary=7, tokens=2, classes=7, dim=0)


def test_of_features_the_embedding_is_a_linear_layer_without_a_nonlinearity():
    model = FNN(features=6, classes=1, depth=3, dim=3, width=5)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    layers = {"layers.0.weight": (5, 3), "layers.1.weight": (5, 5), "layers.2.weight": (1, 5)}
    assert shapes == {"input_embedding.weight": (3, 6), **layers}
    x = torch.randn(7, 6)
    e, (w1, w2, w3) = model.input_embedding.weight, [layer.weight for layer in model.layers]
    by_hand = torch.stack([w3 @ torch.relu(w2 @ torch.relu(w1 @ (e @ row))) for row in x])
    torch.testing.assert_close(model(x), by_hand)


def test_flops_of_features_count_the_embedding():
    model = FNN(features=6, classes=1, depth=2, dim=3, width=5)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(11, 6)).sum().backward()
    assert counter.get_total_flops() == model.step_flops(11, 6) == 3 * model.forward_flops(11, 6) - 2 * 11 * 6 * 3


@pytest.mark.parametrize(
    "inputs", [{}, {"vocabulary": 7}, {"tokens": 2}, {"vocabulary": 7, "tokens": 2, "features": 6}]
)
def test_tokens_or_features(inputs):
    with pytest.raises(InputError, match=r"^an fnn reads tokens or features: give vocabulary and tokens, or features"):
        FNN(classes=7, **inputs)


def test_under_autocast_there_is_no_table_and_gradients_come_back_in_float32():
    model, tokens = FNN(vocabulary=7, tokens=2, classes=7, depth=2, dim=4, width=8), torch.randint(0, 7, (40, 2))
    found = []
    for model.use_tables in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(tokens).square().sum()
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    for with_tables, without in zip(*found, strict=True):
        assert with_tables.dtype == torch.float32
        assert torch.equal(with_tables, without)
