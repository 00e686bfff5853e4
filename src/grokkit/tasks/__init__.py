"""Tasks on which grokking is studied, and their splits."""

from grokkit.tasks.expression import SHORT_NAMES, Expression, ShortName, parse
from grokkit.tasks.modular import Layout, modular_task
from grokkit.tasks.named import NAMED_TASKS, NamedTask, make_task
from grokkit.tasks.parity import parity_task
from grokkit.tasks.task import Objective, Split, Task, split
from grokkit.tasks.xor import XorTask, xor_task

__all__ = [
    "NAMED_TASKS",
    "SHORT_NAMES",
    "Expression",
    "Layout",
    "NamedTask",
    "Objective",
    "ShortName",
    "Split",
    "Task",
    "XorTask",
    "make_task",
    "modular_task",
    "parity_task",
    "parse",
    "split",
    "xor_task",
]
