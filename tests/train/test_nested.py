"""Tensors apart from their structure, and together again, by way of JSON."""

import json

import pytest
import torch

from grokkit.errors import InputError
from grokkit.train.nested import put_together, taken_apart


def test_structures_come_back_as_they_were():
    square = torch.arange(6.0).reshape(2, 3)
    value = {
        0: square,
        "0": [square.T, 3, None],
        "a": {"b": torch.ones(1), 2: "word"},
        "a/b": torch.zeros(1),
        "none": {},
        "mask": torch.tensor([True, False]),
    }
    tensors = {}
    structure = json.loads(json.dumps(taken_apart(value, "path", tensors)))
    found = put_together(structure, {name: tensor.contiguous() for name, tensor in tensors.items()})
    assert list(found) == list(value)
    assert found["0"][0].stride() == square.T.stride()
    assert len(tensors) == 5
    assert str(found) == str(value)


@pytest.mark.parametrize("value", [{(0, 1): 1}, [{1, 2}], {"a": torch.nn.ReLU()}], ids=["key", "set", "module"])
def test_what_no_checkpoint_can_hold_is_said(value):
    with pytest.raises(InputError, match="the optimizer's state holds a (tuple|set|ReLU) .*, which no checkpoint can"):
        taken_apart(value, "path", {})
