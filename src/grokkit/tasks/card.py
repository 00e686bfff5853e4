"""What a task says of itself: one card in each task's own file, read by the command line and the lab.

A task from outside has a card of the same kind: ``mypkg.tasks:CARD``, or an entry point ``grokkit.tasks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import isfunction
from typing import Any

from grokkit.arguments import settings_of
from grokkit.errors import InputError
from grokkit.outside import theirs
from grokkit.tasks.problem import Problem
from grokkit.tasks.task import Task

Settings = dict[str, Any]


def _unchanged(settings: Settings) -> Settings:
    return settings


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """A task's facts.

    Attributes:
        name: what the command line calls it, e.g. ``parity``.
        build: makes the task from its settings, which are its arguments, or a :class:`Problem`, which says for itself
            what ``model``, ``batch_size``, ``target``, ``optimizer`` and ``digest`` leave open, and is trained alone.
            Settings that may be given by position may also follow the name and a colon, in any order that their kinds
            allow: ``mnist:cross-entropy,2000``. The others stand in parentheses: ``imdb:5000(length=500)``. An argument
            ``data_dir`` is the folder to read data from, or None, and is no setting.
        usage: how it is written, and a line on it, for ``grokkit tasks``.
        example: a text that can be typed.
        smallest: a text of one that the test suite can train on within a second. Empty: ``example``.
        model, batch_size, train_size: what ``grokkit compare`` takes unless told: the model, rows a step, and rows to
            train on. None: the model's own batch size, and half of the rows. ``full`` is a batch size, too.
        target: the held-out accuracy that counts as generalized. None: 0.95.
        optimizer: what methods are compared with there, settings by name. Empty: what each method's card says.
        digest: gives what stands for the data in a run's identity, where the settings do not say all.
        stackable: whether runs on it can share a program.
        target_loss: the held-out loss that counts as generalized, of a task that is judged by its loss.
        canonical: brings checked settings into the one form that all spellings of the same task share.
        revision: raised when its rows change, so that no earlier result answers for it.
    """

    name: str
    build: Callable[..., Task | Problem]
    usage: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    smallest: str = ""
    model: str = "decoder"
    batch_size: int | str | None = None
    train_size: int | None = None
    target_loss: float | None = None
    target: float | None = None
    optimizer: Settings = field(default_factory=dict)
    digest: Callable[[], str] | None = None
    stackable: bool = True
    canonical: Callable[[Settings], Settings] = _unchanged
    revision: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether we know that it makes a :class:`Task`: somebody's own may make a :class:`Problem`, and it has to be
        called to tell."""
        return isfunction(self.build) and self.build.__module__.startswith("grokkit.")

    @property
    def reads_files(self) -> bool:
        """Whether it is read from files; without them its rows are computed, and there is no folder."""
        return "data_dir" in settings_of(self.build)

    def make(self, settings: Mapping[str, Any], data_dir: str | None = None) -> Task | Problem:
        """The task itself, whole.

        Raises:
            InputError: if the code that makes it fails, or makes something else.
        """
        with theirs(self.name):
            made: Any = self.build(**settings, data_dir=data_dir) if self.reads_files else self.build(**settings)
        if not isinstance(made, Task | Problem):
            raise InputError(f"{self.name} returns a {type(made).__name__}; it must return a Problem, or a Task")
        return made
