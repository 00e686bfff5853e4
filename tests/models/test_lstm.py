"""Against ``torch.nn.LSTM`` on each row by itself, without any padding."""

import pytest
import torch
from seeds_at_once import assert_gradients_equal_one_by_one, close
from torch import nn
from torch.func import functional_call, grad
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.models import LSTM
from grokkit.models.matmul import precision

LENGTHS = (9, 3, 1, 12, 7)


def texts(lengths=LENGTHS, longest=15, vocabulary=11, seed=0):
    """Tokens 1…10, padded with 0 at the end; longer by a few than the longest row."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, vocabulary, (len(lengths), longest), generator=generator)
    return tokens * (torch.arange(longest) < torch.tensor(lengths)[:, None])


def build(seed=0, **settings):
    torch.manual_seed(seed)
    return LSTM(**{"vocabulary": 11, "classes": 2, "dim": 6, "width": 8, "init_scale": 3.0, **settings})


def row_by_row(model, tokens, lengths=LENGTHS):
    """What PyTorch's own module makes of each row cut to its length."""
    reference = nn.LSTM(6, 8, model.depth, batch_first=True)
    names = dict(model.lstm.named_parameters())

    def one(row, length):
        states, _ = functional_call(reference, names, (model.token_embeddings.weight[row[:length]][None],))
        return states[0, -1] @ model.head.weight.T + model.head.bias

    return torch.stack([one(row, length) for row, length in zip(tokens, lengths, strict=True)])


def gradients(model, outputs):
    weights = torch.linspace(-1.0, 2.0, outputs.numel()).reshape(outputs.shape)
    return torch.autograd.grad((weights * outputs).sum(), list(model.parameters()))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("form", ["library", "plain"])
def test_equals_torch_lstm_on_rows_without_padding(form, depth):
    model, tokens = build(depth=depth), texts()
    expected = row_by_row(model, tokens)
    expected_gradients = gradients(model, expected)
    if form == "library":
        outputs = model(tokens)
        found = gradients(model, outputs)
    else:
        params = dict(model.named_parameters())
        weights = torch.linspace(-1.0, 2.0, expected.numel()).reshape(expected.shape)
        outputs = torch.func.vmap(lambda p: functional_call(model, p, (tokens,)), randomness="error")(
            {name: p[None].detach() for name, p in params.items()}
        )[0]
        found = grad(lambda p: (weights * functional_call(model, p, (tokens,))).sum())(
            {name: p.detach() for name, p in params.items()}
        ).values()
    close(outputs, expected, "outputs")
    for (name, _), got, wanted in zip(model.named_parameters(), found, expected_gradients, strict=True):
        close(got, wanted, name)


def test_batched_over_seeds_equals_one_by_one():
    models = [build(seed) for seed in range(3)]
    assert_gradients_equal_one_by_one(models, torch.stack([texts(seed=seed) for seed in range(3)]))


def test_padding_has_no_influence():
    model, tokens = build(), texts()
    before = model(tokens)
    torch.testing.assert_close(model(nn.functional.pad(tokens, (0, 20))), before)
    with torch.no_grad():
        model.token_embeddings.weight[0] = 100.0
    torch.testing.assert_close(model(tokens), before, rtol=0, atol=0)


def test_a_row_without_tokens_is_read_after_one_padding():
    model = build()
    empty = torch.zeros(1, 15, dtype=torch.int64)
    assert torch.equal(model.token_embeddings.weight[0], torch.zeros(6))
    close(model(empty), row_by_row(model, empty, [1]), "outputs")
    together = model(torch.cat([empty, texts()]))
    torch.testing.assert_close(together[:1], model(empty))


def test_rows_of_similar_length_go_together_and_are_cut_to_the_longest_of_them(monkeypatch):
    model, seen = build(), []
    inner = model.lstm.forward
    monkeypatch.setattr(model.lstm, "forward", lambda x: seen.append(tuple(x.shape)) or inner(x))
    model(texts())
    assert seen == [(4, 12, 6), (1, 1, 6)]  # of rows of 9, 3, 1, 12 and 7 tokens
    seen.clear()
    model(texts([5] * 600))
    assert seen == [(64, 5, 6)] * 9 + [(24, 5, 6)]


def test_bfloat16_products_come_near():
    model, tokens = build(init_scale=1.0), texts()
    exact = model(tokens)
    with precision("bf16"):
        rounded = model(tokens)
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).detach().abs().max()) < 0.02


def test_init_scale_multiplies_every_parameter():
    for before, after in zip(build(init_scale=1.0).parameters(), build(init_scale=6.0).parameters(), strict=True):
        torch.testing.assert_close(after, 6.0 * before)


def test_flops_formula_equals_the_counter():
    model = build()
    params = {name: p.detach() for name, p in model.named_parameters()}
    tokens = texts((15,) * 5)
    with FlopCounterMode(display=False) as counter:
        torch.func.vmap(lambda p: functional_call(model, p, (tokens,)))({n: p[None] for n, p in params.items()})
    assert counter.get_total_flops() == model.forward_flops(5, 15)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_flops_of_a_step_equal_the_counter_on_plain_products(depth):
    """PyTorch's own kernel is one operator, which the counter does not look into."""
    torch.manual_seed(0)
    model = LSTM(vocabulary=11, classes=3, depth=depth, dim=4, width=6)
    with FlopCounterMode(display=False) as counter:
        states_BTW = model._recurrence(model.token_embeddings(torch.randint(1, 11, (5, 7))))
        model.head(states_BTW[:, -1]).sum().backward()
    assert counter.get_total_flops() == model.step_flops(5, 7)


@pytest.mark.parametrize("setting", ["depth", "dim", "width"])
def test_bad_size(setting):
    with pytest.raises(
        InputError, match=rf"^lstm {setting}=0 is not possible: at least 1; the paper uses 2, 64 and 25"
    ):
        build(**{setting: 0})
