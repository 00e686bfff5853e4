"""The tables of the methods, from their cards: what each does, its equation and defaults, where it comes from."""

from __future__ import annotations

import re
from itertools import groupby

from grokkit.methods.contract import MethodCard
from grokkit.registry import parts
from grokkit.train.own_part import default_settings

TITLES = {
    "start": "Before the first step",
    "loss": "The loss",
    "gradient": "The gradient",
    "optimizer": "The optimizer",
    "weights": "The weights, after the step",
    "": "Optimizers alone",
}
HEAD = ["| method | what it does | equation | settings, with their defaults | from |", "|---|---|---|---|---|"]


def methods() -> str:
    """A heading for each door, and below it the methods of which that is the first."""
    cards = [part.value for part in parts("methods").values() if part.origin == "grokkit"]
    cards.sort(key=lambda card: [*TITLES].index(_door(card)))
    found = []
    for door, own in groupby(cards, _door):
        found += [f"### {TITLES[door]}", "", *HEAD, *map(_row, own), ""]
    return "\n".join(found).strip()


def _door(card: MethodCard) -> str:
    return (card.hooks or ("",))[0]


def _row(card: MethodCard) -> str:
    own = default_settings(card).items()
    settings = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in own]
    cells = (f"`{card.name}`", f"{card.summary} {card.departures}", card.equations, ", ".join(settings), _source(card))
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in cells)} |"


def _source(card: MethodCard) -> str:
    if number := re.search(r"\d{4}\.\d{5}", card.citation):
        return f"[arXiv {number[0]}](https://arxiv.org/abs/{number[0]})"
    address = re.search(r"https://[^}\s]+", card.citation)
    return f"[page]({address[0]})" if address else ""
