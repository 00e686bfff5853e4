"""GrokTransfer where inputs are images or texts: which weak models are tried, and what becomes of the target."""

import re

import pytest
import torch
from cards import CARDS
from torch.utils.flop_counter import FlopCounterMode

from grokkit import InputError, groktransfer, merge_embedding
from grokkit.methods import Examples, TransferData
from grokkit.methods.groktransfer.factorized import transfer_embedding
from grokkit.methods.groktransfer.search import Rule, full_rank, ladder_for, rungs
from grokkit.methods.groktransfer.source import find_embedding
from grokkit.methods.groktransfer.weak import Trial, parse_weak
from grokkit.models import FNN, LSTM, MLP, Bag, Decoder, GraphConv
from grokkit.models.embedding import embedding_of

MODELS = {
    "mlp": lambda: MLP(features=6, classes=3, width=20),
    "fnn": lambda: FNN(features=6, classes=3, dim=8, width=20),
    "lstm": lambda: LSTM(vocabulary=9, classes=1, dim=5, width=7),
    "decoder": lambda: Decoder(vocabulary=9, positions=4, width=8, heads=2),
}


def images(rows=120):
    """Three clusters in six dimensions."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 3, (rows,), generator=generator)
    centres = 3 * torch.eye(3).repeat(1, 2)
    inputs = centres[targets] + torch.randn(rows, 6, generator=generator)
    half = rows // 2
    parts = Examples(inputs[:half], targets[:half]), Examples(inputs[half:], targets[half:])
    return TransferData(train=parts[0], validation=parts[1], vocabulary=None, outputs=3)


def texts(rows=120):
    """Rows with more of tokens 1–4 or of 5–8, padded at the end; the last five places of every one are padding."""
    generator = torch.Generator().manual_seed(0)
    signs = 2.0 * torch.randint(0, 2, (rows,), generator=generator) - 1
    tilt = torch.where(signs[:, None] > 0, 0.8, 0.2).expand(-1, 10)
    high = (torch.rand(rows, 10, generator=generator) < tilt).long()
    tokens = torch.randint(1, 5, (rows, 10), generator=generator) + 4 * high
    lengths = torch.randint(3, 11, (rows, 1), generator=generator)
    tokens = torch.nn.functional.pad(tokens * (torch.arange(10) < lengths), (0, 5))
    half = rows // 2
    return TransferData(
        train=Examples(tokens[:half], signs[:half]),
        validation=Examples(tokens[half:], signs[half:]),
        vocabulary=9,
        outputs=1,
        loss=lambda out, y: torch.nn.functional.softplus(-out.flatten() * y).mean(),
        correct=lambda out, y: out.flatten() * y > 0,
    )


@pytest.mark.parametrize(
    ("model", "lesson", "kinds"),
    [
        ("mlp", images, {"mlp"}),
        ("fnn", images, {"fnn"}),
        ("lstm", texts, {"bag"}),
        ("decoder", texts, {"fnn", "decoder"}),
    ],
)
def test_auto_tries_networks_that_begin_as_the_target(model, lesson, kinds):
    own = ladder_for(MODELS[model](), lesson())
    models = rungs("auto", own)
    assert {weak.card.name for weak in models} == kinds
    for weak in models:
        weak.build(lesson(), lesson().train.inputs, 0)
    assert full_rank(20, 32, own).card == models[0].card


@pytest.mark.parametrize(
    ("weak", "lesson"),
    [
        ("mlp(depth=3,width=16)", images),
        ("mlp(width=8)", images),
        ("bag(dim=4)", texts),
        ("lstm(dim=4,width=8)", texts),
    ],
)
def test_a_weak_model_learns_and_its_cost_is_counted(weak, lesson):
    own = lesson()
    trial = Trial(parse_weak(weak), own, lr=0.03, wd=0.0, seed=0)
    trial.advance(60)
    assert min(trial.train_accuracy, trial.validation_accuracy) > 0.8
    rows, places = own.train.inputs.shape  # all places: the last ones, padding in every row, too
    model = parse_weak(weak).build(own, own.train.inputs, 0)
    assert trial.flops == 60 * model.step_flops(rows, places) + model.forward_flops(rows, places)
    assert trial.embedding().shape == (
        9 if lesson is texts else 6,
        model.layers[0].out_features if lesson is images else 4,
    )


@pytest.mark.parametrize(
    ("target", "lesson", "module"), [("mlp", images, "layers.0"), ("lstm", texts, "token_embeddings")]
)
def test_the_target_s_first_layer_becomes_a_product_and_itself_again(target, lesson, module):
    own, model = lesson(), MODELS[target]()
    rule = Rule(lr=0.03, wd=0.0, steps=100)
    stage = groktransfer(model, own.train, own.validation, rule=rule, loss=own.loss)
    assert stage.reached
    place = model.get_submodule(module)
    factors = place.parametrizations.weight
    torch.testing.assert_close(factors.original0, _without_padding(stage.embedding, target))
    torch.testing.assert_close(embedding_of(place), (factors.original0 @ factors.original1).detach())
    model(own.train.inputs).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    before = model(own.train.inputs)
    merge_embedding(model)
    torch.testing.assert_close(model(own.train.inputs), before)


def _without_padding(embedding, target):
    embedding = embedding.clone()
    if target == "lstm":
        embedding[0] = 0
    return embedding


def test_full_rank_is_as_wide_as_the_target():
    found = find_embedding(
        "fullrank(width=32)", images(), width=20, rule=Rule(steps=10), seed=0, ladder=("mlp(depth=3,width=16)",)
    )
    assert found.embedding.shape == (6, 20)
    assert {attempt.weak for attempt in found.attempts} == {"mlp(depth=3,width=20)"}
    found = find_embedding("fullrank(width=32)", texts(), width=5, rule=Rule(steps=10), seed=0, ladder=("bag(dim=8)",))
    assert {attempt.weak for attempt in found.attempts} == {"bag(dim=5)"}


@pytest.mark.parametrize(
    ("weak", "lesson"), [("mlp(width=8)", texts), ("bag(dim=4)", images), ("lstm(dim=4,width=8)", images)]
)
def test_a_weak_model_that_cannot_read_the_inputs(weak, lesson):
    with pytest.raises(
        InputError, match=rf"^{re.escape(weak)} reads (numbers|text), and this task's inputs are .*; take "
    ):
        find_embedding(weak, lesson(), width=8, rule=Rule(steps=10), seed=0)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.start and "weak" in card.files])
def test_a_graph_network_has_no_embedding_to_transfer(name):
    card = CARDS[name]
    assert "qm9" not in card.recipes
    start = card.start(**card.default_overrides)
    start.check(MODELS["mlp"](), images())
    with pytest.raises(InputError, match="graph-conv has none: .* leave groktransfer and its controls out"):
        start.check(GraphConv(features=5), images())


def test_a_low_rank_start_of_the_first_layer_keeps_its_size():
    torch.manual_seed(0)
    model = MLP(features=600, classes=10, init_scale=8.0)
    before = float(model.layers[0].weight.detach().norm())
    transfer_embedding(model, torch.randn(600, 16))
    assert float(model.layers[0].weight.detach().norm()) == pytest.approx(before, rel=0.1)


def test_a_bag_is_the_mean_of_its_words():
    torch.manual_seed(0)
    bag = Bag(vocabulary=9, classes=2, dim=4)
    tokens = torch.tensor([[3, 5, 5, 0, 0], [8, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    e, head = bag.token_embeddings.weight, bag.head
    means = torch.stack([(e[3] + 2 * e[5]) / 3, e[8], torch.zeros(4)])
    torch.testing.assert_close(bag(tokens), means @ head.weight.T + head.bias)
    sums = 2 * 3 * 5 * 4  # which are no product to the counter, forward or backward
    with FlopCounterMode(display=False) as counter:
        out = bag(tokens)
    assert counter.get_total_flops() == bag.forward_flops(3, 5) - sums
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == bag.step_flops(3, 5) - bag.forward_flops(3, 5) - sums
    with pytest.raises(InputError, match="bag dim=0 is not possible"):
        Bag(vocabulary=9, classes=2, dim=0)
