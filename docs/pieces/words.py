"""Numbers and claims of one arm in words, shared by inline pieces and tables."""

from __future__ import annotations

from typing import Any

from grokkit.analyse.format import COST_WORDS, NOT_REACHED, bound, count, number, number_interval, ratio, ratio_interval
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import target_of
from pieces.studies import Study

MISSING = "–"

UNITS = COST_WORDS
LESS: dict[Cost, str] = {"steps": "fewer steps", "seconds": "less training time", "flops": "fewer FLOPs"}
MORE: dict[Cost, str] = {"steps": "more steps", "seconds": "more training time", "flops": "more FLOPs"}


def shown(study: Study, arm: str) -> str:
    """A label, or a method's name, as code; any other short name as it is."""
    code, known = f"`{arm}`", study.arms.get(arm)
    return code if arm in study.methods or (known is not None and known.shown == code) else arm


def ratio_text(study: Study, arm: str, cost: Cost | None = None, vs: str | None = None) -> str:
    """``0.85× [0.72–1.01]``, with what there is to say of the pairs behind it; ``at least 3.10×`` where that is all."""
    row = study.row(arm, vs)
    if row["method"] == study.label(vs or study.baseline):
        return "1"
    keys = ratio_keys(cost or study.cost)
    value, low, high = (row[keys[part]] for part in ("value", "low", "high"))
    if value is None:
        return bound(row[keys["bound"]], row[keys["side"]]) or MISSING
    interval = ratio_interval(low, high)
    text = f"{ratio(value)} [{interval}]" if interval else ratio(value)
    complete, runs = row["complete_pairs"], row["runs"]
    return text if complete == runs else f"{text}, {complete} of {runs} pairs complete"


def median_text(row: dict[str, Any], measure: str = "steps", *, interval: bool = False) -> str:
    """A Kaplan–Meier median of ``row``, with its interval where five runs or more have one."""
    value = row[f"median_{measure}"]
    text = time_text(value, NOT_REACHED if row["runs"] else MISSING)
    if not interval or value is None or row["runs"] < 5:
        return text
    limits = number_interval(row[f"median_{measure}_low"], row[f"median_{measure}_high"])
    return f"{text} [{limits}]" if limits else text


def time_text(value: float | None, missing: str = NOT_REACHED) -> str:
    """Three digits; a median that is a whole number of steps has no decimals."""
    return number(int(value) if value is not None and value == int(value) else value, missing)


def giga_text(value: float | None, missing: str = MISSING) -> str:
    """Thousands of millions, three digits."""
    return missing if value is None else number(value / 1e9)


def reached_text(row: dict[str, Any]) -> str:
    return f"{row['successes']}/{row['runs']}"


def claim_text(study: Study, arm: str, vs: str | None = None, than: str | None = None) -> str:
    """What may be said of ``arm`` beside the baseline, as the rest of a sentence that begins with it.

    ``than``: what the sentence calls the baseline; otherwise it has its short name, or its label.
    """
    row, base = study.row(arm, vs), study.row(vs or study.baseline)
    other = than or shown(study, vs or study.short(study.baseline))
    target = target_of(study.about).phrase
    standing = study.standing(arm, vs)
    if standing == "never":
        keys = ratio_keys(study.cost)
        limit = bound(row[keys["bound"]], row[keys["side"]])
        more = f", {limit} the {UNITS[study.cost]} of {other}" if limit else ""
        return f"reached {target} in none of {count(row['runs'], 'run')}{more}"
    both = f"{reached_text(row)} against {reached_text(base)}"
    if standing in ("more often", "less often"):
        return f"reached {target} {standing} than {other} ({both} runs)"
    if not base["successes"]:
        return (
            f"reached {target} in {row['successes']} of {count(row['runs'], 'run')}, {other} in none of {base['runs']}"
        )
    evidence = ratio_text(study, arm, vs=vs)
    often = row["success_rate"] - base["success_rate"]
    if standing == "less":
        but = f", but gets there less often ({both})" if often < 0 else ""
        return f"needs {LESS[study.cost]} than {other}, {evidence}{but}"
    if standing == "more":
        but = f", but gets there more often ({both})" if often > 0 else ""
        return f"needs {MORE[study.cost]} than {other}, {evidence}{but}"
    coarse = ["within the resolution of the evaluations"] if study.claim(arm, vs).within_resolution else []
    known = "; ".join(part for part in (evidence, *coarse) if part != MISSING)
    unsure = f"shows no clear difference from {other} in {UNITS[study.cost]}{f' ({known})' if known else ''}"
    return f"{unsure}, and reached {target} in {both} runs" if often else unsure
