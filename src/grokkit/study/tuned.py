"""What a search leaves in its folder, tune.json, and who uses it: the best settings, and what finding them took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grokkit.errors import InputError, unknown
from grokkit.study.sealed import Damaged, read_sealed
from grokkit.study.store import STUDY_FORMAT
from grokkit.train.config import MethodConfig, TaskConfig
from grokkit.train.resolve import method_config

FILE = "tune.json"
SUITE_FILE = "suite.json"
_DEPENDED_ON = ("title", "task", "model", "batch_size", "target", "target_loss", "event")
"""What settings depend on, of what a search and a study say of their tasks."""
_OF_EVENT = {"stays": "sustain", "stable": "after"}
"""What says how long a run has to be at the target, which settings depend on as well; records of before need not say
it."""


def has_tuning(folder: Path) -> bool:
    """Whether there is a search in the folder."""
    return (folder / FILE).is_file()


def has_trials(folder: Path) -> bool:
    """Whether the search in the folder has been told of any trial."""
    return has_tuning(folder) and any(own["trials"] for own in read_tuning(folder)["methods"].values())


def has_suite(folder: Path) -> bool:
    """Whether the folder is that of a suite, which has its search and its studies in folders below."""
    return (folder / SUITE_FILE).is_file()


def read_tuning(folder: Path) -> dict[str, Any]:
    """tune.json.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    return read_account(
        folder,
        FILE,
        again="run the same search again",
        absent=f"holds no search (no {FILE}); make one with: grokkit tune TASK --out {folder}",
        otherwise="search again in another --out",
    )


def read_account(folder: Path, file: str, *, again: str, absent: str, otherwise: str) -> dict[str, Any]:
    """The sealed account that a search or a suite leaves in its folder.

    Args:
        again: how it is written anew, if it is damaged.
        absent: what the folder is without one, and how one is made.
        otherwise: what to do if another version of grokkit has written it.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    path = folder / file
    try:
        found = read_sealed(path, newest=STUDY_FORMAT)
    except Damaged as damage:
        raise InputError(f"{path} is damaged: it {damage}; delete it and {again}") from None
    if found is None:
        raise InputError(f"{folder} {absent}")
    if found.get("format") != STUDY_FORMAT:
        raise InputError(f"{path} is of another version of grokkit; {otherwise}")
    return found


def winners(tuning: Mapping[str, Any], asked: Sequence[str], folder: Path) -> dict[str, str]:
    """The method with its best settings, by the method as it was searched, of those ``asked``; of all, if that is none.

    Raises:
        InputError: for a method that was not searched, or of which no trial is done.
    """
    found = {}
    for name in asked or tuning["methods"]:
        if name not in tuning["methods"]:
            raise unknown(f"method that was tuned in {folder}", name, tuning["methods"])
        best = tuning["methods"][name]["best"]
        if best is None:
            raise InputError(
                f"{folder} has no finished trial of {name}; run the same `grokkit tune` again, which tries those that "
                "failed once more, or leave it out of --methods"
            )
        found[name] = best["method"]
    return found


def twins(best: Mapping[str, str], task: TaskConfig) -> dict[str, str]:
    """Methods whose best settings make them another one of ``best`` on this task, one that stands before them there; by
    the method, the other. So ``adamw`` and ``adamw(lr=0.003)`` may be, where 0.003 is what was found for both."""
    found: dict[str, str] = {}
    seen: list[tuple[str, MethodConfig]] = []
    for name, text in best.items():
        config = method_config(text, task.name, task.card.optimizer)
        same = [other for other, own in seen if (own.label, own.codes) == (config.label, config.codes)]
        if same:
            found[name] = same[0]
        else:
            seen.append((name, config))
    return found


def check_seeds(tuning: Mapping[str, Any], seeds: Sequence[int], folder: Path) -> None:
    """Refuse seeds that the settings were chosen on: there the best trial flatters itself."""
    if both := sorted({*tuning["seeds"]} & {*seeds}):
        raise InputError(
            f"seed {both[0]} is one that {folder} was tuned on; compare on others, e.g. --seeds 5 for 0 to 4"
        )


def cost_of_tuning(tuning: Mapping[str, Any], name: str, codes: Sequence[str]) -> dict[str, Any]:
    """What study.json says of how a method was tuned, whose code is ``codes`` now. All numbers are of tuning seeds and
    validation rows."""
    searched = tuning["methods"][name]
    best = searched["best"]
    told = {key: tuning[key] for key in ("title", "seeds", "sampler", "any_order", "budget")}
    return {
        "method": name,
        "space": searched["space"],
        **told,
        "tasks": [_depended_on(task) for task in tuning.get("tasks") or [tuning]],
        **searched["cost_of_tuning"],
        "with_other_code": searched.get("codes", [*codes]) != [*codes],  # which searches of before do not say
        "has_arrived": best["has_arrived"],
        "cost": tuning["cost"],
        "cost_to_target": best["cost"],
        "costs": [
            [trial["cost"], trial["has_arrived"], trial.get("repeat", 0)]
            for trial in searched["trials"]
            if trial["cost"] is not None
        ],
    }


def _depended_on(task: Mapping[str, Any]) -> dict[str, Any]:
    how_long = _OF_EVENT[task.get("event") or "stays"]
    known = {how_long: task[how_long]} if how_long in task else {}
    return {key: task.get(key) for key in _DEPENDED_ON} | known
