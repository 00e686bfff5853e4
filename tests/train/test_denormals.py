"""Denormal numbers are zero in a run on a CPU, and are what they were before and after it."""

import pytest
import torch
from interrupted import curves

from grokkit.train import loop
from grokkit.train.denormals import are_zero, denormals_are_zero, treatment
from grokkit.train.loop import train

pytestmark = pytest.mark.skipif(treatment() == "kept", reason="this processor cannot take them for zero")


def test_they_are_zero_within_a_run_and_afterwards_as_before(tiny):
    seen = []
    train(tiny(), report=lambda _: seen.append(are_zero()))
    assert seen
    assert all(seen)
    assert not are_zero()
    with denormals_are_zero():
        train(tiny())
        assert are_zero()
    assert not are_zero()


def test_where_a_run_fails_they_are_as_before(tiny):
    def fail(_):
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        train(tiny(), report=fail)
    assert not are_zero()


def test_a_run_that_learns_is_the_same_either_way(tiny, monkeypatch):
    config = tiny()
    ours = train(config)
    monkeypatch.setattr(loop, "denormals_are_zero", torch.enable_grad)  # which changes nothing here
    assert curves(train(config)) == curves(ours)
    assert ours.record()["provenance"]["denormals"] == "zero"
