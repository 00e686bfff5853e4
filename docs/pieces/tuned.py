"""How the methods of a comparison were tuned: the account that its study carries of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pieces.markers import PageError
from pieces.studies import Study
from pieces.words import MISSING, giga_text

Table = Callable[[Sequence[Sequence[str]]], str]


def tuned_table(study: Study, table: Table) -> str:
    """A row for each method: where was searched, what came of it, and what finding it took.

    Raises:
        PageError: if the study's methods were not searched.
    """
    searched: dict[str, dict[str, Any]] = study.about.get("tuned") or {}
    if not searched:
        raise PageError(f"the methods of study {study.name!r} were not tuned by a search")
    rows = [
        [
            "best setting",
            "searched in",
            "arrived before they were given up",
            "GFLOP to the target",
            "runs",
            "TFLOP of all",
        ]
    ]
    for label, search in searched.items():
        arrived = sum(has_arrived for _, has_arrived, *_ in search["costs"])
        rows.append(
            [
                f"`{label}`",
                f"`{search['space'].replace('|', ' or ')}`" if search["space"] else MISSING,
                f"{arrived}/{search['trials']}",
                giga_text(search["cost_to_target"]) if search["has_arrived"] else "not reached",
                str(search["runs"]),
                giga_text(search["flops"] / 1e3),
            ]
        )
    return table(rows)
