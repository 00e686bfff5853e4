"""The conformance suite every gradient transform must pass; use it on your own.

    from grokkit.testing import check_transform
    check_transform(lambda: my_transform(strength=0.5))

Each check raises ``AssertionError`` saying what differed. ``CHECKS`` is the table, for one test per check.
"""

from grokkit.testing.checks import CHECKS, PER_TENSOR_CHECKS, check_off, check_reference, check_transform

__all__ = ["CHECKS", "PER_TENSOR_CHECKS", "check_off", "check_reference", "check_transform"]
