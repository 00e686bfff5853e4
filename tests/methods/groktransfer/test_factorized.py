"""Transfer and merge: the same function before and after, in whatever model, optimizer and dtype."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.weight_norm import weight_norm as old_weight_norm

from grokkit import InputError, attach, grokfast_ema, merge_embedding, transfer_embedding
from grokkit.models import FNN, Decoder
from grokkit.models.embedding import embedding_of
from grokkit.rng import stream

MODELS = {
    "fnn": lambda: FNN(vocabulary=7, tokens=2, classes=7, depth=2, dim=12, width=9),
    "decoder": lambda: Decoder(vocabulary=7, positions=3, depth=1, width=8, heads=2),
}
TOKENS = torch.cartesian_prod(torch.arange(7), torch.arange(7))
TARGETS = (TOKENS.sum(1)) % 7


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed, "normal"))


def has_factors(model):
    return any(name.endswith("weight.original1") for name, _ in model.named_parameters())


def transferred(kind="fnn", **settings):
    model = MODELS[kind]()
    transfer_embedding(model, normal(7, 3), generator=stream(0, "b"), **settings)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_the_embedding_is_the_product_and_has_the_size_it_replaces(kind):
    model = MODELS[kind]()
    before = model.token_embeddings.weight.detach().norm()
    transfer_embedding(model, normal(7, 3), generator=stream(0, "b"))
    a, b = model.token_embeddings.parameters()
    assert torch.equal(a, normal(7, 3))
    assert torch.equal(model.token_embeddings.weight, a @ b)
    sizes = []
    for seed in range(200):
        other = MODELS[kind]()
        other.token_embeddings.weight.data.mul_(float(before) / float(other.token_embeddings.weight.detach().norm()))
        transfer_embedding(other, normal(7, 3), generator=stream(seed, "b"))
        sizes.append(float(other.token_embeddings.weight.detach().norm()) ** 2)
    assert sum(sizes) / len(sizes) == pytest.approx(float(before) ** 2, rel=0.05)


@pytest.mark.parametrize("kind", MODELS)
def test_merging_leaves_the_outputs_and_makes_an_ordinary_model(kind):
    model = transferred(kind)
    before = model(TOKENS)
    assert has_factors(model)
    merge_embedding(model)
    assert not has_factors(model)
    torch.testing.assert_close(model(TOKENS), before, rtol=1e-6, atol=1e-6)
    plain = MODELS[kind]()
    assert type(model.token_embeddings) is nn.Embedding
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(TOKENS), model(TOKENS))


def test_both_factors_are_trained_or_only_b():
    for trainable in (True, False):
        model = transferred(trainable=trainable)
        F.cross_entropy(model(TOKENS), TARGETS).backward()
        a, b = model.token_embeddings.parameters()
        assert (a.grad is not None) is trainable
        assert b.grad.abs().max() > 0
        merge_embedding(model)
        assert model.token_embeddings.weight.requires_grad


def test_gradients_of_the_factors_are_those_of_the_product():
    model = transferred("fnn").double()
    loss = F.cross_entropy(model(TOKENS), TARGETS)
    a, b = model.token_embeddings.parameters()
    g_a, g_b = torch.autograd.grad(loss, [a, b])
    merge_embedding(model)
    (g,) = torch.autograd.grad(F.cross_entropy(model(TOKENS), TARGETS), [model.token_embeddings.weight])
    torch.testing.assert_close(g_a, g @ b.T)
    torch.testing.assert_close(g_b, a.T @ g)


def step(model, optimizer):
    loss = F.cross_entropy(model(TOKENS), TARGETS)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
}


def test_under_sgd_the_next_step_is_that_of_the_ordinary_model():
    model = transferred().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        step(model, optimizer)
    factorized, merged = model, copy.deepcopy(model)
    other = torch.optim.SGD(merged.parameters(), lr=0.1)
    merge_embedding(merged, other)
    plain = FNN(vocabulary=7, tokens=2, classes=7, depth=2, dim=12, width=9).double()
    plain.load_state_dict(merged.state_dict())
    losses = [
        step(merged, other),
        step(plain, torch.optim.SGD(plain.parameters(), lr=0.1)),
        step(factorized, optimizer),
    ]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])
    for name, p in plain.named_parameters():
        torch.testing.assert_close(merged.get_parameter(name), p)
    for own, of_merged in zip(factorized.layers.parameters(), merged.layers.parameters(), strict=True):
        torch.testing.assert_close(own, of_merged)  # all but the embedding step as they would have


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("named", [False, True])
def test_the_optimizer_goes_on_with_the_merged_weight_in_its_place(kind, named):
    model = transferred()
    embedding = list(model.token_embeddings.named_parameters(prefix="token_embeddings"))
    others = list(model.layers.named_parameters(prefix="layers"))
    groups = [{"params": others if named else [p for _, p in others]}]
    groups.append({"params": embedding if named else [p for _, p in embedding], "lr": 0.02})
    optimizer = OPTIMIZERS[kind](groups)
    step(model, optimizer)
    kept = copy.deepcopy({p: dict(optimizer.state[p]) for p in model.layers.parameters() if p in optimizer.state})
    merge_embedding(model, optimizer)
    weight = model.token_embeddings.weight
    assert optimizer.param_groups[1]["params"] == [weight]
    assert optimizer.param_groups[1]["lr"] == 0.02
    if named:
        assert optimizer.param_groups[1]["param_names"] == ["token_embeddings.weight"]
    assert weight not in optimizer.state
    known = set(model.parameters())
    assert all(p in known for p in optimizer.state)
    for (_, before), p in zip(kept.items(), model.layers.parameters(), strict=False):
        for key, value in before.items():
            assert torch.equal(torch.as_tensor(optimizer.state[p][key]), torch.as_tensor(value))
    before = weight.detach().clone()
    step(model, optimizer)
    assert not torch.equal(weight, before)
    again = OPTIMIZERS[kind]([{"params": list(model.layers.parameters())}, {"params": [weight]}])
    again.load_state_dict(optimizer.state_dict())


def test_an_attached_transform_goes_on():
    model = transferred()
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.01)
    handle = attach(optimizer, grokfast_ema())
    for _ in range(3):
        step(model, optimizer)
    merge_embedding(model, optimizer)
    step(model, optimizer)
    g = model.token_embeddings.weight.grad.clone()
    assert handle.parameters.keys() == dict(model.named_parameters()).keys()
    assert g.abs().max() > 0
    restored = torch.optim.AdamW(model.named_parameters(), lr=0.01)
    attach(restored, grokfast_ema())
    restored.load_state_dict(optimizer.state_dict())
    handle.detach()


def test_what_is_tied_stays_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 12)
            self.head = nn.Linear(12, 7, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            return self.head(self.embedding(tokens).sum(1).tanh())

    model = Tied()
    transfer_embedding(model, normal(7, 3))
    assert len(list(model.parameters())) == 2
    assert torch.equal(model.embedding.weight, model.head.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(model, optimizer)
    before = model(TOKENS)
    merge_embedding(model, optimizer)
    assert model.head.weight is model.embedding.weight
    torch.testing.assert_close(model(TOKENS), before)
    assert list(model.parameters()) == [model.embedding.weight] == optimizer.param_groups[0]["params"]


class Pair(nn.Module):
    """Two embeddings, as a translator's."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(7, 12), nn.Embedding(7, 12)
        self.head = nn.Linear(24, 7, bias=False)

    def forward(self, tokens):
        return self.head(torch.cat([self.source(tokens[:, 0]), self.target(tokens[:, 1])], 1))


