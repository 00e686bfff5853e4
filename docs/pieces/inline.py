"""The inline pieces: functions of a page that give a few words each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.analyse.format import count, listed, number, ratio, whole
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import target_of
from pieces.bench import bench_text, machine_text, misses
from pieces.growth import growth_where
from pieces.markers import PageError
from pieces.profile import profile_where
from pieces.reliability import reliability_sum
from pieces.reproduced import reproduced_sum
from pieces.scale import cluster_rate, store_missed, where
from pieces.studies import Results, Standing, Study, known
from pieces.words import LESS, MISSING, MORE, claim_text, ratio_text, time_text

COLUMNS = {
    "steps": "generalized_at",
    "first": "generalized_first_at",
    "memorized": "memorized_at",
    "best accuracy": "best_test_accuracy",
    "best loss": "best_test_loss",
    "final train accuracy": "final_train_accuracy",
}
"""What can be asked of single runs, and the column that has it."""

MEDIANS = {
    "steps": "median_steps",
    "first": "median_first_steps",
    "seconds": "median_train_seconds",
    "delay": "median_delay_steps",
}
"""What has a median over seeds, and the leaderboard's key of it."""


def values_of(study: Study, arm: str, what: str) -> list[float | None]:
    """One value a run of ``arm``, by seed."""
    if what not in COLUMNS:
        raise PageError(f"unknown measure {what!r}; there are {', '.join(COLUMNS)}")
    return study.of(arm)[COLUMNS[what]].to_list()


def each_text(study: Study, arm: str, what: str) -> str:
    """One value a seed: ``439 · never · 381``, ``53 · 56 %``; nothing where no run has one."""
    values = values_of(study, arm, what)
    if "accuracy" in what:
        known = [f"{100 * value:.0f}" if value is not None else MISSING for value in values]
        return MISSING if set(known) <= {MISSING} else f"{' · '.join(known)} %"
    missing = "never" if what in ("steps", "first", "memorized") else MISSING
    known = [number(value, missing) for value in values]
    return MISSING if set(known) <= {MISSING} else " · ".join(known)


