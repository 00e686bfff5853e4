"""Tasks on which grokking is studied, and their splits."""

from grokkit.files import cache_folder
from grokkit.tasks.card import TaskCard
from grokkit.tasks.expression import SHORT_NAMES, Expression, ShortName, parse
from grokkit.tasks.imdb import ImdbTask, imdb_task
from grokkit.tasks.mnist import mnist_task
from grokkit.tasks.modular import Layout, modular_task
from grokkit.tasks.parity import parity_task
from grokkit.tasks.qm9 import Qm9Task, qm9_task
from grokkit.tasks.table import make_task, read_task
from grokkit.tasks.task import Objective, Split, Task, split

__all__ = [
    "SHORT_NAMES",
    "Expression",
    "ImdbTask",
    "Layout",
    "Objective",
    "Qm9Task",
    "ShortName",
    "Split",
    "Task",
    "TaskCard",
    "cache_folder",
    "imdb_task",
    "make_task",
    "mnist_task",
    "modular_task",
    "parity_task",
    "parse",
    "qm9_task",
    "read_task",
    "split",
]
