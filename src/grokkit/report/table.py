"""The leaderboard as a table for the terminal: all of it from 96 columns on, the most important from 60."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grokkit.analyse.claims import Claim, claimed_cost, claims
from grokkit.analyse.format import NOT_REACHED, number, number_interval, ratio, ratio_interval, short_bound, whole
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.survival import COSTS, Cost
from grokkit.analyse.target import Measure, best_shown, best_text, target_of

if TYPE_CHECKING:
    from rich.table import Table

CLAIMED = "*"
"""Stands after a ratio that the study may claim."""

_HEADS: dict[Cost, str] = {"steps": "steps", "seconds": "secs", "flops": "FLOPs"}


_EVENTS_FROM = 76
_ALL_COSTS_FROM = 96
"""Columns of the terminal from which on first touch and dips are shown, and the costs that the study claims nothing
in."""


def plain_table(caption: str) -> Table:
    """The table of a terminal as all of ours begin: a rule below the heads, no frame, the caption below it."""
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        header_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption=caption,
        caption_justify="left",
    )


def in_lines(label: str, width: int) -> str:
    """``label`` in lines of at most ``width`` columns, which end behind a comma, a parenthesis or a plus if they
    can.

    >>> print(in_lines("grokfast-ema(lr=0.005,wd=0.3,alpha=0.98)", 24))
    grokfast-ema(lr=0.005,
    wd=0.3,alpha=0.98)
    """
    lines = [""]
    for part in re.findall(r"[^,(+]*[,(+]?", label):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def leaderboard_table(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any], width: int = 100) -> Table:
    """A rich table of ``rows`` (of leaderboard.json), intervals under the values they belong to.

    A terminal of less than ``width`` = 96 columns gets fewer of them, and no cell that is cut.
    """
    from rich.text import Text

    target, best = target_of(study).short.replace(" ", "\u00a0"), best_shown(rows, study)[:1]
    found = {claim.method: claim for claim in claims(rows, study)}
    costs = costs_in_order(claimed_cost(rows, study))[: 3 if width >= _ALL_COSTS_FROM else 1]
    has_events = width >= _EVENTS_FROM
    room = width - (72 if len(costs) > 1 else 50 if has_events else 34)  # what the other columns leave
    table = plain_table(_legend(found.values()))
    table.add_column("method", overflow="fold", min_width=12)
    events = ["first\ntouch", "dips"] if has_events else []
    for header in (f"reached\n{target}", *events[:1], f"steps\nto {target}", *events[1:]):
        table.add_column(header, justify="right", no_wrap=True)
    for cost in costs:
        table.add_column(f"{_HEADS[cost]} vs\nbaseline", justify="right", no_wrap=True)
    for row in rows:
        is_baseline = row["method"] == study["baseline"]
        missing = missing_time(row)
        touch = [number(row["median_first_steps"], "–")] if has_events else []
        dips = [whole(row["dips"], "–")] if has_events else []
        ratios = [
            _stacked(
                Text,
                *ratio_cell(row, cost, None if place else found.get(row["method"])),
                "" if place else complete_pairs(row, short=True),
            )
            for place, cost in enumerate(costs)
        ]
        table.add_row(
            # Text, not str: a name from the command line may hold [brackets], which rich would read as markup.
            Text(in_lines(row["method"], room), style="bold" if is_baseline else ""),
            _stacked(Text, arrivals(row), _best(row, best)),
            *touch,
            _stacked(
                Text,
                number(row["median_steps"], missing),
                number_interval(row["median_steps_low"], row["median_steps_high"]),
            ),
            *dips,
            *(["baseline", *[""] * (len(costs) - 1)] if is_baseline else ratios),
        )
    return table


def complete_pairs(row: Mapping[str, Any], short: bool = False) -> str:
    """In how many seeds both runs arrived, where the ratio that the study claims in is not of both in all."""
    complete = row["complete_pairs"]
    if not row["pairs"] or complete == row["runs"]:
        return ""
    return f"{complete}/{row['runs']} pairs" if short else f"{complete} of {row['runs']} pairs complete"


def arrivals(row: Mapping[str, Any]) -> str:
    """How many of a method's runs arrived; only how many were given up, if some were."""
    if row.get("given_up"):
        return f"{row['given_up']}/{row['runs']} given up"
    return f"{row['successes']}/{row['runs']}"


def missing_time(row: Mapping[str, Any]) -> str:
    """What stands in the place of a time that there is not."""
    return "given up" if row.get("given_up") else NOT_REACHED if row["runs"] else "no runs"


def costs_in_order(claimed: Cost) -> list[Cost]:
    """The cost that the study claims in, and the others beside it."""
    return [claimed, *(cost for cost in COSTS if cost != claimed)]


def ratio_cell(row: Mapping[str, Any], cost: Cost, claim: Claim | None) -> tuple[str, str]:
    """The ratio in ``cost``, marked if it is what ``claim`` claims, or its bound; and the interval."""
    keys = ratio_keys(cost)
    value = row.get(keys["value"])
    mark = CLAIMED if claim is not None and claim.claimed and claim.test == "ratio" else ""
    limit = short_bound(row.get(keys["bound"]), row.get(keys["side"]))
    shown = f"{ratio(value)}{mark}" if value is not None else limit or "–"
    return shown, ratio_interval(row.get(keys["low"]), row.get(keys["high"]))


def _legend(found: Any) -> str:
    claimed = any(claim.claimed and claim.test == "ratio" for claim in found)
    mark = f"{CLAIMED} claimed, all arms taken together (Holm). " if claimed else ""
    return f"{mark}Intervals are 95 % each, not adjusted for the number of arms."


def _best(row: Mapping[str, Any], measures: Sequence[Measure]) -> str:
    """How near its runs came in the median, where the reader needs to know."""
    return "".join(f"best\u00a0{best_text(measure, row[f'best_{measure}'])}" for measure in measures if row["runs"])


def _stacked(text: Any, value: str, *notes: str) -> Any:
    return text.assemble(value, ("".join(f"\n{note}" for note in notes if note), "dim"))
