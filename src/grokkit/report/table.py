"""The leaderboard as a table for the terminal: made for 100 columns, whole at 80."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grokkit.analyse.target import Measure, best_shown, best_text, target_of
from grokkit.analyse.words import (
    NOT_REACHED,
    number,
    number_interval,
    p_value,
    ratio,
    ratio_interval,
)

if TYPE_CHECKING:
    from rich.table import Table


def leaderboard_table(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> Table:
    """A rich table of ``rows`` (of leaderboard.json), intervals under the values they belong to."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    target, best = target_of(study).short.replace(" ", "\u00a0"), best_shown(rows, study)[:1]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold", min_width=12)
    for header in (
        f"reached\n{target}",
        f"steps\nto {target}",
        f"train secs\nto {target}",
        "delay,\nsteps",
        "steps vs\nbaseline",
        "log-rank\np",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        baseline = row["method"] == study["baseline"]
        missing = NOT_REACHED if row["runs"] else "no runs"
        ratio_note = "baseline" if baseline else ratio_interval(row["ratio_ci_low"], row["ratio_ci_high"])
        if not baseline and 0 < row["pairs"] < row["runs"]:
            ratio_note = f"{ratio_note}\n{row['pairs']}/{row['runs']} pairs".lstrip("\n")
        table.add_row(
            # Text, not str: a name from the command line may hold [brackets], which rich would read as markup.
            Text(row["method"], style="bold" if baseline else ""),
            _stacked(Text, f"{row['successes']}/{row['runs']}", _best(row, best)),
            _stacked(
                Text,
                number(row["median_steps"], missing),
                number_interval(row["median_steps_low"], row["median_steps_high"]),
            ),
            _stacked(
                Text,
                number(row["median_train_seconds"], missing),
                number_interval(row["median_train_seconds_low"], row["median_train_seconds_high"]),
            ),
            number(row["median_delay_steps"], "–"),
            _stacked(Text, ratio(row["ratio_steps_vs_baseline"]), ratio_note),
            p_value(row["logrank_p"]),
        )
    return table


def _best(row: Mapping[str, Any], measures: Sequence[Measure]) -> str:
    """How near its runs came in the median, where the reader needs to know."""
    return "".join(f"best\u00a0{best_text(measure, row[f'best_{measure}'])}" for measure in measures if row["runs"])


def _stacked(text: Any, value: str, note: str) -> Any:
    return text.assemble(value, ("\n" + note if note else "", "dim"))
