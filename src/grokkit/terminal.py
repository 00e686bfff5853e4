"""What a terminal shows: rich's console, in which no name is markup, and what is drawn while something changes."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.live import Live


def terminal(**settings: Any) -> Console:
    """A rich console that takes a name for what it is, and draws the same on every encoding."""
    return _Terminal(highlight=False, markup=False, emoji=False, **settings)


class _Terminal(Console):
    @property
    def encoding(self) -> str:
        """Rich draws other tables for other encodings; what one lacks is for :func:`grokkit.printed.readable`."""
        return "utf-8"


class Watched:
    """Something drawn again and again while it changes, and wiped away at the end; of a terminal that cannot, nothing.

    Attributes:
        live: rich's view, within ``with``; None where nothing is drawn.
    """

    def __init__(self, console: Console, **how: Any) -> None:
        can_redraw = console.is_terminal and not console.is_dumb_terminal
        self.live = Live(console=console, transient=True, **how) if can_redraw else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
