"""The conformance suite: every part of ours passes it; use it on your own.

    from grokkit.testing import check_method, check_transform
    check_method("mypkg.ideas:CARD")                        # a method, a task, a model, an optimizer, a store
    check_transform(lambda: my_transform(strength=0.5))     # what is attached to anybody's optimizer

Each check raises ``AssertionError`` saying what is wrong. ``CHECKS`` is the table, for one test per check.
``check_problem`` says whether a problem of your own is fit to be compared on, as ``grokkit check`` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grokkit.testing.checks import CHECKS, PER_TENSOR_CHECKS, check_off, check_reference, check_transform
from grokkit.testing.problem import Finding, check_problem

if TYPE_CHECKING:
    from grokkit.testing.methods import check_method
    from grokkit.testing.models import check_model
    from grokkit.testing.optimizers import check_optimizer
    from grokkit.testing.store import check_store
    from grokkit.testing.tasks import check_task

__all__ = [
    "CHECKS",
    "PER_TENSOR_CHECKS",
    "Finding",
    "check_method",
    "check_model",
    "check_off",
    "check_optimizer",
    "check_problem",
    "check_reference",
    "check_store",
    "check_task",
    "check_transform",
]

_OF_THE_LAB = {
    "check_method": "methods",
    "check_model": "models",
    "check_optimizer": "optimizers",
    "check_store": "store",
    "check_task": "tasks",
}


def __getattr__(name: str) -> Any:
    """The checks that train in the lab's loop are imported when they are asked for: a transform's need no extra."""
    if name in _OF_THE_LAB:
        return getattr(import_module(f"grokkit.testing.{_OF_THE_LAB[name]}"), name)
    raise AttributeError(f"module 'grokkit.testing' has no {name}")
