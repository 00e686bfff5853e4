"""An error of somebody's code in one line: what it says, and the place where somebody can mend it."""

import re

import torch

from grokkit.errors import plain_line
from grokkit.outside import line_of


def raised(function):
    try:
        function()
    except Exception as error:
        return error


def unfit():
    return torch.nn.Linear(2, 2)(torch.ones(3, 3))


def bare():
    raise ValueError


def test_a_line_of_ones_own_is_named_and_none_of_pytorch_s():
    error = raised(unfit)
    assert re.search(r"\(line \d+ of test_outside_lines.py\)$", line_of(error))
    within = error.with_traceback(error.__traceback__.tb_next.tb_next)  # as if ours alone had called it
    assert line_of(within) == plain_line(within)


def test_an_error_without_a_message_shows_its_line():
    line = line_of(raised(bare))
    assert re.fullmatch(r"ValueError: raise ValueError \(line \d+ of test_outside_lines.py\)", line)
