"""What a logger is: it is handed what a run reports while it trains, and keeps or shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from grokkit.errors import MissingExtraError, about
from grokkit.registry import find, made

if TYPE_CHECKING:  # a report, which exports too, needs no PyTorch
    from grokkit.train.config import RunConfig

_NO_SCALARS = {"run_id", "method", "seed", "step", "certain_step"}


class Writer(Protocol):
    """One run's end of a logger."""

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of a full evaluation. Steps grow."""
        ...

    def close(self, failed: bool) -> None:
        """The run has ended, or is stopped; ``failed`` unless it ended well."""
        ...


@dataclass(frozen=True)
class LoggedRun:
    """A run that begins to report.

    Attributes:
        folder: the study's. A logger that writes files writes them below ``log`` in it.
        run_id: the run's name there.
        config: all that determines the run.
        first_step: that of its first point: 0, or that of a checkpoint from which it goes on.
    """

    folder: Path
    run_id: str
    config: RunConfig
    first_step: int

    @property
    def project(self) -> str:
        """A name for the study, from its folder: ``out/mul-97`` is ``out-mul-97``."""
        return re.sub(r"[^\w.]+", "-", str(self.folder)).strip("-.")[-100:] or "grokkit"

    @property
    def title(self) -> str:
        return f"{self.config.method.label}, seed {self.config.seed}"


class LoggerCard(NamedTuple):
    """A logger.

    ``open(run)`` is called in the driver's process when the run's first point is there, for several runs at a time.
    Whatever it or its writers raise ends the logging and is said once; the study goes on. Ours name in ``needs`` the
    package that they cannot do without; the extra that brings it has the logger's name.
    """

    name: str
    open: Callable[[LoggedRun], Writer]
    summary: str = ""
    needs: str = ""


def find_logger(name: str) -> LoggerCard:
    """The logger called ``name``, with what it needs.

    Raises:
        InputError: if there is none of that name.
        MissingExtraError: without the package that it needs.
    """
    with about("--log"):
        card = made(find("loggers", name), {})
        if card.needs and find_spec(card.needs) is None:
            raise MissingExtraError(card.needs, card.name)
    return card


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of the curves, without those that it does not have."""
    return {name: value for name, value in row.items() if name not in _NO_SCALARS and value is not None}
