"""Fair tuning: every method is searched with the same number of trials, judged on validation rows, on seeds of its own.

A trial is a setting of a method, run on every tuning seed. Trials are drawn in rounds of ``batch`` a method, TPE's
first alone; a round is run, whole, by the pool that runs studies, and told to the search. Each run is in the store by
its identity, as a study's, and each trial in optuna's file, so that the same command goes on wherever it was stopped.

Tuning seeds begin at :data:`FIRST_SEED`, and a comparison refuses those that its settings were tuned on.

What a trial is told to be worth: the logarithm of the geometric mean of its costs to the target over the seeds. A trial
of which a run did not arrive ranks behind all that did, by how many runs did not, and by how far they got. So once a
trial has arrived, another is out with its first run that does not, and is spared the seeds after that run's.

A search may be of several tasks at once: a trial is then run on every tuning seed of every task, and the mean is over
all these runs. It ranks settings as the geometric mean of their cost ratios to any one setting would, because what that
one costs on a task divides all of them alike. So no task counts for more because its runs are longer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from grokkit.arguments import Range
from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.study.execution import Checked, Option, SeedCount
from grokkit.study.extend import other_question
from grokkit.study.plan import Plan, make_plan
from grokkit.study.question import Question
from grokkit.study.sealed import sealed
from grokkit.study.search import EXCHANGEABLE, SAMPLERS, Search, check_installed, open_storage, readable_storage
from grokkit.study.search_space import show_space
from grokkit.study.spaces import Searched, own_spaces, searched
from grokkit.study.store import STUDY_FORMAT, Store
from grokkit.study.trial import Result, best_record, cost_of, geometric_mean, progress_of, record_of, spent_by
from grokkit.study.tuned import FILE, has_suite, has_trials, has_tuning, read_tuning
from grokkit.train.config import RunConfig, TaskConfig, checked
from grokkit.train.limit import Limit

FIRST_SEED = 1_000_000
"""Tuning seeds are this one and those that follow, so that a comparison on seeds 0, 1, … is on fresh ones."""


Prune = Annotated[float, Range("a number above 1, or 0 for never", lambda value: value == 0 or 1 < value < math.inf)]


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Checked):
    """How the methods of a question are searched."""

    trials: Annotated[int, Option("settings to try of each method, the same number for all", SeedCount)] = 24
    seeds: Annotated[int, Option("runs of each setting, on seeds that no comparison has", SeedCount)] = 2
    sampler: Annotated[str, Option("tpe, random, quasi-random or grid", Literal[*SAMPLERS])] = "tpe"
    space: Annotated[
        str | None,
        Option("where to search in place of the cards' spaces: 'adamw: lr=1e-4..1e-1 log, wd=0..3', or a file of such"),
    ] = None
    batch: Annotated[int, Option("settings of a method to draw at once, whatever --jobs is", SeedCount)] = 4
    repeats: Annotated[
        int, Option("searches of each method, each of all trials, for a band about what TPE finds", SeedCount)
    ] = 1
    prune: Annotated[float, Option("give a run up at so many times the best cost until then; 0 for never", Prune)] = 3.0


class TrialKey(NamedTuple):
    """A trial among all: the method's text, its number, and which search of that method it is of."""

    text: str
    number: int
    repeat: int


class Round(NamedTuple):
    """Trials to run together."""

    trials: Mapping[TrialKey, list[RunConfig]]
    """The runs of each."""
    limits: Mapping[str, Limit]
    """By the id of a run, when it is given up."""


class _Trials(NamedTuple):
    """Trials of one search, by their numbers."""

    method: Searched
    repeat: int
    runs: Mapping[int, list[RunConfig]]


class _OnTask(NamedTuple):
    """A task of a search: what its runs share, and each method as it is there, by its text."""

    shared: dict[str, Any]
    methods: dict[str, Searched]


