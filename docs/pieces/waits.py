"""What a person waits for besides training: the table of docs/results/waits.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.analyse.format import number


def waits_table(measured: Mapping[str, Any]) -> str:
    """A row for each command."""
    lines = ["| what | seconds | of the processor | aim, seconds |", "|---|---|---|---|"]
    for name, wait in measured["waits"].items():
        aim = f"≤ {wait['aim']:g}{', missed' if wait['seconds'] > wait['aim'] else ''}"
        lines.append(f"| {name} | {number(wait['seconds'])} | {number(wait['processor'])} | {aim} |")
    return "\n".join(lines)
