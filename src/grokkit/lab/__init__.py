"""The lab from Python: the same question, the same runs, the same report as ``grokkit compare``."""

from grokkit.extras import check_lab

check_lab()  # before anything that needs them is imported

from grokkit.lab.compare import compare  # noqa: E402
from grokkit.lab.study import Study  # noqa: E402
from grokkit.lab.suite import suite  # noqa: E402
from grokkit.lab.tune import tune  # noqa: E402
from grokkit.study.suites.card import SuiteCard  # noqa: E402
from grokkit.tasks.problem import Problem, Splits  # noqa: E402

__all__ = ["Problem", "Splits", "Study", "SuiteCard", "compare", "suite", "tune"]
