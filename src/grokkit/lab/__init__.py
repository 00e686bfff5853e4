"""The lab from Python: the same question, the same runs, the same report as ``grokkit compare``."""

from grokkit.lab.compare import compare
from grokkit.lab.study import Study
from grokkit.lab.tune import tune
from grokkit.tasks.problem import Problem, Splits

__all__ = ["Problem", "Splits", "Study", "compare", "tune"]
