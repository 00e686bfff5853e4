"""The pictures of the report, one module each, found by looking."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from grokkit.errors import InputError
from grokkit.report.figure import Figure, View

GROUP = "grokkit.figures"


def all_figures() -> list[Figure]:
    """The figures of the modules beside this file, then those that installed packages name as entry points.

    An entry point that cannot be loaded, or whose name is taken, is a figure that fails to be drawn, and so is named
    where it would have stood.
    """
    figures = list(_ours())
    names = {figure.name for figure in figures}
    for point in entry_points(group=GROUP):
        figure = _loaded(point)
        if figure.name in names:
            figure = _broken(point, InputError(f"another figure is named {figure.name}"))
        names.add(figure.name)
        figures.append(figure)
    return figures


def _ours() -> Iterator[Figure]:
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        for value in vars(module).values():
            if isinstance(value, Figure):
                yield value


def _loaded(point: EntryPoint) -> Figure:
    try:
        figure = point.load()
    except Exception as error:
        return _broken(point, error)
    if not isinstance(figure, Figure):
        return _broken(point, InputError(f"{point.value} is a {type(figure).__name__}, not a grokkit.report.Figure"))
    return figure


def _broken(point: EntryPoint, error: Exception) -> Figure:
    def fail(view: View) -> None:
        raise error

    name = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in point.name.lower())
    return Figure(name=f"entry-point-{name}", section=point.name, title=point.name, data=fail, draw=lambda *_: [])
