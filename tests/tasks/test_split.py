"""Splits cover every row once, depend on the seed alone, and keep groups together."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grokkit.errors import InputError
from grokkit.rng import stream
from grokkit.tasks import Split, Task, modular_task, split

TASK = modular_task("add:11")
PAIRS = modular_task("add:11", split="unordered")
N = 121


def parts(s: Split) -> list[list[int]]:
    return [s.train.tolist(), s.validation.tolist(), s.test.tolist()]


@given(
    train=st.floats(0.05, 0.6),
    validation=st.one_of(st.just(0.0), st.floats(0.05, 0.3)),
    seed=st.integers(),
    by_group=st.booleans(),
)
@settings(max_examples=60, deadline=3000)
def test_disjoint_covering_ascending_and_of_the_asked_size(train, validation, seed, by_group):
    s = split(PAIRS if by_group else TASK, train_fraction=train, validation_fraction=validation, seed=seed)
    together = [row for part in parts(s) for row in part]
    assert sorted(together) == list(range(N))
    assert all(part == sorted(part) for part in parts(s))
    assert all(part.dtype == torch.int64 for part in (s.train, s.validation, s.test))
    slack = 2 if by_group else 1
    assert abs(len(s.train) - train * N) <= slack
    assert abs(len(s.validation) - validation * N) <= slack
    assert (validation == 0) == (len(s.validation) == 0)
    if by_group:
        assert PAIRS.groups is not None
        groups = [set(PAIRS.groups[torch.tensor(part, dtype=torch.int64)].tolist()) for part in parts(s)]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]


def test_the_training_part_is_the_beginning_of_the_stream_s_permutation():
    order = torch.randperm(N, generator=stream(3, "split")).tolist()
    s = split(TASK, train_fraction=0.5, validation_fraction=0.25, seed=3)
    assert parts(s) == [sorted(order[:60]), sorted(order[60:90]), sorted(order[90:])]


def test_no_unordered_pair_leaks_by_group_and_some_do_without():
    def leaked(by_group: bool) -> int:
        s = split(PAIRS if by_group else TASK, train_fraction=0.4, validation_fraction=0.2, seed=0)
        pairs = [{frozenset(TASK.inputs_NT[row, [0, 2]].tolist()) for row in part} for part in parts(s)]
        return len(pairs[0] & pairs[1]) + len(pairs[0] & pairs[2]) + len(pairs[1] & pairs[2])

    assert leaked(by_group=True) == 0
    assert leaked(by_group=False) > 10


def test_same_seed_same_split_whatever_was_drawn_before():
    first = split(TASK, train_fraction=0.3, validation_fraction=0.2, seed=5)
    before = torch.get_rng_state()
    torch.rand(7, generator=stream(5, "init"))
    again = split(TASK, train_fraction=0.3, validation_fraction=0.2, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert parts(first) == parts(again)
    other = split(TASK, train_fraction=0.3, validation_fraction=0.2, seed=6)
    assert parts(first) != parts(other)


def test_same_split_in_both_layouts():
    layouts = [modular_task("add:11", layout=way, split="unordered") for way in ("infix", "operands-first")]
    a, b = (split(t, train_fraction=0.3, validation_fraction=0.2, seed=5) for t in layouts)
    assert parts(a) == parts(b)


@pytest.mark.parametrize("by_group", [False, True])
def test_training_rows_are_nested_and_unmoved_by_validation(by_group):
    def of(train: float, validation: float) -> Split:
        task = PAIRS if by_group else TASK
        return split(task, train_fraction=train, validation_fraction=validation, seed=1)

    assert set(of(0.3, 0.1).train.tolist()) < set(of(0.5, 0.1).train.tolist())
    assert torch.equal(of(0.3, 0.0).train, of(0.3, 0.4).train)


def test_rows_are_drawn_evenly():
    counts = torch.zeros(N)
    for seed in range(400):
        counts[split(TASK, train_fraction=0.5, validation_fraction=0.0, seed=seed).train] += 1
    # Binomial(400, 0.5): mean 200, standard deviation 10; 5 deviations over 121 rows.
    assert float((counts - 200).abs().max()) < 50


def test_unequal_groups_stay_whole():
    zeros = torch.zeros(10, dtype=torch.int64)
    groups = torch.tensor([7, 7, 7, 7, -1, -1, 90, 3, 3, 4])
    task = Task("toy", "expressions", zeros[:, None], zeros, 1, 1, "ten rows", groups=groups)
    for seed in range(20):
        s = split(task, train_fraction=0.4, validation_fraction=0.0, seed=seed)
        assert not set(groups[s.train].tolist()) & set(groups[s.test].tolist())
        assert len(s.train) + len(s.test) == 10


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (0.0, 0.1, r"^train fraction 0\.0 is not between 0 and 1, both excluded; 0\.5 is a common choice$"),
        (1.0, 0.0, r"^train fraction 1\.0 is not between"),
        (-0.1, 0.0, r"^train fraction -0\.1 is not between"),
        (math.nan, 0.0, r"^train fraction nan is not between"),
        (
            0.5,
            -0.1,
            r"^validation fraction -0\.1 is not at least 0 and below 1; take 0 for no validation part$",
        ),
        (0.5, 1.0, r"^validation fraction 1\.0 is not"),
        (0.5, math.nan, r"^validation fraction nan is not"),
        (
            0.5,
            0.5,
            r"0\.5 and validation fraction 0\.5 leave no test; their sum must be below 1: lower one",
        ),
        (
            0.001,
            0.1,
            r"^train fraction 0\.001 of 121 rows leaves the train part empty; .*change the fraction",
        ),
        (0.5, 0.001, r"^validation fraction 0\.001 of 121 rows leaves the validation part empty"),
        (
            0.9,
            0.099,
            r"^train fraction 0\.9 with validation fraction 0\.099 of 121 rows leaves the test part empty",
        ),
    ],
)
def test_bad_fractions(train, validation, message):
    with pytest.raises(InputError, match=message):
        split(TASK, train_fraction=train, validation_fraction=validation, seed=0)


def test_only_operands_that_can_be_exchanged_make_pairs():
    with pytest.raises(
        InputError, match=r"^'a - b mod 5' cannot be split by unordered pairs.*leave split=unordered out"
    ):
        modular_task("sub:5", split="unordered")


@pytest.mark.parametrize("size", [1, 60, 108])
def test_a_train_size_is_met_exactly_and_moves_nothing_else(size):
    s = split(TASK, train_fraction=0.5, validation_fraction=0.1, seed=3, train_size=size)
    order = torch.randperm(N, generator=stream(3, "split")).tolist()
    assert parts(s) == [sorted(order[:size]), sorted(order[size : size + 12]), sorted(order[size + 12 :])]


@pytest.mark.parametrize("size", [-1, 0, 109, 121, 1000])
def test_bad_train_size(size):
    message = rf"^train size {size} is not possible with 121 rows, of which 12 are for validation; allowed are 1 to 108"
    with pytest.raises(InputError, match=message):
        split(TASK, train_fraction=0.5, validation_fraction=0.1, seed=0, train_size=size)