def test_two_products_are_merged_each_into_its_own_weight():
    model = Pair()
    for seed, module in enumerate(("source", "target")):
        transfer_embedding(model, normal(7, 3, seed=seed), module)
    optimizer = torch.optim.AdamW(model.named_parameters(), lr=0.01)
    step(model, optimizer)
    before = model(TOKENS)
    merge_embedding(model, optimizer)
    torch.testing.assert_close(model(TOKENS), before)
    assert model.source.weight is not model.target.weight
    (group,) = optimizer.param_groups
    assert {*group["params"]} == {*model.parameters()}
    assert sorted(group["param_names"]) == ["head.weight", "source.weight", "target.weight"]


def test_of_two_products_none_is_merged_if_the_optimizer_does_not_train_one():
    model = Pair()
    for module in ("source", "target"):
        transfer_embedding(model, normal(7, 3), module)
    optimizer = torch.optim.SGD(model.source.parameters(), lr=0.1)
    with pytest.raises(InputError, match="trains neither factor of the embedding target"):
        merge_embedding(model, optimizer)
    assert len(list(model.source.parameters())) == 2, "it is as it was"


def test_a_weight_that_is_tied_under_another_name_is_refused():
    model = nn.Sequential(nn.Embedding(7, 12))
    model.register_parameter("out", model[0].weight)
    with pytest.raises(InputError, match="the weight of 0 is its parameter out as well.*weight of an nn.Linear"):
        transfer_embedding(model, normal(7, 3))
    assert model.get_parameter("out") is model[0].weight, "it is as it was"


