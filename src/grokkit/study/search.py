"""The search of one method's settings: optuna draws trials and is told what they cost, in a file beside the runs.

A trial is drawn whole or not at all, and what is drawn depends on its number and on what was told before alone. So a
search that was killed goes on as if it had not been, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from grokkit.errors import InputError, MissingExtraError
from grokkit.study.search_space import Choice
from grokkit.study.spaces import Axis, Searched, run_values, run_values_of_before, unsearched_values

SAMPLERS = ("tpe", "random", "quasi-random", "grid")

EXCHANGEABLE = ("random", "quasi-random")
"""Samplers whose trials could as well have come in any other order."""

_STARTUP = 8  # trials before TPE has something to go by; more than optuna's tenth of a long search


class Drawn(NamedTuple):
    """A trial: its number, the values to run, and whether optuna knows what came of it."""

    number: int
    values: dict[str, Any]
    is_told: bool


def check_installed() -> None:
    """Refuse before anything runs where optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "tune") from None


def open_storage(path: Path) -> Any:
    """Optuna's storage in an SQLite file, which a kill cannot leave half written."""
    import optuna

    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        return optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")


@contextmanager
def readable_storage(path: Path) -> Iterator[None]:
    """Within it the storage at ``path`` is opened and read.

    Raises:
        InputError: if it is damaged, or cannot be opened.
    """
    from sqlalchemy.exc import DatabaseError, OperationalError

    try:
        yield
    except OperationalError as error:  # the disk is full, the folder is read-only, somebody else has it locked
        raise InputError(f"{path} cannot be used ({error.orig}); choose another --out") from None
    except DatabaseError as error:
        raise InputError(
            f"{path} is damaged ({error.orig}); delete it and run the same search again: finished runs are kept"
        ) from None


class Search:
    """The trials of ``method`` in ``storage``.

    TPE's first is the setting that the method has if nobody searches, e.g. the published one, so that a search finds
    none that did worse on its seeds (where it lies outside the space, the end of it next to there); those
    that follow are drawn at random until there are eight.

    Args:
        sampler: one of :data:`SAMPLERS`.
        trials: how many there are to be; only a grid must know.
        repeat: which of several searches of the same method it is, each of which knows nothing of the others.
    """

    def __init__(self, storage: Any, method: Searched, sampler: str, trials: int, repeat: int = 0) -> None:
        import optuna

        self.method, self._sampler, self._trials = method, sampler, trials
        self._name = f"{method.text} again {repeat}" if repeat else method.text
        with _quiet():
            self._study = optuna.create_study(
                storage=storage, study_name=self._name, direction="minimize", load_if_exists=True
            )
        self._sequence: Any = None
        self._known: list[dict[str, Any]] = []  # what a sampler that learns nothing draws, from the first trial on

    def trials(self) -> list[Drawn]:
        """All trials, in the order in which they were drawn."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            # What is run is kept with the trial, because its runs are found by it; the first version did not do so.
            run = trial.user_attrs.get("numbers")
            values = self._values(trial.params, run_values_of_before if run is None else run_values) | (run or {})
            found.append(Drawn(trial.number, values, trial.state.is_finished()))
        return found

    def _values(self, params: Mapping[str, Any], run: Callable[..., dict[str, Any]] = run_values) -> dict[str, Any]:
        """What is run for what optuna drew."""
        drawn = {
            name: axis.values.values[params[name]] if isinstance(axis.values, Choice) else params[name]
            for name, axis in self.method.axes.items()
        }
        return run(self.method, drawn)

    def check(self) -> None:
        """Refuse to mix two grids.

        Raises:
            InputError: if trials are to be drawn, and those that there are were drawn for another number of them.
        """
        if self._sampler != "grid":
            return
        drawn = [trial.params for trial in self._study.get_trials(deepcopy=False)]
        points = _grid(self.method, self._trials)
        if len(drawn) < len(points) and not all(map(_is_same, drawn, points)):
            raise InputError(
                f"--trials {self._trials} is another grid than that of the trials so far of {self.method.text} "
                f"({len(drawn)}); give the same --trials, or choose another --out"
            )

    def draw(self, until: int) -> None:
        """Draw trials until there are so many, or all of the grid's."""
        import optuna

        distributions = {name: _distribution(axis) for name, axis in self.method.axes.items()}
        for number in range(len(self._study.get_trials(deepcopy=False)), until):
            with _quiet():
                params = self._next(number, distributions)
                if params is None:
                    return
                running = optuna.trial.TrialState.RUNNING
                values, axes = self._values(params), self.method.axes
                numbers = {name: values[name] for name in axes if not isinstance(axes[name].values, Choice)}
                self._study.add_trial(
                    optuna.trial.create_trial(
                        state=running, params=params, distributions=distributions, user_attrs={"numbers": numbers}
                    )
                )

    def tell(self, number: int, value: float | None) -> None:
        """What came of a trial: the less the better, None for one that failed."""
        import optuna

        with _quiet():
            state = optuna.trial.TrialState.FAIL if value is None else None
            self._study.tell(number, value, state=state)

    def _next(self, number: int, distributions: Mapping[str, Any]) -> dict[str, Any] | None:
        import optuna

        if self._sampler == "grid":
            points = _grid(self.method, self._trials)
            return points[number] if number < len(points) else None
        if self._sampler == "tpe":
            usual = unsearched_values(self.method) if number == 0 else None
            if usual is not None:
                return {name: _param(axis, usual[name]) for name, axis in self.method.axes.items()}
            # A scratch copy, so that the storage gets the trial whole; its seed goes with the number of the trial.
            sampler = optuna.samplers.TPESampler(
                seed=_seed(self._name, number), n_startup_trials=_STARTUP, multivariate=True
            )
            scratch = optuna.create_study(direction="minimize", sampler=sampler)
            scratch.add_trials(self._study.get_trials(deepcopy=False))
            return scratch.ask(dict(distributions)).params
        if self._sequence is None:
            kind = optuna.samplers.RandomSampler if self._sampler == "random" else _sobol
            self._sequence = optuna.create_study(sampler=kind(seed=_seed(self._name, 0)))
        while len(self._known) <= number:
            self._known.append(self._sequence.ask(dict(distributions)).params)
        return self._known[number]


