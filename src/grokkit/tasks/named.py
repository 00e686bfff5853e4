"""From what a user types to a task: modular arithmetic, or one of the tasks that go by a name of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from grokkit.errors import InputError, unknown
from grokkit.tasks.expression import SHORT_NAMES
from grokkit.tasks.modular import Layout, modular_task
from grokkit.tasks.parity import parse_parity
from grokkit.tasks.task import Task
from grokkit.tasks.xor import parse_xor


class NamedTask(NamedTuple):
    """A task that is no modular arithmetic: how it is written, a line on it, and what makes it of its sizes."""

    usage: str
    description: str
    parse: Callable[[str], Task]


NAMED_TASKS: dict[str, NamedTask] = {
    "parity": NamedTask(
        "parity:N,K",
        "product of K of N signs, logistic loss; with --model fnn, e.g. parity:40,3 --train-size 1000",
        parse_parity,
    ),
    "xor": NamedTask(
        "xor:P",
        "XOR clusters in P dimensions, exponential loss (xor:P,logistic: that); with --model two-layer and the method "
        "gd, e.g. xor:80000 --train-size 400",
        parse_xor,
    ),
}


def make_task(spec: str, *, layout: Layout = "infix", operands_from: Mapping[str, int] | None = None) -> Task:
    """The task called ``spec``.

    Args:
        spec: ``parity:N,K``, ``xor:P``, or what :func:`grokkit.tasks.modular_task` takes.
        layout: of the tokens, in modular arithmetic.
        operands_from: the smallest operands, in modular arithmetic.

    Raises:
        InputError: see the tasks; an unknown name, or ``operands_from`` for a task without operands.

    >>> make_task("parity:40,3").name, make_task("mul:97").name
    ('parity:40,3', 'a*b mod 97')
    """
    name, colon, sizes = (part.strip() for part in spec.partition(":"))
    if name in NAMED_TASKS:
        if operands_from:
            raise InputError(f"{name} has no operands; leave operands_from out")
        return NAMED_TASKS[name].parse(sizes)
    if colon and name not in SHORT_NAMES:
        raise unknown("task", name, [*SHORT_NAMES, *NAMED_TASKS])
    return modular_task(spec, layout=layout, operands_from=operands_from)