class Inline:
    """The inline pieces of the page at ``page``, each under its name in :meth:`table`."""

    def __init__(self, results: Results, page: Path) -> None:
        self.results, self.page = results, page

    def table(self) -> dict[str, Any]:
        pieces = (
            *(self.ratio, self.says, self.tally, self.median, self.reached, self.each, self.fell_back),
            *(
                self.setup,
                self.every_run,
                self.recorded,
                self.bench,
                self.floor,
                self.growth_where,
                self.store_where,
                self.store_missed,
                self.cluster_where,
                self.cluster_rate,
                self.profile_where,
                self.machine,
                self.missed_aims,
                self.published,
                self.reliability_sum,
                self.reproduced_sum,
            ),
        )
        return {piece.__name__: piece for piece in pieces}

    def ratio(self, study: str, arm: str, cost: Cost | None = None, vs: str | None = None) -> str:
        """``0.85× [0.72–1.01]`` of the baseline's cost, or of ``vs``'s; the cost is the study's unless said."""
        return ratio_text(self.results.study(study), arm, cost, vs)

    def says(self, study: str, arm: str, vs: str | None = None, than: str | None = None) -> str:
        """The end of a sentence on ``arm``: ``needs fewer steps than `adamw`, 0.85× [0.77–0.96]``."""
        return claim_text(self.results.study(study), arm, vs, than)

    def tally(self, folder: str, arm: str, vs: str | None = None) -> str:
        """Of all studies in ``folder``: ``more steps on 1 of 4 tasks (a + b mod 97), …``."""
        studies = [name for name in self.results.names() if os.path.dirname(name) == folder]
        if not studies:
            raise PageError(f"no folder {folder!r} with studies in {self.results.root}")
        places: dict[str, list[str]] = {}
        for name in studies:
            study = self.results.study(name)
            words: dict[Standing, str] = {
                "less": LESS[study.cost],
                "more": MORE[study.cost],
                "unclear": "no clear difference",
                "never": "never there",
                "more often": "there more often",
                "less often": "there less often",
            }
            places.setdefault(words[study.standing(arm, vs)], []).append(study.about["title"])
        every = "both" if len(studies) == 2 else f"all {len(studies)}"
        parts = [
            f"{words} on {every} tasks"
            if len(found) == len(studies)
            else f"{words} on {len(found)} of {len(studies)} tasks ({listed(found)})"
            for words, found in places.items()
        ]
        return ", ".join(parts)

    def median(self, study: str, arm: str, what: str = "steps") -> str:
        """A median over seeds: ``steps`` or ``seconds`` to the target that stays, ``first`` touch, or ``delay``."""
        if what not in MEDIANS:
            raise PageError(f"no median of {what!r}; there are {', '.join(MEDIANS)}")
        return time_text(self.results.study(study).row(arm)[MEDIANS[what]])

    def reached(self, study: str, arm: str) -> str:
        """``5 of 5 runs``."""
        row = self.results.study(study).row(arm)
        return f"{row['successes'] or 'none'} of {count(row['runs'], 'run')}"

    def each(self, study: str, arm: str, what: str = "steps") -> str:
        """One value a seed: ``439 · 521 · 381``."""
        return each_text(self.results.study(study), arm, what)

    def fell_back(self, study: str, arm: str) -> str:
        """In how many runs the first touch of the target did not stay: ``2 of 5 runs``."""
        runs = self.results.study(study).of(arm)
        touched = runs.filter(pl.col("generalized_first_at").is_not_null())
        stayed = touched.filter(pl.col("generalized_at") == pl.col("generalized_first_at"))
        return f"{touched.height - stayed.height or 'none'} of {count(runs.height, 'run')}"

    def setup(self, study: str) -> str:
        """What was asked: ``5 paired seeds, at most 3,000 steps, 95 % that stays``."""
        about = self.results.study(study).about
        seeds = count(len(about["seeds"]), "paired seed")
        target = target_of(about)
        stable = f"{target.phrase} ({count(target.stable_for, 'step')})"
        lasting = stable if target.stable_for else f"{target.phrase} that stays"
        return f"{seeds}, at most {whole(about['budget'])} steps, {lasting}"

    def every_run(self, name: str, text: str = "every run") -> str:
        """A link to the runs of a study, or of all studies in a folder."""
        self._studies(name)
        return f"[{text}]({os.path.relpath(self.results.root / name, self.page.parent)})"

    def recorded(self, *names: str) -> str:
        """How the runs of studies, or of folders of them, were recorded, as a sentence."""
        studies = [study for name in names for study in self._studies(name)]
        converted = [study for study in studies if study.about.get("events") == "converted"]
        how = f"[how]({os.path.relpath(self.results.root / 'README.md', self.page.parent)})"
        old = f"recorded before quick-check events; converted ({how})"
        if not converted:
            return "All runs were recorded with quick-check events."
        if len(converted) == len(studies):
            return f"All runs: {old}."
        return f"Runs of {listed([study.name for study in converted])}: {old}."

    def _studies(self, name: str) -> list[Study]:
        """The study ``name``, or those in the folder of that name."""
        inside = [study for study in self.results.names() if study.startswith(f"{name}/")]
        return [self.results.study(study) for study in inside or [name]]

    def bench(self, row: str, name: str = "bench") -> str:
        """Ours over plain, with the spread of its rounds, in the benchmark of this name."""
        return bench_text(known(self.results.bench(name), row, "row of the benchmark"))

    def floor(self, row: str, case: str) -> str:
        """What a row's ratio would be if its step took only what its products need at the machine's rate."""
        profiled = known(self.results.step_profile["cases"], case, "profiled step")
        return ratio(known(self.results.bench(), row, "row of the benchmark")["ratio"] * profiled["at_machine_rate"])

    def machine(self, name: str = "bench") -> str:
        """Where the benchmark of this name was measured."""
        return machine_text(self.results.bench(name))

    def store_where(self) -> str:
        """Where the growth of a folder was measured."""
        return where(self.results.store)

    def store_missed(self) -> str:
        """Which aims of the folder's growth were missed."""
        return store_missed(self.results.store)

    def cluster_where(self) -> str:
        """Where the overhead of a cluster was measured."""
        return where(self.results.cluster)

    def cluster_rate(self) -> str:
        """How fast a file comes from a node."""
        return cluster_rate(self.results.cluster)

    def growth_where(self) -> str:
        """Where the growth of a step's cost was measured."""
        return growth_where(self.results.growth)

    def profile_where(self) -> str:
        """Where a step was profiled."""
        return profile_where(self.results.step_profile)

    def reliability_sum(self) -> str:
        """How many of all cases held that were tried to break the lab."""
        return reliability_sum(self.results.reliability)

    def reproduced_sum(self, *papers: str) -> str:
        """How many published items are reproduced, of these papers or of all."""
        return reproduced_sum(*papers)

    def missed_aims(self) -> str:
        """The rows of the benchmark that miss their aims, in words."""
        missed = [f"`{name}`" for name, row in self.results.bench().items() if misses(row)]
        if not missed:
            return "every row meets its aim"
        rows = "1 row misses its aim" if len(missed) == 1 else f"{len(missed)} rows miss their aims"
        return f"{rows}: {listed(missed)}"

    def published(self, key: str) -> str:
        """A value that a paper states."""
        value = known(self.results.published, key, "published value")["value"]
        return whole(value) if isinstance(value, int) else str(value)