def _sobol(seed: int) -> Any:
    import optuna

    return optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_asynchronous_seeding=False)


def _distribution(axis: Axis) -> Any:
    """A choice is drawn as its place: optuna knows no tuples."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = axis.values
    if isinstance(values, Choice):
        return CategoricalDistribution(range(len(values.values)))
    if axis.is_whole:
        return IntDistribution(round(values.low), round(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _param(axis: Axis, value: Any) -> Any:
    """What optuna is told for ``value``."""
    return axis.values.values.index(value) if isinstance(axis.values, Choice) else value


def left_out_of_grid(method: Searched, trials: int) -> dict[str, Choice]:
    """The choices that a grid of ``trials`` does not come to, by the names of their axes."""
    sizes, found = _sizes(method, trials), {}
    for name, axis in method.axes.items():
        if isinstance(axis.values, Choice) and len(axis.values.values) > sizes[name]:
            found[name] = Choice(axis.values.values[sizes[name] :])
    return found


def _grid(method: Searched, trials: int) -> list[dict[str, Any]]:
    """The points of the finest grid that has at most ``trials``. Points of an axis are the middles of equal parts of
    its range, so that one point is the middle; of choices they are the first ones."""
    sizes = _sizes(method, trials)
    points: list[dict[str, Any]] = [{}]
    for name, axis in method.axes.items():
        on_axis = _on_axis(axis, sizes[name])
        points = [{**point, name: value} for point in points for value in on_axis]
    return points


def _sizes(method: Searched, trials: int) -> dict[str, int]:
    """The points on each axis of that grid: every axis gets one more in turn while that fits."""
    sizes = dict.fromkeys(method.axes, 1)
    grows = True
    while grows:
        grows = False
        for name, axis in method.axes.items():
            finer = {**sizes, name: sizes[name] + 1}
            if finer[name] <= _most(axis, trials) and math.prod(finer.values()) <= trials:
                sizes, grows = finer, True
    return sizes


def _most(axis: Axis, trials: int) -> int:
    """How many points there can be on an axis of a grid of so many trials."""
    if isinstance(axis.values, Choice):
        return len(axis.values.values)
    return round(axis.values.high) - round(axis.values.low) + 1 if axis.is_whole else trials


def _is_same(drawn: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    """Whether a trial is that point, whatever the machine made of a logarithm's last digit."""
    return all(math.isclose(drawn[name], point[name], rel_tol=1e-9) for name in point)


def _on_axis(axis: Axis, size: int) -> list[Any]:
    """The ``size`` points of an axis: middles of equal parts of its range. Of whole numbers those next to the middles
    that are all different: two middles may round to one number, 1.5 and 2.5 to 2, or lie close together below a
    logarithm."""
    values = axis.values
    if isinstance(values, Choice):
        return list(range(size))
    shares = [(place + 0.5) / size for place in range(size)]
    if values.log:
        middles = [values.low * (values.high / values.low) ** share for share in shares]
    else:
        middles = [values.low + (values.high - values.low) * share for share in shares]
    if not axis.is_whole:
        return middles
    points: list[int] = []
    for place, middle in enumerate(middles):
        least = points[-1] + 1 if points else round(values.low)
        most = round(values.high) - (size - 1 - place)  # as many numbers are left as there are points to come
        points.append(min(max(round(middle), least), most))
    return points


def _seed(text: str, number: int) -> int:
    """The same in every process, another for each search and trial."""
    return int.from_bytes(hashlib.sha256(f"{text} {number}".encode()).digest()[:4], "big")


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of every trial, and that some of what it offers is experimental: here nobody would read it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
