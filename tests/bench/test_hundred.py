"""The rows of a large model's step measure what they say, here on a small one."""

import re

import pytest
import torch

from grokkit import grad_norm, grokfast_ema, grokfast_ma
from grokkit.bench.methods import step_overhead


@pytest.mark.parametrize(
    ("transform", "copies"),
    [
        (grokfast_ema(), 1.0),
        (grokfast_ma(window_size=10), 10.0),
        (grokfast_ma(window_size=10, window_dtype=torch.bfloat16), 5.5),  # nine halves and the sum
        (grad_norm(), 0.0),
    ],
)
def test_the_note_tells_the_copies_and_the_floor(transform, copies):
    duel = step_overhead(transform, parameters=200_000)
    assert duel.plain(0) > 0
    assert duel.ours(0) > 0
    note = duel.note()
    assert note.startswith("a read and write of the gradients is 0.")
    kept = re.search(r"keeps ([\d.]+) copies$", note)
    assert kept is not None
    # Beside the copies there may be a count of four bytes for each row of a weight, here 2 % of its row.
    assert copies <= float(kept[1]) <= copies + 0.03
