"""A suite as it is asked for and as its folder remembers it, suite.json.

One search over the tuning tasks finds the settings, ``tuning/``; one comparison for each held-out task is made with
them on fresh seeds, ``held-out/``. The folder holds one suite: other methods and more seeds extend it, anything else is
refused, so that nothing is chosen anew once the held-out tasks have been seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from grokkit.arguments import Text
from grokkit.call_syntax import texts_in
from grokkit.errors import InputError, about, unknown
from grokkit.files import atomic_write
from grokkit.study.execution import Checked, Count, Option, SeedCount, Texts
from grokkit.study.question import USUAL_METHODS, Question
from grokkit.study.sealed import sealed
from grokkit.study.store import STUDY_FORMAT, Store
from grokkit.study.suites.card import SuiteCard, SuiteTask, find_suite
from grokkit.study.tune import SearchOptions, Tuning
from grokkit.study.tuned import SUITE_FILE, has_suite, has_trials, has_tuning, read_account, twins, winners


@dataclass(frozen=True, kw_only=True)
class SuiteQuestion(Checked):
    """What is asked of a suite, beside how it is searched (:class:`~grokkit.study.tune.SearchOptions`)."""

    suite: Annotated[
        Any,
        Option("core, quick, my_suite.py:SUITE or my_suite.toml; see `grokkit suites`", SuiteCard | Text),
    ]
    methods: Annotated[
        str | Sequence[str] | None,
        Option(f"separated by commas; see `grokkit methods` [default: {','.join(USUAL_METHODS)}]", Texts),
    ] = None
    tuning_seeds: Annotated[int, Option("runs of each setting on each tuning task", SeedCount)] = SearchOptions.seeds
    seeds: Annotated[int, Option("runs of each method on each held-out task, on seeds 0, 1, ...", SeedCount)] = 5
    budget: Annotated[
        int | None, Option("optimizer steps a run may take, on every task [default: what the suite says]", Count)
    ] = None
    baseline: Annotated[
        str | None, Option("method the ratios refer to [default: adamw if it is there, else the first]")
    ] = None
    claim: Annotated[
        Literal["flops", "steps"],
        Option("the cost that claims are made in: flops or steps", Literal["flops", "steps"]),
    ] = "flops"
    primary: Annotated[str | None, Option("the method to test first and alone, named before the first run")] = None
    finalists: Annotated[
        int | None,
        Option("how many methods go on to the held-out tasks, the best on the tuning tasks [default: all]", SeedCount),
    ] = None
    keep: Annotated[
        str | Sequence[str] | None, Option("methods that go on whatever they did on the tuning tasks", Texts)
    ] = None

    @property
    def card(self) -> SuiteCard:
        """The suite itself.

        Raises:
            InputError: if there is none of that name.
        """
        return self.suite if isinstance(self.suite, SuiteCard) else find_suite(self.suite)


class SuitePlan:
    """A suite with its methods, in a folder; everything that can be checked before the first run is.

    Args:
        asked: what is asked.
        options: how settings are searched; its seeds are not used.
        folder: of suite.json and the parts.

    Raises:
        InputError: for anything that could not run, or a folder that holds something else.
    """

    def __init__(self, asked: SuiteQuestion, options: SearchOptions, folder: Path) -> None:
        self.card = asked.card
        self.asked, self.folder = asked, folder
        with about("--methods"):
            self.methods = texts_in(asked.methods) or list(USUAL_METHODS)
        with about("--keep"):
            self.keep = texts_in(asked.keep)
        self._options = options
        self.read()
        self._check_tasks()
        for task in self.card.held_out_tasks:
            with about(task.label):
                self._question(task, methods=self.methods, seeds=asked.seeds).plan()
        Tuning(self.tuning_questions(), replace(options, seeds=asked.tuning_seeds), self.tuning_folder)

    def read(self) -> None:
        """What the folder says, if it is a suite that this one goes on with. One of which no trial is told, since it
        was refused or stopped at once, is in nobody's way.

        Raises:
            InputError: if it holds something else, or for a method that is none of the suite's.
        """
        asked, folder = self.asked, self.folder
        if Store(folder).has_study() or has_tuning(folder):
            raise InputError(f"{folder} holds a study or a search; choose another --out for a suite")
        before = read_suite(folder) if has_suite(folder) else None
        if before is not None and not (before["looks"] or has_trials(self.tuning_folder)):
            before = None
        # A command that was killed may have compared a method without writing so.
        seen = [*before["methods"], *self.compared()] if before else []
        self.known = list(dict.fromkeys([*seen, *self.methods]))
        self.looks = before["looks"] if before else []
        named = asked.baseline or ("adamw" if "adamw" in self.methods else self.methods[0])
        self.baseline: str = before["question"]["baseline"] if before and asked.baseline is None else named
        named_in = [("--baseline", self.baseline), ("--primary", asked.primary)]
        named_in += [("--keep", name) for name in self.keep]
        for option, name in named_in:
            if name is not None and name not in self.known:
                with about(option):
                    raise unknown("method of this suite", name, self.known)
        if asked.primary == self.baseline:
            raise InputError(f"--primary {asked.primary} is the baseline; name the method that is compared with it")
        if before is not None:
            _same_question(before["question"], self.question(self._options), folder)
            self._refuse_without_those_of_before()

    def _refuse_without_those_of_before(self) -> None:
        """Refuse a command without the baseline or the primary method while some held-out task has not seen it."""
        for name in (self.baseline, self.asked.primary):
            if name is not None and name not in self.methods and not all(name in own for own in self._compared()):
                with about("--methods"):
                    raise InputError(
                        f"{self.folder} has not compared {name}, the baseline or the primary method, on every held-out "
                        "task yet; name it, too"
                    )

    def _check_tasks(self) -> None:
        """Refuse a task that is there twice, however it is spelt."""
        seen: list[tuple[str, Any]] = []
        for task in (*self.card.tuning_tasks, *self.card.held_out_tasks):
            shared = self._question(task).of_all_runs()
            learnt = {name: shared[name] for name in ("task", "model", "batch_size")}
            if same := [label for label, other in seen if other == learnt]:
                raise InputError(
                    f"suite {self.card.name}: {task.label} is the same as {same[0]}; what settings are chosen on "
                    "proves nothing, and of two held-out tasks that are one the second is none"
                )
            seen.append((task.label, learnt))

    def question(self, options: SearchOptions) -> dict[str, Any]:
        """What a folder's suite has in common, whatever methods and seeds it has."""
        card, asked = self.card, self.asked
        said = {
            "suite": card.name,
            "tuning": [[task.label, dict(task.options)] for task in card.tuning_tasks],
            "held_out": [[task.label, dict(task.options)] for task in card.held_out_tasks],
            "budget": asked.budget or card.budget,
            "budget_given": asked.budget,  # which is for every task, also for one with a budget of its own
            "trials": options.trials,
            "tuning_seeds": asked.tuning_seeds,
            "sampler": options.sampler,
            "space": options.space,
            "batch": options.batch,
            "repeats": options.repeats,
            "prune": options.prune,
            "baseline": self.baseline,
            "claim": asked.claim,
            "primary": asked.primary,
            "finalists": asked.finalists,
            "keep": self.keep,
        }
        return json.loads(json.dumps(said, default=str))  # as it is read again

    def tuning_questions(self) -> list[Question]:
        """One for each tuning task."""
        return [self._question(task, methods=self.methods) for task in self.card.tuning_tasks]

    def final_question(self, task: SuiteTask, finalists: Sequence[str]) -> Question:
        """Of a held-out task, with the settings that the search has found."""
        own = {"baseline": self.baseline, "primary": self.asked.primary, "tuned": self.tuning_folder}
        return self._question(task, methods=finalists, seeds=self.asked.seeds, **own)

    @property
    def tuning_folder(self) -> Path:
        return self.folder / "tuning"

    def final_folder(self, place: int) -> Path:
        """Of the held-out task at ``place``; a number tells them apart, whatever they are called."""
        task = self.card.held_out_tasks[place]
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in task.label)
        return self.folder / "held-out" / "-".join([str(place + 1), *filter(None, plain.split("-"))])

    def compared(self) -> list[str]:
        """The methods that a held-out task has seen: their settings are chosen."""
        return list(dict.fromkeys(name for own in self._compared() for name in own))

    def _compared(self) -> list[list[str]]:
        """Of each held-out task, the methods that it has seen."""
        stores = [Store(self.final_folder(place)) for place in range(len(self.card.held_out_tasks))]
        studies = [store.read_study() if store.has_study() else {} for store in stores]
        return [[own["method"] for own in (study.get("tuned") or {}).values()] for study in studies]

    def chosen(self, tuning: Mapping[str, Any]) -> list[str]:
        """The methods that go on to the held-out tasks: the baseline, the primary one, those to keep, and of the others
        the best on the tuning tasks, be they asked for now or before. One without a finished trial does not.

        Raises:
            InputError: if the baseline or the primary method is without one.
        """
        found = {name: own["best"] for name, own in tuning["methods"].items() if own["best"] is not None}
        for name in (self.baseline, self.asked.primary):
            if name is not None and name not in found:
                raise InputError(
                    f"{self.tuning_folder} has no finished trial of {name}, the baseline or the primary method; give "
                    "the same command again, which tries those that failed once more"
                )
        surely = {self.baseline, self.asked.primary, *self.keep}
        ranked = sorted((best["value"], name) for name, best in found.items() if name not in surely)
        best = [name for _, name in ranked[: self.asked.finalists]]  # all, if nobody says how many
        return [name for name in self.methods if name in found and (name in surely or name in best)]

    def twins(self, finalists: Sequence[str], tuning: Mapping[str, Any]) -> dict[str, str]:
        """Finalists whose best settings make them another one on a held-out task, or one that is compared already, by
        the method the other, which is the baseline or the primary method if one of these is.

        Raises:
            InputError: if the primary method is the same as the baseline.
        """
        first = [name for name in (self.baseline, self.asked.primary) if name is not None and name in finalists]
        seen = [name for name in self.compared() if name in tuning["methods"]]
        best = winners(tuning, list(dict.fromkeys([*first, *seen, *finalists])), self.tuning_folder)
        found: dict[str, str] = {}
        for task in self.card.held_out_tasks:
            found |= twins(best, self._question(task).of_all_runs()["task"])
        if self.asked.primary in found:
            raise InputError(
                f"the best settings of {self.asked.primary} in {self.tuning_folder} make it the same as the baseline, "
                f"{self.baseline}: there is nothing to compare; choose another --primary or --space in another --out"
            )
        return {name: other for name, other in found.items() if name in finalists}

    def _question(self, task: SuiteTask, **own: Any) -> Question:
        usual = {"budget": self.card.budget, "claim": self.asked.claim}
        given = {} if self.asked.budget is None else {"budget": self.asked.budget}
        with about(task.label):
            return Question(**{**usual, **task.options, **given, **own})


def read_suite(folder: Path) -> dict[str, Any]:
    """suite.json.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    return read_account(
        folder,
        SUITE_FILE,
        again="give the same command again",
        absent=f"holds no suite (no {SUITE_FILE}); make one with: grokkit suite core --out {folder}",
        otherwise="choose another --out",
    )


def write_suite(folder: Path, record: Mapping[str, Any]) -> None:
    atomic_write(folder / SUITE_FILE, sealed({"format": STUDY_FORMAT, **record}))


def _same_question(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    before = {"repeats": 1, "budget_given": now["budget_given"], **before}  # suites of before do not say so
    for name, value in now.items():
        if before.get(name) == value or name == "space":  # which is compared method by method, with the search's
            continue
        if name == "budget_given":
            was, is_now = ("what the suite says" if budget is None else budget for budget in (before[name], value))
            raise InputError(f"{folder} holds a suite with --budget {was}, not {is_now}; choose another --out")
        if name in ("tuning", "held_out"):
            raise InputError(f"{folder} holds a suite {before['suite']} of other tasks; choose another --out")
        option = name if name == "suite" else f"--{name.replace('_', '-')}"
        raise InputError(f"{folder} holds a suite with {option} {before.get(name)}, not {value}; choose another --out")