class Tuning:
    """The searches of all methods in a folder.

    Args:
        questions: what is asked, one for each task, with the same methods and claim; their seeds are not used.
        options: how it is searched.
        folder: of the runs, of optuna's file, and of tune.json.

    Raises:
        InputError: for anything that could not run, or a folder that holds another search.
    """

    def __init__(self, questions: Sequence[Question], options: SearchOptions, folder: Path, command: str = "") -> None:
        check_installed()
        first = questions[0]
        if first.claim == "seconds":
            raise InputError("--claim seconds is no aim for a search, whose runs share a machine; take flops or steps")
        if options.repeats > 1 and options.sampler != "tpe":
            raise InputError(
                f"--repeats {options.repeats} is for --sampler tpe; with {options.sampler} give more --trials"
            )
        self.options, self.store = options, Store(folder)
        self.cost: Literal["steps", "flops"] = "steps" if first.claim == "steps" else "flops"
        self.seeds = [FIRST_SEED + place for place in range(options.seeds)]
        texts = first.method_texts()
        # Spaces may be of methods that were searched before, so that one line does for all that are added.
        searched_before = read_tuning(folder)["methods"] if has_tuning(folder) else ()
        own = own_spaces(options.space, texts, searched_before)
        self.plans: list[Plan] = []
        self._tasks: list[_OnTask] = []
        for question in questions:
            shared: dict[str, Any] = question.of_all_runs() | {"judged_on": "validation"}
            self.plans.append(make_plan(methods=texts, seeds=self.seeds, command=command, **shared))
            task: TaskConfig = shared["task"]
            if self.cost == "flops" and not self.plans[-1].has_flops:
                raise InputError(
                    f"PyTorch's counter sees no matrix product in a step of {task.name}'s network, so settings "
                    "cannot be told apart by FLOPs; give --claim steps"
                )
            name, usual = task.name, task.card.optimizer
            self._tasks.append(_OnTask(shared, {text: searched(text, name, usual, own) for text in texts}))
        self.methods = list(self._tasks[0].methods.values())
        for method in self.methods:
            _check_axes(method, self._tasks)
        study = self.plans[0].study
        self._identities = {
            text: study["methods_detail"][label]["identity"]
            for text, label in zip(texts, study["methods"], strict=True)
        }
        self._codes = {text: arm.method.codes for text, arm in zip(texts, self.plans[0].runs.arms, strict=True)}
        self._before: dict[str, Any] | None = None
        self._read()
        self._searches: dict[str, list[Search]] = {}

    @property
    def folder(self) -> Path:
        return self.store.folder

    @property
    def title(self) -> str:
        """The tasks."""
        return ", ".join(plan.study["title"] for plan in self.plans)

    @property
    def budget(self) -> int:
        """Steps that a run may take, on the task that allows most."""
        return max(plan.study["budget"] for plan in self.plans)

    def open(self) -> None:
        """Begin, or go on; the caller holds the store's lock."""
        self._read()  # once more, since another command may have written until now
        path = self.folder / "optuna.db"
        if self._before is None and has_tuning(self.folder):  # what another search has drawn, and never run
            path.unlink(missing_ok=True)
        with readable_storage(path):
            storage = open_storage(path)
            for method in self.methods:
                self._searches[method.text] = [
                    Search(storage, method, self.options.sampler, self.options.trials, repeat)
                    for repeat in range(self.options.repeats)
                ]
            for method, repeat in self._every():
                self._searches[method.text][repeat].check()
        self.write()

    def _read(self) -> None:
        """What the folder says, if it is a search that this one goes on with. One of which no trial is told, since it
        was refused or stopped at once, is in nobody's way.

        Raises:
            InputError: if it holds something else.
        """
        if Store(self.folder).has_study():
            raise InputError(f"{self.folder} holds a study; choose another --out for a search")
        if has_suite(self.folder):
            raise InputError(f"{self.folder} holds a suite; choose another --out for a search")
        self._before = read_tuning(self.folder) if has_tuning(self.folder) else None
        try:
            self._check_folder(self.folder)
        except InputError:
            if has_trials(self.folder):
                raise
            self._before = None

    def failed(self, settled: Collection[str] = ()) -> Round:
        """The trials that failed in an earlier command: a worker may have been killed for want of memory. The search
        has been told that they failed, and keeps that; what comes of them now counts for the best setting, and for what
        all trials took. Those of ``settled`` methods are left."""
        found: list[_Trials] = []
        for method, repeat in self._every():
            if method.text in settled:
                continue
            failed = [result for result in self._results(method, repeat) if result.failed]
            lacking = {result.number: self._runs(method, result.settings) for result in failed}
            found.append(_Trials(method, repeat, lacking))
        return self._round(found)

    def next_round(self) -> Round:
        """The trials of the next round; none once all is done. A round that was stopped comes again, and its runs are
        then done in part."""
        found: list[_Trials] = []
        for method, repeat in self._every():
            search = self._searches[method.text][repeat]
            told = sum(trial.is_told for trial in search.trials())
            search.draw(min(self._round_end(told), self.options.trials))
            drawn = [trial for trial in search.trials() if not trial.is_told]
            runs = {trial.number: self._runs(method, trial.values) for trial in drawn}
            found.append(_Trials(method, repeat, runs))
        return self._round(found)

    def waves(self, round_: Round) -> Iterator[list[RunConfig]]:
        """The runs of a round, those of each wave to be made before the next is asked for. Where runs can be given up
        a wave is of one seed, without the trials that are out by then; else all runs are made at once."""
        waves = [[place] for place in range(len(self.seeds))] if round_.limits else [list(range(len(self.seeds)))]
        for places in waves:
            done = self._done(run for runs in round_.trials.values() for run in runs)
            wave: dict[str, RunConfig] = {}  # A setting may be drawn twice; its runs are the same.
            for runs in round_.trials.values():
                can_be_out = any(run.run_id() in round_.limits for run in runs)
                asked = self._asked(runs, done, can_be_out)
                wave |= {run.run_id(): run for place in places for run in asked.get(place, ())}
            if set(wave) - (set(done) - self.store.to_continue(done, round_.limits)):
                yield list(wave.values())

    def _done(self, runs: Iterable[RunConfig]) -> dict[str, bool]:
        """Of the runs that are finished, by their ids, whether each arrived."""
        done = self.store.finished(run.run_id() for run in runs)
        return {run_id: self.store.record(run_id)["generalized_at"] is not None for run_id in done}

    def _asked(
        self, runs: Sequence[RunConfig], done: Mapping[str, bool], can_be_out: bool
    ) -> dict[int, Sequence[RunConfig]]:
        """The runs of a trial on each seed, the tasks' together, until that on which one of them did not arrive."""
        asked: dict[int, Sequence[RunConfig]] = {}
        for place in range(len(self.seeds)):
            asked[place] = runs[place :: len(self.seeds)]
            if can_be_out and not all(done.get(run.run_id(), True) for run in asked[place]):
                break
        return asked

    def _every(self) -> list[tuple[Searched, int]]:
        """Each search: a method, and which repeat it is."""
        return [(method, repeat) for method in self.methods for repeat in range(self.options.repeats)]

    def _round(self, found: Sequence[_Trials]) -> Round:
        trials: dict[TrialKey, list[RunConfig]] = {}
        limits: dict[str, list[Limit | None]] = {}
        for method, repeat, runs_of in found:
            own_limits = self._limits(method, repeat)
            for number, runs in runs_of.items():
                trials[TrialKey(method.text, number, repeat)] = runs
                for place, run in enumerate(runs):
                    limits.setdefault(run.run_id(), []).append(own_limits[place] if own_limits else None)
        # Repeats know nothing of each other, so a run of several is given up only where each of them would.
        given_up = {
            run_id: [one for one in own if one is not None] for run_id, own in limits.items() if None not in own
        }
        return Round(trials, {run_id: max(own, key=lambda one: one.most) for run_id, own in given_up.items()})

    def _round_end(self, told: int) -> int:
        """How many trials there are after the round that follows ``told`` of them. TPE's first, the method as it is
        anyway, is a round of its own: what it costs is then known, and hopeless runs of those after it are given up."""
        if told == 0 and self.options.sampler == "tpe":
            return 1
        return (told // self.options.batch + 1) * self.options.batch

    def tell(self, trials: Iterable[TrialKey]) -> None:
        """Tell the search what came of a round whose runs are finished, or failed."""
        methods = {method.text: method for method in self.methods}
        drawn = {(key.text, key.repeat): self._searches[key.text][key.repeat].trials() for key in trials}
        before = {(text, repeat): self._results(methods[text], repeat) for text, repeat in drawn}
        for key in trials:
            values = drawn[key.text, key.repeat][key.number].values
            told = before[key.text, key.repeat]
            result = self._result(methods[key.text], key.number, values, key.repeat, told)
            self._searches[key.text][key.repeat].tell(key.number, result.value)
        self.write()

    def write(self) -> dict[str, Any]:
        """Write tune.json, and return what it says."""
        asked = [{name: plan.study[name] for name in ("title", *plan.question)} for plan in self.plans]
        about = asked[0]
        if len(asked) > 1:
            about = {"title": self.title, "budget": self.budget, "tasks": asked}
        methods = dict(self._before["methods"]) if self._before else {}
        for method in self.methods:
            results = [result for repeat in range(self.options.repeats) for result in self._results(method, repeat)]
            methods[method.text] = {
                "identity": self._identities[method.text],
                "codes": self._codes[method.text],
                "space": show_space(method.space),
                "best": best_record(results),
                "cost_of_tuning": spent_by(results),
                "trials": [record_of(result) for result in results],
            }
        record = {
            "format": STUDY_FORMAT,
            **about,
            "command": self.plans[0].study["command"],
            "cost": self.cost,
            "sampler": self.options.sampler,
            # Which runs are hopeless depends on the trials before them.
            "any_order": self.options.sampler in EXCHANGEABLE and not self.options.prune,
            "batch": self.options.batch,
            "repeats": self.options.repeats,
            "prune": self.options.prune,
            "seeds": self.seeds,
            "methods": methods,
        }
        atomic_write(self.folder / FILE, sealed(record))
        return record

    def _check_folder(self, folder: Path) -> None:
        """Refuse a folder that holds a search of another kind."""
        if self._before is None:
            return
        before = self._before.get("tasks") or [self._before]
        if len(before) != len(self.plans):
            raise InputError(f"{folder} holds a search of {self._before['title']}; choose another --out")
        for plan, was in zip(self.plans, before, strict=True):
            if (other := other_question(plan, {"format": STUDY_FORMAT, **was})) is not None:
                raise InputError(f"{folder} {other.replace('holds a study', 'holds a search')}; choose another --out")
        now = {name: getattr(self.options, name) for name in ("sampler", "batch", "prune")}
        for name, value in {**now, "seeds": self.seeds, "cost": self.cost}.items():
            if self._before[name] != value:
                raise InputError(
                    f"{folder} holds a search with {name}={self._before[name]}, not with {value}; choose another --out"
                )
        if self._before.get("repeats", 1) > self.options.repeats:
            raise InputError(
                f"{folder} holds a search with --repeats {self._before['repeats']}; give as many or more, or choose "
                "another --out"
            )
        for method in self.methods:
            was = self._before["methods"].get(method.text)
            if was is not None and was["space"] != show_space(method.space):
                raise InputError(
                    f"{folder} holds a search of {method.text} in {was['space']}, not in {show_space(method.space)}; "
                    "choose another --out"
                )
            if was is not None and was["identity"] != self._identities[method.text]:
                raise InputError(
                    f"{folder} holds a search of {method.text} with other code than it has now; choose another --out"
                )

    def _runs(self, method: Searched, values: Mapping[str, Any]) -> list[RunConfig]:
        """Task by task, and on each all seeds."""
        runs: list[RunConfig] = []
        for task in self._tasks:
            config = task.methods[method.text].config(values)
            runs += [checked(RunConfig, "tune", method=config, seed=seed, **task.shared) for seed in self.seeds]
        return runs

    def _limits(self, method: Searched, repeat: int) -> list[Limit]:
        """For each run of a trial so many times what the best of the trials told so far costs there, empty if none
        arrived: on its task, or where that is more on its seed, so that what is cheaper on every seed is not given up.
        """
        found = [result for result in self._results(method, repeat) if result.has_arrived]
        if not found or not self.options.prune:
            return []
        best, n = min(found, key=lambda result: result.cost), len(self.seeds)
        on_tasks = [best.costs[place * n : (place + 1) * n] for place in range(len(self._tasks))]
        return [
            Limit(self.cost, self.options.prune * max(geometric_mean(costs), cost))
            for costs in on_tasks
            for cost in costs
        ]

    def _results(self, method: Searched, repeat: int) -> list[Result]:
        """Of the trials that the search was told of."""
        drawn = self._searches[method.text][repeat].trials() if method.text in self._searches else []
        results: list[Result] = []
        for trial in drawn:
            if trial.is_told:
                results.append(self._result(method, trial.number, trial.values, repeat, results))
        return results

    def _result(
        self, method: Searched, number: int, values: Mapping[str, Any], repeat: int, before: Sequence[Result]
    ) -> Result:
        """``before``: of the trials before it, of which one must have arrived for this one to be out."""
        runs = self._runs(method, values)
        done = self._done(runs)
        can_be_out = bool(self.options.prune) and any(result.has_arrived for result in before)
        asked = [run.run_id() for own in self._asked(runs, done, can_be_out).values() for run in own]
        failed = len(set(asked) - set(done))
        records = [self.store.record(run.run_id()) for run in runs if run.run_id() in done]
        spent = {name: sum(record[name] for record in records) for name in ("steps", "flops", "train_seconds")}
        return Result(
            number=number,
            method=method.written(values),
            settings=dict(values),
            costs=[cost_of(record, self.cost) for record in records],
            arrived=sum(record["generalized_at"] is not None for record in records),
            progress=sum(map(progress_of, records)) / max(len(records), 1),
            given_up=sum(record["status"] == "given up" for record in records),
            failed=failed,
            spared=len(runs) - len(records) - failed,
            spent=spent,
            repeat=repeat,
        )


def _check_axes(method: Searched, tasks: Sequence[_OnTask]) -> None:
    """Refuse a method of which other settings are searched on another task: a setting must mean the same on all."""
    for task in tasks:
        there = task.methods[method.text]
        if there.axes != method.axes:
            raise InputError(
                f"{method.text} is searched in {show_space(method.space)} on {tasks[0].shared['task'].name}, and in "
                f"{show_space(there.space)} on {task.shared['task'].name}; give both one space, e.g. "
                "--space 'adamw: lr=1e-4..1e-1 log'"
            )