def test_a_padding_row_stays_zero_and_merges_as_zero():
    model = nn.Sequential(nn.Embedding(7, 12, padding_idx=2), nn.Flatten(), nn.Linear(24, 7))
    transfer_embedding(model, normal(7, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        step(model, optimizer)
    merge_embedding(model, optimizer)
    assert model[0].padding_idx == 2
    assert (model[0].weight[2] == 0).all()
    assert (model[0].weight[[0, 1, 3]] != 0).any()


@pytest.mark.parametrize("bias", [False, True])
def test_a_first_linear_layer_takes_the_transpose(bias):
    model = nn.Sequential(nn.Linear(9, 5, bias=bias), nn.ReLU(), nn.Linear(5, 1))
    a = normal(9, 2)
    transfer_embedding(model, a, generator=stream(0, "b"))
    x = normal(4, 9, seed=1)
    b = model[0].parametrizations.weight.original1
    expected = x @ a @ b + (model[0].bias if bias else 0)
    torch.testing.assert_close(model[0](x), expected)
    before = model(x)
    merge_embedding(model)
    torch.testing.assert_close(model(x), before)
    assert model[0].weight.shape == (5, 9)


def test_dtype_and_source_are_the_targets_own():
    model = MODELS["fnn"]().bfloat16()
    source = nn.Embedding(7, 3)
    transfer_embedding(model, source)
    a, b = model.token_embeddings.parameters()
    assert a.dtype == b.dtype == torch.bfloat16
    with torch.no_grad():
        a.zero_()
    assert source.weight.abs().max() > 0
    merge_embedding(model)
    assert model.token_embeddings.weight.dtype == torch.bfloat16


def test_a_model_is_taken_for_its_embedding():
    weak = FNN(vocabulary=7, tokens=2, classes=7, depth=2, dim=3, width=5)
    model = MODELS["decoder"]()
    transfer_embedding(model, weak)
    assert torch.equal(next(model.token_embeddings.parameters()), weak.token_embeddings.weight)
    layer = nn.Linear(4, 3)
    assert torch.equal(embedding_of(layer), layer.weight.T)


def two_embeddings():
    return nn.ModuleDict({"one": nn.Embedding(7, 4), "two": nn.Embedding(7, 4)})


@pytest.mark.parametrize(
    ("model", "embedding", "settings", "message"),
    [
        (MODELS["fnn"], normal(6, 3), {}, r"0 embeddings .* 6 rows.*token_embeddings \(7 rows\).*module="),
        (MODELS["fnn"], normal(6, 3), {"module": "token_embeddings"}, "has 6 rows and token_embeddings has 7"),
        (MODELS["fnn"], normal(7, 3), {"module": "token_embedings"}, "token_embeddings"),
        (MODELS["fnn"], normal(7, 3), {"module": "layers"}, "layers is ModuleList; it must be nn.Embedding"),
        (MODELS["fnn"], torch.zeros(7, 3), {}, "norm 0; it must be finite and not zero"),
        (MODELS["fnn"], torch.full((7, 3), torch.inf), {}, "norm inf"),
        (MODELS["fnn"], torch.ones(7), {}, r"shape \(7,\)"),
        (MODELS["fnn"], torch.ones(7, 3, dtype=torch.int64), {}, "torch.int64"),
        (two_embeddings, normal(7, 3), {}, r"2 embeddings .* one \(7 rows\), two \(7 rows\)"),
        (lambda: nn.Embedding(7, 4, max_norm=1.0), normal(7, 3), {}, "max_norm=1.0.*without max_norm"),
        (lambda: nn.Embedding(7, 4, sparse=True), normal(7, 3), {}, "sparse=True"),
        (lambda: nn.Embedding(7, 4, scale_grad_by_freq=True), normal(7, 3), {}, "scale_grad_by_freq"),
        (nn.ReLU, normal(7, 3), {}, "no nn.Embedding, nn.EmbeddingBag or nn.Linear"),
        (lambda: transferred(), normal(7, 3), {}, "parametrized weight already.*merge_embedding"),
        (lambda: old_weight_norm(nn.Embedding(7, 4)), normal(7, 3), {}, "made of other tensors, by weight norm"),
        (lambda: old_spectral_norm(nn.Linear(7, 4)), normal(7, 3), {}, "made of other tensors, by weight norm"),
        (lambda: prune.identity(nn.Linear(7, 4), "weight"), normal(7, 3), {}, "weight norm, spectral norm or pruning"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_what_cannot_be_is_refused_and_nothing_has_changed(model, embedding, settings, message):
    model = model()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        transfer_embedding(model, embedding, **settings)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_a_bag_s_table_is_its_embedding(mode):
    model = nn.Sequential(nn.EmbeddingBag(7, 16, mode=mode), nn.Linear(16, 7))
    transfer_embedding(model, normal(7, 3))
    assert {name for name, _ in model.named_parameters() if "original" in name} == {
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
    }
    before = model(TOKENS)
    merge_embedding(model)
    assert torch.equal(model(TOKENS), before)
    assert torch.equal(embedding_of(model), model[0].weight)


def test_within_autocast_the_weight_is_what_it_is_outside():
    """As an ordinary embedding's, which is looked up and not multiplied."""
    model = transferred("decoder")
    outside = model.token_embeddings(TOKENS)
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.token_embeddings(TOKENS)
        transfer_embedding(MODELS["fnn"](), normal(7, 3))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_what_was_frozen_is_frozen_after_merging():
    model = transferred(trainable=False)
    for p in model.token_embeddings.parameters():
        p.requires_grad_(False)
    merge_embedding(model)
    assert not model.token_embeddings.weight.requires_grad


def test_nothing_to_merge_and_a_foreign_optimizer_are_refused():
    with pytest.raises(InputError, match="nothing to merge"):
        merge_embedding(MODELS["fnn"]())
    model = transferred()
    with pytest.raises(InputError, match="trains neither factor"):
        merge_embedding(model, torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1))
    assert has_factors(model), "it is as it was"


def test_hugging_face_s_gpt2_round_trips(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=19, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    transfer_embedding(model, normal(19, 4))
    tokens = torch.arange(8)[None]
    before = model(tokens).logits
    assert model.lm_head.weight.shape == (19, 16)
    model.save_pretrained(tmp_path / "as a Trainer does in between")
    own = transformers.GPT2LMHeadModel._tied_weights_keys
    assert set(model._tied_weights_keys) == {*own, *(f"lm_head.parametrizations.weight.original{n}" for n in (0, 1))}
    merge_embedding(model)
    assert model._tied_weights_keys == own
    torch.testing.assert_close(model(tokens).logits, before, rtol=1e-5, atol=1e-5)
    assert model.lm_head.weight is model.transformer.wte.weight
    model.save_pretrained(tmp_path)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(tokens).logits, model(tokens).logits)
