"""Data of somebody's own: what tells them apart, and how rows of every form are fetched."""

import hashlib
from threading import Lock

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from grokkit.errors import InputError
from grokkit.lab import Problem, Splits
from grokkit.tasks.problem import feed_digest

X, Y = torch.arange(30.0).reshape(10, 3), torch.arange(10) % 2


def problem(data, **changes):
    return Problem(
        name="mine", data=data, model=lambda: nn.Linear(3, 2), loss=nn.functional.cross_entropy, target=0.1, **changes
    )


class Items(Dataset):
    """One item, four times."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 4

    def __getitem__(self, row):
        return self.item


class Rows(Items):
    """These items."""

    def __len__(self):
        return len(self.item)

    def __getitem__(self, row):
        return self.item[row]


class Graph:
    """As of packages for graphs: it shows its shape alone."""

    def __init__(self, edges, parent=None):
        self.edges, self.parent = torch.tensor(edges), parent

    def __repr__(self):
        return f"Graph({list(self.edges.shape)})"


class Shown:
    """It shows its address."""

    def __init__(self, value):
        self.value = value


def splits(at):
    return Splits((X[:at], Y[:at]), None, (X[at:], Y[at:]))


def test_other_lengths_of_splits_are_other_data():
    assert len({problem(splits(at)).digest() for at in (4, 5, 6)} | {problem((X, Y)).digest()}) == 4
    assert problem(splits(4)).digest() == problem(splits(4)).digest()


@pytest.mark.parametrize("kind", [Graph, Shown])
def test_an_object_is_told_apart_by_what_it_holds(kind):
    first, same, other = (problem(Items((kind([value, 2]), 1))).digest() for value in (1, 1, 3))
    assert first == same != other


def test_what_nobody_can_tell_apart_needs_an_id():
    knot = Graph([1])
    knot.parent = knot
    for item in (Lock(), knot):
        with pytest.raises(
            InputError, match=r"no digest can be made of .*; give the problem a data_id, e\.g\. data_id="
        ):
            problem(Items(item)).digest()
        named = problem(Items(item), data_id="1", collate=list)
        assert named.digest() == "1"
        assert named.task(0).draws_at_random(), "nobody can say that it does not"


def test_numbers_texts_and_tensors_have_the_digest_that_they_had():
    """Earlier results answer for them."""

    class Record:
        text = ""

        def update(self, data):
            self.text += data.decode()

    found = Record()
    feed_digest(found, {"a": [1, "b", None], "c": (2.5, True)})
    assert found.text == "a1'b'Nonec2.5True"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 23], [12, 3]),
        (([1], [2, 3]), ([1, 2], [3])),
        (([1], 23), ([12], 3)),
        ({"ids": [1, 2.5]}, {"ids": [12, 0.5]}),
        ([-1, -23], [-1, -2, 3]),
    ],
)
def test_numbers_beside_each_other_are_told_apart(one, other):
    texts = []
    for item in (one, other):
        found = hashlib.sha256()
        feed_digest(found, item)
        texts.append(found.hexdigest())
    assert texts[0] != texts[1]


def test_rows_of_plain_numbers_are_told_apart():
    rows = [[1], [23]], [[12], [3]]
    assert len({problem(Rows(own), collate=list).digest() for own in rows}) == 2
    numbers = [1, 23], [12, 3]
    assert len({problem(Rows(own), collate=list).digest() for own in numbers}) == 2


def test_parts_of_other_lengths_are_another_question():
    digests = set()
    for train, validation in ((1, 11), (11, 1)):  # 1 | 11 | 12 and 11 | 1 | 12
        at = [slice(train), slice(train, train + validation), slice(12, 24)]
        table = torch.arange(24.0)[:, None]
        digests.add(problem(Splits(*((table[part], table[part]) for part in at))).digest())
    assert len(digests) == 2


class Doubled(TensorDataset):
    def __getitem__(self, row):
        inputs, target = super().__getitem__(row)
        return 2 * inputs, target


@pytest.mark.parametrize("data", [Doubled(X, Y), Splits(Doubled(X, Y), None, Doubled(X, Y))])
def test_a_subclass_is_asked_for_its_items(data):
    inputs, targets = problem(data).task(0).batch(torch.tensor([1, 3]))
    assert torch.equal(inputs, 2 * X[[1, 3]])
    assert torch.equal(targets, Y[[1, 3]])


def test_a_batch_is_made_as_the_problem_says_of_tensors_too():
    def backwards(items):
        return tuple(torch.stack(column).flip(0) for column in zip(*items, strict=True))

    inputs, _ = problem((X, Y), collate=backwards).task(0).batch(torch.tensor([1, 3]))
    assert torch.equal(inputs, X[[3, 1]])


def test_parts_may_have_rows_of_another_length_or_type():
    longer, doubles = torch.arange(8.0).reshape(2, 4), X[:2].double()
    for test in (longer, doubles):
        mine = problem(Splits((X, Y), None, (test, Y[:2])))
        task = mine.task(0)
        assert torch.equal(task.batch(task.parts.train)[0], X)
        found = task.batch(task.parts.test)[0]
        assert torch.equal(found, test)
        assert found.dtype == test.dtype
        others = test.clone()
        others[1, 1] += 1
        assert mine.digest() != problem(Splits((X, Y), None, (others, Y[:2]))).digest()


class Missing(Items):
    def __getitem__(self, row):
        raise FileNotFoundError(f"row-{row}.png")


def test_a_row_that_cannot_be_read_is_one_line():
    with pytest.raises(InputError, match=r"row 0 of problem 'mine' fails: FileNotFoundError: row-0.png .line \d+ of"):
        problem(Missing(X[0])).digest()


def test_a_sparse_tensor_is_one_line():
    with pytest.raises(InputError, match="no digest can be made of .*; give the problem a data_id"):
        problem((X.to_sparse(), Y)).digest()
