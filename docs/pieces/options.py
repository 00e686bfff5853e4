"""The table of a command's options, from the one place that has them: their help, their kind, their default."""

from __future__ import annotations

from dataclasses import MISSING, fields

from grokkit.study.execution import Execution, options_of, spelt
from grokkit.study.question import Question
from grokkit.study.tune import SearchOptions


def options_table() -> str:
    """A row an option of ``compare``, ``tune`` or both; a default that depends on something stands in its text."""
    lines = ["| option | default | what it is |", "|---|---|---|"]
    for kind in (Question, SearchOptions, Execution):
        for field in fields(kind):
            its = options_of(kind)[field.name]
            is_open = field.default in (MISSING, None)
            default = "" if is_open else f"`{field.default}`"
            name = f"`{spelt(field.name)}`" if field.name != "task" else "`TASK`"
            of = " (`tune`)" if kind is SearchOptions else ""
            lines.append(f"| {name}{of} | {default} | {_shown(its.help)} |")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """A help text in a table's cell."""
    return text.replace("|", "\\|").replace("*", "\\*")
