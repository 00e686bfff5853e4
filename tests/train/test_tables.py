"""A table that no file could hold is refused when a probe, a method or a start makes it, not when the run has ended."""

import numpy as np
import pytest
import torch

from grokkit.errors import InputError
from grokkit.lab.named import name_of
from grokkit.methods.contract import MethodCard, StartResult
from grokkit.train.loop import train
from grokkit.train.tables import checked_tables
from grokkit.transform import GradientTransform

REFUSED = {
    "a probe's table cannot be called 'layers/0'": {"layers/0": {"a": [1]}},
    "a probe's table cannot be called 3": {3: {"a": [1]}},
    "the probe gives None; it must give tables by name": None,
    r"the probe gives {'mine': \[1\]}; it must give tables by name, each a dict of columns": {"mine": [1]},
    "the table mine of the probe has no column": {"mine": {}},
    "the table mine of the probe has a column step, which the lab puts in front": {"mine": {"step": [1]}},
    "column a of the table mine of the probe is 1.0; it must be a list": {"mine": {"a": 1.0}},
    "the columns of the table mine of the probe are not equally long": {"mine": {"a": [1], "b": []}},
    "column a of the table mine of the probe holds a Tensor": {"mine": {"a": [1.0, torch.ones(())]}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_file_could_hold_is_refused(message):
    with pytest.raises(InputError, match=message) as caught:
        checked_tables("the probe", REFUSED[message], front="step")
    assert "\n" not in str(caught.value)


def test_numbers_words_and_nothing_are_columns():
    tables = {"mine": {"a": [1, 2.0, None], "b": ["x", "y", "z"], "c": (True, False, None)}}
    assert checked_tables("the probe", tables) is tables


@pytest.mark.parametrize("cell", [1j, np.datetime64("2026-01-01"), np.longdouble(1), "\ud800"], ids=type)
def test_a_cell_that_no_file_holds_is_refused_before_it_is_kept(cell):
    with pytest.raises(InputError, match=r"column a of the table mine of the probe"):
        checked_tables("the probe", {"mine": {"a": [cell, 2]}})


def halves():
    return GradientTransform(lambda params: (), lambda grads, state, params: (dict(grads), state))


WRONG = {"a/b": {"a": [1.0]}}
MAKERS = {
    "probe": MethodCard(name="probed", factory=halves, probe=lambda state, gradients: WRONG),
    "start": MethodCard(name="started", start=lambda: lambda model, data, seed: StartResult({}, tables=WRONG)),
}


@pytest.mark.parametrize("door", MAKERS)
def test_a_run_ends_at_the_first_of_them(tiny, door):
    steps = []
    with pytest.raises(InputError, match="a probe's table cannot be called 'a/b'"):
        train(tiny(name_of("methods", MAKERS[door])), report=lambda progress: steps.append(progress["step"]))
    assert len(steps) < 4, "of nine stops"
