"""The benchmark's rows in words and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.analyse.format import number, ratio, ratio_interval

Row = Mapping[str, Any]


def bench_text(row: Row) -> str:
    """``0.26× [0.24–0.28]``: ours over plain, and the smallest and the largest round."""
    return f"{ratio(row['ratio'])} [{ratio_interval(row['ratio_min'], row['ratio_max'])}]"


def misses(row: Row) -> bool:
    return row["target"] is not None and row["ratio"] > row["target"]


def machine_text(rows: Mapping[str, Row]) -> str:
    """The processor and PyTorch of the rows; all of them if there are several."""
    known = {f"{row['processor']}, PyTorch {row['torch']}" for row in rows.values()}
    return "; ".join(sorted(known))


def bench_table(rows: Mapping[str, Row]) -> str:
    """All rows, each with its spread and its aim."""
    lines = ["| row | plain, ms | ours, ms | ours/plain | aim | threads |", "|---|---|---|---|---|---|"]
    for name, row in rows.items():
        aim = "–" if row["target"] is None else f"≤ {row['target']:g}×{', missed' if misses(row) else ''}"
        cells = [
            f"`{name}`",
            number(row["plain_ms"]),
            number(row["ours_ms"]),
            bench_text(row),
            aim,
            str(row["threads"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def bench_list(rows: Mapping[str, Row]) -> str:
    """What each row compares, and what the benchmark noted beside it."""
    lines = []
    for name, row in rows.items():
        note = f" ({row['note']})" if row["note"] else ""
        lines.append(f"- `{name}`: {row['about']}{note}.")
    return "\n".join(lines)
