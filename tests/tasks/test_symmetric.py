"""Composition of permutations, against tuples composed one by one."""

from itertools import permutations

import pytest
import torch

from grokkit.errors import InputError
from grokkit.tasks.symmetric import symmetric_task
from grokkit.tasks.table import read_task


@pytest.mark.parametrize("n", [3, 4, 5])
def test_every_row_is_b_after_a(n):
    task, group = symmetric_task(n), list(permutations(range(n)))
    assert len(task.targets_N) == len(group) ** 2
    rows = range(0, len(task.targets_N), 7 if n == 5 else 1)
    for a, op, b, equals in (task.inputs_NT[row].tolist() for row in rows):
        assert (op, equals) == (len(group) + 1, len(group))
        both = tuple(group[b][group[a][i]] for i in range(n))
        assert group[int(task.targets_N[a * len(group) + b])] == both


def test_it_is_a_group_that_does_not_commute():
    table = symmetric_task(5).targets_N.view(120, 120)
    everything = torch.arange(120).expand(120, 120)
    assert torch.equal(table.sort(1).values, everything)
    assert torch.equal(table.sort(0).values, everything.mT)
    assert torch.equal(table[0], torch.arange(120)), "the first permutation changes nothing"
    commuting = int((table == table.mT).sum())
    assert commuting == 120 * 7, "as many pairs as elements times classes"


def test_it_goes_by_its_name():
    part, settings = read_task("s5", {})
    assert part.value.make(settings).name == "s5"
    part, settings = read_task("s5(n=4)", {})
    assert part.value.make(settings).vocabulary == 26


@pytest.mark.parametrize("n", [2, 7])
def test_other_numbers_of_things_are_refused(n):
    with pytest.raises(InputError, match=f"permutations of {n} things are not possible: 3 to 6"):
        symmetric_task(n)
