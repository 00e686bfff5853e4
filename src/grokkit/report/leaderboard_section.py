"""The page's leaderboard: what the terminal shows, and what has no room there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from grokkit.analyse.claims import Claim, claimed_cost, claims
from grokkit.analyse.format import NOT_REACHED, number, number_interval, p_value, ratio, whole
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import Measure, best_shown, best_text, target_of
from grokkit.report.html import marked, table
from grokkit.report.style import styles_of
from grokkit.report.table import arrivals, complete_pairs, costs_in_order, missing_time, ratio_cell

_Cell = Callable[[Mapping[str, Any]], str | tuple[str, ...]]

_COST_HEADS: dict[Cost, str] = {"steps": "steps", "seconds": "seconds", "flops": "FLOPs"}


def leaderboard_table(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> str:
    aim, base = target_of(study), escape(study["baseline"])
    styles, found = styles_of(study["methods"]), {claim.method: claim for claim in claims(rows, study)}
    claimed, *others = costs_in_order(claimed_cost(rows, study))
    columns: dict[str, _Cell] = {
        "method": lambda row: marked(styles[row["method"]], row["method"]),
        f"runs that<br>reached {aim.short}": arrivals,
        f"steps until<br>it {aim.lasts}": lambda row: _with_interval(row, "median_steps"),
        f"{_COST_HEADS[claimed]}<br>vs {base}": lambda row: _claimed_ratio(row, claimed, found),
    }
    for cost in others:
        columns[f"{_COST_HEADS[cost]}<br>vs {base}"] = _other_ratio(cost, found)
    columns |= {
        "p,<br>adjusted": lambda row: _p_adjusted(found.get(row["method"])),
        f"first touch<br>of {aim.value_text}": lambda row: number(row["median_first_steps"], missing_time(row)),
    }
    if not aim.stable_for and any(row["stable"] is not None for row in rows):
        columns["stable<br>from step"] = _stable
    columns |= {
        "dips,<br>deepest": lambda row: (whole(row["dips"]), _depth(row, aim.measure)),
        "delay<br>in steps": lambda row: number(row["median_delay_steps"], missing_time(row)),
        "seconds of<br>training": lambda row: _with_interval(row, "median_train_seconds"),
        "log-rank<br>p": lambda row: (p_value(row["logrank_p"]), _rank_note(row)),
    }
    for measure in best_shown(rows, study):
        columns[f"best held-out<br>{measure}"] = _best(measure)
    return table("Leaderboard: one row per method", columns, rows, arm=lambda row: row["method"])


def _with_interval(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    return number(row[name], missing_time(row)), number_interval(row[f"{name}_low"], row[f"{name}_high"])


def _claimed_ratio(row: Mapping[str, Any], cost: Cost, found: Mapping[str, Claim]) -> tuple[str, ...]:
    claim = found.get(row["method"])
    if claim is None:
        return ratio(row[ratio_keys(cost)["value"]]), "baseline"
    return (*ratio_cell(row, cost, claim), complete_pairs(row))


def _other_ratio(cost: Cost, found: Mapping[str, Claim]) -> _Cell:
    return lambda row: ratio_cell(row, cost, None) if row["method"] in found else "–"


def _p_adjusted(claim: Claim | None) -> tuple[str, str]:
    return (p_value(claim.p_adjusted), _test_note(claim)) if claim else ("–", "")


def _stable(row: Mapping[str, Any]) -> tuple[str, str]:
    if row.get("given_up"):
        return missing_time(row), ""
    return number(row["median_stable_steps"], NOT_REACHED), f"{row['stable'] or 0}/{row['runs']}"


def _depth(row: Mapping[str, Any], measure: Measure) -> str:
    depth = row["deepest_dip"]
    if not row["dips"]:
        return ""
    if depth is None:
        return "not finite"
    return f"{100 * depth:.1f} points" if measure == "accuracy" else f"+{number(depth)}"


def _test_note(claim: Claim) -> str:
    """What the p value beside it is of, where that is not the ratio, and whether it makes a claim."""
    said = {"ratio": "", "successes": "of how often", None: ""}[claim.test]
    mark = "claimed" if claim.claimed else "within the resolution" if claim.within_resolution else ""
    return ", ".join(part for part in (said, mark) if part)


def _rank_note(row: Mapping[str, Any]) -> str:
    """Which side is earlier, and the least p that so few runs could have had, if that is large enough to matter."""
    if row["logrank_p"] is None:
        return ""
    least = row["logrank_least_p"]
    return ", ".join([row["logrank_direction"], *([f"least {p_value(least)}"] if least >= 0.001 else [])])


def _best(measure: Measure) -> _Cell:
    def cell(row: Mapping[str, Any]) -> tuple[str, str]:
        value, low, high = (row[f"best_{measure}{end}"] for end in ("", "_low", "_high"))
        extremes = "" if value is None or low == high else f"{best_text(measure, low)} to {best_text(measure, high)}"
        return best_text(measure, value), extremes

    return cell
