import itertools

import pytest
import torch

from grokkit.errors import InputError
from grokkit.tasks import parity_task


def test_a_row_s_target_is_the_product_of_its_first_k_signs():
    task = parity_task(40, 3)
    assert task.inputs_NT.shape == (4000, 40)
    assert task.inputs_NT.dtype == task.targets_N.dtype == torch.float32
    assert set(task.inputs_NT.unique().tolist()) == {-1.0, 1.0}
    by_hand = [row[0] * row[1] * row[2] for row in task.inputs_NT.tolist()]
    assert task.targets_N.tolist() == by_hand
    assert (task.name, task.vocabulary, task.classes, task.objective) == ("parity:40,3", None, 1, "logistic")


def test_signs_may_be_tokens_of_a_vocabulary_of_two():
    numbers, tokens = parity_task(40, 3), parity_task(40, 3, signs="tokens")
    assert tokens.vocabulary == 2
    assert tokens.inputs == "expressions"
    assert torch.equal(1 - 2 * tokens.inputs_NT, numbers.inputs_NT.long())
    assert torch.equal(tokens.targets_N, numbers.targets_N)


@pytest.mark.parametrize("n", [12, 21, 40, 62])
def test_rows_differ_and_are_drawn_evenly(n):
    task = parity_task(n, 2)
    rows = [tuple(row) for row in task.inputs_NT.tolist()]
    assert len(set(rows)) == len(rows) == 4000
    # A mean of 4,000 signs has deviation 1/√4000 or less: 5 of them, over n entries.
    assert float(task.inputs_NT.mean(0).abs().max()) < 5 / 4000**0.5


def test_small_n_gives_the_whole_table():
    task = parity_task(3, 3)
    assert {tuple(row) for row in task.inputs_NT.tolist()} == set(itertools.product((-1.0, 1.0), repeat=3))
    assert len(task.inputs_NT) == 8


def test_the_pool_is_always_the_same_and_k_does_not_move_it():
    assert torch.equal(parity_task(40, 3).inputs_NT, parity_task(40, 5).inputs_NT)
    assert torch.equal(parity_task(30, 3, rows=50).inputs_NT, parity_task(30, 3, rows=50).inputs_NT)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((40, 41), r"^parity:40,41 is not possible: 41 of 40 bits cannot decide; take k from 1 to 40$"),
        ((40, 0), r"^parity:40,0 is not possible"),
        ((0, 1), r"^parity of 0 bits is not possible: 1 to 62; the paper uses parity:40,3$"),
        ((63, 3), r"^parity of 63 bits"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(InputError, match=message):
        parity_task(*sizes)


def test_bad_pool():
    with pytest.raises(InputError, match=r"^a pool of 1 rows is not possible: 2 to 500,000; the default is 4000$"):
        parity_task(40, 3, rows=1)
