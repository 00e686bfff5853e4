"""Tasks on which grokking is studied, and their splits."""

from grokkit.tasks.expression import SHORT_NAMES, Expression, ShortName, parse
from grokkit.tasks.modular import Layout, modular_task
from grokkit.tasks.task import Split, Task, split

__all__ = [
    "SHORT_NAMES",
    "Expression",
    "Layout",
    "ShortName",
    "Split",
    "Task",
    "modular_task",
    "parse",
    "split",
]
