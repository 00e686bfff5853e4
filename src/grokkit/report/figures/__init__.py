"""The pictures of the report, one module each. The registry finds them, and those of installed packages."""

from __future__ import annotations

import grokkit.registry as registry
from grokkit.errors import InputError
from grokkit.report.figure import Figure, View


def all_figures() -> list[Figure]:
    """Ours, then those that installed packages name as entry points ``grokkit.figures``.

    One that is of no use stands among them as a figure that cannot be drawn, so that the report says why.
    """
    figures: dict[str, Figure] = {}
    for name, part in registry.parts("figures").items():
        try:
            figure = part.value if isinstance(part.value, Figure) else part.value()
            if figure.name in figures:
                raise InputError(f"another figure is named {figure.name}")
        except Exception as error:
            figure = _useless(name, error)
        figures[figure.name] = figure
    for name, why in registry.broken("figures").items():
        figure = _useless(name, InputError(why))
        figures[figure.name] = figure
    return list(figures.values())


def _useless(name: str, error: Exception) -> Figure:
    def fail(view: View) -> None:
        raise error

    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    return Figure(name=f"entry-point-{plain}", section="", title="", data=fail, draw=lambda data, view: [])
