"""The conformance suite every gradient transform must pass; use it on your own.

    from grokkit.testing import check_transform
    check_transform(lambda: my_transform(strength=0.5))

Each check raises ``AssertionError`` saying what differed. ``CHECKS`` is the table, for one test per check.
``check_problem`` says whether a problem of your own is fit to be compared on, as ``grokkit check`` does.
"""

from grokkit.testing.checks import CHECKS, PER_TENSOR_CHECKS, check_off, check_reference, check_transform
from grokkit.testing.problem import Finding, check_problem

__all__ = [
    "CHECKS",
    "PER_TENSOR_CHECKS",
    "Finding",
    "check_off",
    "check_problem",
    "check_reference",
    "check_transform",
]
