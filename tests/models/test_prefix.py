"""Sharing prefixes computes the same function and the same gradients as running every row."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from grokkit.models import Decoder, decoder
from grokkit.models.prefix import build_trie
from grokkit.tasks import modular_task


def both_ways(model, tokens, monkeypatch):
    """Logits and all gradients, shared (forced) and not."""
    targets = torch.arange(len(tokens)) % model.vocabulary
    results = []
    for shared in (True, False):
        monkeypatch.setattr(decoder, "_WORTH_SHARING", 2.0)
        model.share_prefixes = shared
        model.zero_grad()
        logits = model(tokens)
        F.cross_entropy(logits, targets).backward()
        results.append((logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}))
    return results


def assert_equal(model, tokens, monkeypatch):
    (shared, shared_grads), (plain, plain_grads) = both_ways(model, tokens, monkeypatch)
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
    for name, expected in plain_grads.items():
        scale = float(expected.abs().max())
        torch.testing.assert_close(shared_grads[name], expected, rtol=1e-5, atol=1e-5 * max(scale, 1e-3), msg=name)


@pytest.mark.parametrize("spec", ["a*b mod 7", "a*a - b mod 5", "a*c + b*d - e mod 3"])
@pytest.mark.parametrize("layout", ["infix", "operands-first", "operands"])
@pytest.mark.parametrize("residual", ["grokfast", "pre-norm"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("rows", [1, 13, None])
def test_equals_every_row(spec, layout, residual, depth, rows, monkeypatch):
    task = modular_task(spec, layout=layout)
    torch.manual_seed(0)
    model = Decoder(vocabulary=task.vocabulary, positions=10, depth=depth, width=16, heads=2, residual=residual)
    tokens = task.inputs_NT[torch.randperm(len(task.inputs_NT))[:rows]]
    assert_equal(model, tokens, monkeypatch)


def test_rows_that_stand_twice(monkeypatch):
    torch.manual_seed(0)
    tokens = torch.randint(0, 3, (40, 3))
    assert len(tokens.unique(dim=0)) < len(tokens)
    assert_equal(Decoder(vocabulary=5, positions=3, width=8, heads=2), tokens, monkeypatch)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_a_trie_spells_its_rows(rows, length, vocabulary, seed):
    tokens = torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))
    trie = build_trie(tokens)
    sizes = [len(tokens[:, : t + 1].unique(dim=0)) for t in range(length)]
    assert [len(torch.arange(trie.size)[level[-1]]) for level in trie.nodes.answering] == sizes
    assert trie.size == sum(sizes)
    last = torch.arange(rows) if trie.leaves_B is None else trie.leaves_B
    for level in range(length):
        nodes = torch.arange(trie.size)[trie.nodes.answering[-1][level]][last]
        assert ((sum(sizes[:level]) <= nodes) & (nodes < sum(sizes[: level + 1]))).all()
        cells = trie.cells.asking[nodes]
        assert torch.equal(trie.cells.answering[-1][level][last], cells)
        assert torch.equal(trie.tokens_C[cells], tokens[:, level])
        assert (trie.positions_C[cells] == level).all()
    pairs = torch.stack([trie.tokens_C, trie.positions_C])
    assert len(pairs.unique(dim=1).T) == len(pairs.T), "each pair once"


def test_the_worked_example():
    trie = build_trie(torch.tensor([[1, 8, 2, 9], [1, 8, 3, 9]]))
    rows = [torch.arange(6)[rows].tolist() for rows in trie.nodes.answering[-1]]
    assert rows == [[0, 0], [1, 1], [2, 3], [4, 5]]
    assert [rows.tolist() for rows in trie.cells.answering[-1]] == [[0, 0], [1, 1], [2, 3], [4, 4]]
    assert trie.cells.asking.tolist() == [0, 1, 2, 3, 4, 4]
    assert (trie.size, trie.leaves_B) == (6, None)


def test_is_used_when_it_pays_and_not_otherwise(monkeypatch):
    used = []
    monkeypatch.setattr(Decoder, "_forward_shared", lambda self, trie: used.append(trie) or torch.zeros(1))
    model = Decoder(vocabulary=99, positions=5, width=8, heads=2)
    table = modular_task("a*b mod 97").inputs_NT
    model(table[:512])
    assert len(used) == 1
    model(torch.randint(0, 99, (16, 4)))
    model(table[:512], every_position=True)
    model.share_prefixes = False
    model(table[:512])
    assert len(used) == 1


def test_transformed_by_torch_func_it_runs_every_row():
    task = modular_task("a*b mod 7")
    model = Decoder(vocabulary=task.vocabulary, positions=5, width=8, heads=2)
    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params):
        logits = torch.func.functional_call(model, params, task.inputs_NT)
        return F.cross_entropy(logits, task.targets_N)

    grads = torch.func.grad(loss)(params)
    loss_here = F.cross_entropy(model(task.inputs_NT), task.targets_N)
    loss_here.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(grads[name], p.grad, rtol=1e-4, atol=1e-6)
