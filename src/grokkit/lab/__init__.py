"""The lab from Python: the same question, the same runs, the same report as ``grokkit compare``.

What is here is imported when it is first used, because a report needs no PyTorch, which takes seconds.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grokkit.extras import check_lab

check_lab()  # before anything that needs them is imported

if TYPE_CHECKING:
    from grokkit.lab.compare import compare
    from grokkit.lab.study import Study
    from grokkit.lab.suite import suite
    from grokkit.lab.tune import tune
    from grokkit.study.suites.card import SuiteCard
    from grokkit.tasks.problem import Problem, Splits

__all__ = ["Problem", "Splits", "Study", "SuiteCard", "compare", "suite", "tune"]

_PLACES = {
    "Problem": "grokkit.tasks.problem",
    "Splits": "grokkit.tasks.problem",
    "Study": "grokkit.lab.study",
    "SuiteCard": "grokkit.study.suites.card",
    "compare": "grokkit.lab.compare",
    "suite": "grokkit.lab.suite",
    "tune": "grokkit.lab.tune",
}


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Python binds every module that is imported in its package; grokkit.lab.compare shall remain the function.
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'grokkit.lab' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
