"""A program's batches are those of its runs alone, however they are fetched."""

import pytest
import torch

from grokkit.rng import stream
from grokkit.train import batch_buffer
from grokkit.train.batch_buffer import BatchBuffer
from grokkit.train.batches import Batches

CPU = torch.device("cpu")


def members(rows=23, size=10, remainder="spread"):
    return [Batches(torch.arange(100 * m, 100 * m + rows), size, stream(m, "batches"), remainder) for m in range(3)]


@pytest.mark.parametrize("at_once", [1, 4, 64])
@pytest.mark.parametrize("remainder", ["spread", "own-batch"])
def test_the_batches_are_each_member_s_own(monkeypatch, remainder, at_once):
    monkeypatch.setattr(batch_buffer, "_STEPS", at_once)
    fed = BatchBuffer(members(remainder=remainder), device=CPU)
    alone = members(remainder=remainder)
    for steps in (1, 5, 20):
        lengths = []
        while len(lengths) < steps:
            filled = fed.fill(steps - len(lengths))
            assert 0 < len(filled) <= at_once
            for length in filled:
                expected = torch.stack([batches.next() for batches in alone])
                assert torch.equal(fed.take(length), expected)
            lengths += filled
        assert len(lengths) == steps


def test_whole_batches_are_sent_once():
    fed = BatchBuffer(members(size=None), device=CPU)
    expected = torch.stack([batches.next() for batches in members(size=None)])
    for steps in (3, 1000):
        assert fed.fill(steps) == [23] * steps
        assert torch.equal(fed.take(23), expected)
        assert torch.equal(fed.take(23), expected)


def test_what_is_drawn_at_once_is_bounded(monkeypatch):
    monkeypatch.setattr(batch_buffer, "_BYTES", 8 * 10 * 3 * 7)
    assert len(BatchBuffer(members(), device=CPU).fill(100)) == 7
    monkeypatch.setattr(batch_buffer, "_BYTES", 1)
    assert len(BatchBuffer(members(), device=CPU).fill(100)) == 1
