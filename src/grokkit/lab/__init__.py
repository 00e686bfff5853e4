"""The lab from Python: the same question, the same runs, the same report as ``grokkit compare``.

What is here is imported when it is first used, because a report needs no PyTorch.
"""

from typing import TYPE_CHECKING

from grokkit.extras import check_lab
from grokkit.first_use import import_at_first_use

check_lab()  # before anything that needs them is imported

if TYPE_CHECKING:
    from grokkit.lab.compare import compare
    from grokkit.lab.study import Study
    from grokkit.lab.suite import suite
    from grokkit.lab.tune import tune
    from grokkit.study.suites.card import SuiteCard
    from grokkit.tasks.problem import Problem, Splits

__all__ = ["Problem", "Splits", "Study", "SuiteCard", "compare", "suite", "tune"]

import_at_first_use(
    __name__,
    {
        "Problem": "grokkit.tasks.problem",
        "Splits": "grokkit.tasks.problem",
        "Study": "grokkit.lab.study",
        "SuiteCard": "grokkit.study.suites.card",
        "compare": "grokkit.lab.compare",
        "suite": "grokkit.lab.suite",
        "tune": "grokkit.lab.tune",
    },
)
