"""The rows of a task that people look at, by hand."""

import base64
import math

import pytest
import torch

from grokkit.tasks.examples import misread, most_surprising, predicted


def test_misread_images_the_surest_first():
    inputs = torch.tensor([[0.0, 1.0], [0.5, 0.25], [1.0, 0.0], [0.1, 0.2]])
    labels = torch.tensor([0, 1, 1, 2])
    outputs = torch.tensor([[1.0, 3.0, 0.0], [0.0, 5.0, 1.0], [7.0, 0.0, 2.0], [2.0, 0.0, 1.5]])
    found = misread(torch.tensor([10, 11, 12, 13]), inputs, labels, outputs)
    assert (found["row"], found["label"], found["predicted"]) == ([12, 10, 13], [1, 0, 2], [0, 1, 0])
    assert found["margin"] == [7.0, 2.0, 0.5]
    assert [list(base64.b64decode(pixels)) for pixels in found["pixels"]] == [[255, 0], [0, 255], [26, 51]]


def test_no_more_than_24_images_and_none_where_all_are_read():
    labels = torch.zeros(100, dtype=torch.int64)
    wrong = torch.tensor([[0.0, 1.0]]).expand(100, 2)
    assert misread(torch.arange(100), torch.zeros(100, 4), labels, wrong)["row"] == list(range(24))
    assert misread(torch.arange(100), torch.zeros(100, 4), labels, -wrong)["row"] == []
    assert misread(torch.arange(100), torch.zeros(100, 4), labels, wrong * math.nan)["row"] == []


def test_the_most_surprising_texts_first():
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    outputs = torch.tensor([[2.0], [3.0], [-1.0], [-4.0]])
    found = most_surprising(torch.tensor([4, 5, 6, 7]), signs, outputs, lambda row: f"text <br />  {row}")
    assert (found["row"], found["label"]) == ([5, 6, 4, 7], [-1, 1, 1, -1])
    assert found["probability"] == pytest.approx([1 / (1 + math.exp(x)) for x in (3, 1, -2, -4)])
    assert found["text"] == ["text 5", "text 6", "text 4", "text 7"]


def test_texts_end_with_a_word_and_are_eight():
    found = most_surprising(torch.arange(20), torch.ones(20), torch.zeros(20, 1), lambda row: "word " * 1000)
    assert found["row"] == list(range(8))
    assert found["text"][0].endswith("word word …")
    assert 1190 < len(found["text"][0]) <= 1202


def test_predictions_are_in_the_target_s_unit():
    targets, outputs = torch.tensor([0.0, 1.0]), torch.tensor([[-1.0], [2.0]])
    found = predicted(torch.tensor([3, 8]), targets, outputs, mean=75.0, deviation=8.0, unit="bohr³")
    assert found == {"row": [3, 8], "target": [75.0, 83.0], "predicted": [67.0, 91.0], "unit": ["bohr³", "bohr³"]}
