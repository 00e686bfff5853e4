"""Numbers as people read them: three significant digits, thousands separators, words for what is missing."""

from __future__ import annotations

import math

NOT_REACHED = "not reached"
"""What stands where a time to target does not exist, because the run or the median was censored."""


COST_WORDS = {"steps": "steps", "seconds": "seconds of training", "flops": "FLOPs"}
"""The costs of a run as sentences call them."""


def number(value: float | None, missing: str = "–") -> str:
    """Three significant digits with thousands separators; none after the point of a whole number from 10 on, as
    of steps.

    >>> [number(v) for v in (12345, 950, 60.0, 1.0, 12.3456, 0.012345, 0, None, float("nan"), float("-inf"))]
    ['12,300', '950', '60', '1.00', '12.3', '0.0123', '0', '–', 'nan', '-inf']
    """
    if value is None:
        return missing
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    # 9.996 has become 10.00: one digit too many unless the exponent is taken again.
    digits = 2 - math.floor(math.log10(abs(rounded)))
    if abs(rounded) < 1e-4 or abs(rounded) >= 1e12:
        return f"{rounded:.2e}"
    decimals = 0 if isinstance(value, int) or (value >= 10 and float(value).is_integer()) else max(digits, 0)
    return f"{rounded:,.{decimals}f}"


def whole(value: int | None, missing: str = "–") -> str:
    """A count in full, for what was set or counted and not estimated.

    >>> whole(12345)
    '12,345'
    """
    return missing if value is None else f"{value:,}"


def ratio(value: float | None, missing: str = "–") -> str:
    """A ratio with its sign: two decimals up to 10, three significant digits beyond or far below.

    >>> [ratio(v) for v in (0.8, 1.254, 12.345, 0.01234)]
    ['0.80×', '1.25×', '12.3×', '0.0123×']
    """
    return missing if value is None else f"{_ratio_digits(value)}×"


def _ratio_digits(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else number(float(value))


def number_interval(low: float | None, high: float | None) -> str:
    """An interval of times; where the data set no upper limit, only the lower one; no interval is empty.

    >>> number_interval(1234, 2345), number_interval(1234, None), number_interval(None, None)
    ('1,230–2,340', '≥ 1,230', '')
    """
    if low is None and high is None:
        return ""
    return f"≥ {number(low)}" if high is None else f"{number(low, '0')}–{number(high)}"


def ratio_interval(low: float | None, high: float | None) -> str:
    """An interval of ratios, empty if there is none.

    >>> ratio_interval(0.71, 0.93)
    '0.71–0.93'
    """
    return "" if low is None or high is None else f"{_ratio_digits(low)}–{_ratio_digits(high)}"


def bound(value: float | None, side: str | None) -> str:
    """A ratio of which only a limit is known.

    >>> bound(3.14159, "at least"), bound(None, None)
    ('at least 3.14×', '')
    """
    return "" if value is None else f"{side} {ratio(value)}"


def short_bound(value: float | None, side: str | None) -> str:
    """The same for the cell of a table.

    >>> short_bound(3.14159, "at least"), short_bound(0.5, "at most"), short_bound(None, None)
    ('≥ 3.14×', '≤ 0.50×', '')
    """
    return "" if value is None else f"{'≥' if side == 'at least' else '≤'} {ratio(value)}"


def p_value(p: float | None) -> str:
    """
    >>> [p_value(p) for p in (0.0002, 0.0321, 0.5, None)]
    ['< 0.001', '0.032', '0.50', '–']
    """
    if p is None:
        return "–"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def percent(fraction: float) -> str:
    """
    >>> percent(0.95), percent(0.995)
    ('95 %', '99.5 %')
    """
    return f"{100 * fraction:.4g} %"


def count(n: int, noun: str) -> str:
    """
    >>> count(1, "seed"), count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def listed(parts: list[str]) -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
