"""The page's leaderboard: what the terminal shows, and what has no room there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from grokkit.analyse.claims import Claim, claimed_cost, claims
from grokkit.analyse.format import NOT_REACHED, number, number_interval, p_value, ratio, whole
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import Measure, best_shown, best_text, target_of
from grokkit.report.html import cell, swatch, table
from grokkit.report.style import styles_of
from grokkit.report.table import costs_in_order, ratio_cell

_COST_HEADS: dict[Cost, str] = {"steps": "steps", "seconds": "seconds", "flops": "FLOPs"}


def leaderboard_table(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> str:
    target, base = target_of(study).short, escape(study["baseline"])
    best = best_shown(rows, study)
    costs = costs_in_order(claimed_cost(rows, study))
    found = {claim.method: claim for claim in claims(rows, study)}
    is_stable_asked = any(row["stable"] is not None for row in rows)
    head = [
        "method",
        f"runs that<br>reached {target}",
        "steps until<br>it stays",
        *(f"{_COST_HEADS[cost]}<br>vs {base}" for cost in costs),
        "p,<br>adjusted",
        f"first touch<br>of {target}",
        *(["stable<br>from step"] if is_stable_asked else []),
        "dips,<br>deepest",
        "delay<br>in steps",
        "seconds of<br>training",
        "log-rank<br>p",
        *(f"best held-out<br>{measure}" for measure in best),
    ]
    styles = styles_of(study["methods"])
    body = []
    for row in rows:
        missing = NOT_REACHED if row["runs"] else "no runs"
        itself = row["method"] == study["baseline"]
        claim = found.get(row["method"])
        body.append(
            [
                swatch(styles[row["method"]]) + escape(row["method"]),
                cell(f"{row['successes']}/{row['runs']}"),
                cell(
                    number(row["median_steps"], missing),
                    number_interval(row["median_steps_low"], row["median_steps_high"]),
                ),
                *(
                    cell("–") if itself and place else _ratio_cell(row, cost, claim, place == 0, study)
                    for place, cost in enumerate(costs)
                ),
                cell(p_value(claim.p_adjusted), _test_note(claim)) if claim else cell("–"),
                cell(number(row["median_first_steps"], missing)),
                *([_stable_cell(row)] if is_stable_asked else []),
                cell(whole(row["dips"]), _dip(row, target_of(study).measure)),
                cell(number(row["median_delay_steps"], missing)),
                cell(
                    number(row["median_train_seconds"], missing),
                    number_interval(row["median_train_seconds_low"], row["median_train_seconds_high"]),
                ),
                cell(p_value(row["logrank_p"]), _rank_note(row)),
                *(_best_cell(measure, row) for measure in best),
            ]
        )
    return table("Leaderboard: one row per method", head, body)


def _ratio_cell(
    row: Mapping[str, Any], cost: Cost, claim: Claim | None, is_claimed_cost: bool, study: Mapping[str, Any]
) -> tuple[str, str]:
    if claim is None:
        return cell(ratio(row[ratio_keys(cost)["value"]]), "baseline")
    value, interval = ratio_cell(row, cost, claim if is_claimed_cost else None)
    seeds = len(study["seeds"])
    # Where a seed says nothing, the ratio alone would flatter or blame: say how many are in it.
    partial = is_claimed_cost and 0 < row["pairs"] < seeds
    return cell(value, interval, f"{row['pairs']} of {seeds} seeds" if partial else "")


def _stable_cell(row: Mapping[str, Any]) -> tuple[str, str]:
    return cell(number(row["median_stable_steps"], NOT_REACHED), f"{row['stable'] or 0}/{row['runs']}")


def _dip(row: Mapping[str, Any], measure: Measure) -> str:
    depth = row["deepest_dip"]
    if not depth:
        return ""
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


def _best_cell(measure: Measure, row: Mapping[str, Any]) -> tuple[str, str]:
    value, low, high = (row[f"best_{measure}{end}"] for end in ("", "_low", "_high"))
    extremes = "" if value is None or low == high else f"{best_text(measure, low)} to {best_text(measure, high)}"
    return cell(best_text(measure, value), extremes)
