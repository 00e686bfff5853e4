"""How a question is carried out, and what the options of any command are: for the command line and for Python alike.

PyTorch is not imported by this: a report has options, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from grokkit.arguments import Place, Range, Text, option, whole
from grokkit.call_syntax import LARGEST_WHOLE, texts_in
from grokkit.errors import about

MOST_SEEDS = 100_000
MOST_STEPS = 10**12  # far beyond what anything takes, and exact in every number that steps are multiplied with
MOST_JOBS = 1024

Count = Annotated[int, whole(1, MOST_STEPS)]
CountOrNone = Annotated[int, whole(0, MOST_STEPS)]
Jobs = Annotated[int, whole(1, MOST_JOBS)]
SeedCount = Annotated[int, whole(1, MOST_SEEDS)]
Seeds = (
    SeedCount
    | Annotated[
        tuple[Annotated[int, whole(0, LARGEST_WHOLE)], ...],
        Range("in Python a list of different ones >= 0", lambda seeds: 0 < len(set(seeds)) == len(seeds) <= MOST_SEEDS),
    ]
)
Texts = Text | Annotated[tuple[Text, ...], Range("a list of texts in Python", bool)]
Share = Annotated[float, Range("a number > 0 and < 1", lambda value: 0 < value < 1)]
ShareOrNone = Annotated[float, Range("a number >= 0 and < 1", lambda value: 0 <= value < 1)]
# Sooner than that a run that is given up could still have been of use: claims of 2x would rest on bounds.
Times = Annotated[float, Range("a number >= 3", lambda value: 3 <= value < math.inf)]
Accuracy = Annotated[float, Range("a number > 0 and <= 1", lambda value: 0 < value <= 1)]


class Option(NamedTuple):
    """What a field is, for the command line and for Python alike: its help, and what it may be."""

    help: str
    kind: Any = Text
    remedy: str = ""


# What a search has not: a baseline and what is shown of a study, or settings that were found before.
NOT_OF_A_SEARCH = ("baseline", "primary", "only", "tuned", "give_up")
NOT_OF_A_SUITE = ("only",)


def options_of(kind: type) -> dict[str, Option]:
    """The options that the fields of ``kind`` are, by the names of the fields."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(kind)}


def spelt(name: str) -> str:
    """How the command line calls the field ``name``."""
    return name if name == "task" else f"--{name.replace('_', '-')}"


class Checked:
    """Every field is what its option says that it may be, however the question came in."""

    def __post_init__(self) -> None:
        for name, its in options_of(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, Iterable) and not isinstance(value, str):
                value = tuple(islice(value, MOST_SEEDS + 1))  # which may be an array, or never end
            default = getattr(type(self), name, None)
            object.__setattr__(self, name, option(spelt(name), value, its.kind, default, its.remedy))


@dataclass(frozen=True, kw_only=True)
class Execution(Checked):
    """How a question is carried out: nothing here changes a run or its identity."""

    out: Annotated[Path | str | None, Option("folder for runs and report [default: one in out/]", Place)] = None
    device: Annotated[str, Option("cpu, cuda, or auto: a GPU if there is one", Literal["cpu", "cuda", "auto"])] = "auto"
    on: Annotated[str, Option("machines: local, ray (one started for this), or ray:ADDRESS, a Ray cluster")] = "local"
    jobs: Annotated[int | None, Option("runs at once, one thread each [default: one a core]", Jobs)] = None
    give_up: Annotated[
        float | None,
        Option("give a run up at so many times the cost of its seed's baseline, 3 or more [default: never]", Times),
    ] = None
    only: Annotated[
        str | Sequence[str] | None, Option("methods to show in the report [default: all that the folder holds]", Texts)
    ] = None
    log: Annotated[
        str | None, Option("where to watch runs while they train: tensorboard, wandb, trackio or MODULE:CARD")
    ] = None

    def shown(self) -> list[str] | None:
        """The methods to show; None for all."""
        if self.only is None:
            return None
        with about("--only"):
            return texts_in(self.only)
