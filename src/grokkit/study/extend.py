"""A folder holds one question. Other methods and more seeds extend its study; anything else is another question.

What a command asks for becomes part of what its folder holds: the arms and seeds of both together. An arm is known by
its identity and not by its spelling, so ``adamw`` finds the runs of ``adamw(lr=0.003)`` if that is its default. A
method whose code has changed is another arm than it was: its name gets a number, its old runs stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from grokkit.errors import InputError, about, unknown
from grokkit.study.looks import settled
from grokkit.study.plan import Arm, Plan
from grokkit.study.store import STUDY_FORMAT
from grokkit.train.identity import LEFT_OUT


def extended(
    plan: Plan,
    before: Mapping[str, Any] | None,
    kept: Mapping[str, str],
    folder: Path,
    question: Mapping[str, Any] | None = None,
) -> Plan:
    """``plan`` as it is carried out in ``folder``: its runs have the names that the folder calls their arms by, and its
    study is that of the folder and of the plan together.

    Args:
        before: the folder's study.json; None for a new folder, or one whose study.json was lost.
        kept: the finished runs of the folder, run id → the label that they were kept under.
        question: of those runs, where study.json was lost and does not say it.

    Raises:
        InputError: if the folder holds runs of another question, naming both; if another claim, primary arm or baseline
            is asked for than its finished runs were made for; or for a baseline or primary arm that no arm is.
    """
    if before is not None and (other := other_question(plan, before)) is not None:
        if kept:
            raise InputError(f"{folder} {other}; choose another --out")
        before = None  # The folder has no run of the other question, so it is as good as new.
    if before is None and question is not None:
        for name, asked, found in _differences({**LEFT_OUT, **plan.question}, {**LEFT_OUT, **question}):
            values = f"{name}={_shown(found)}, not with {name}={_shown(asked)}"
            raise InputError(f"{folder} holds runs with {values}; choose another --out")
    names = _names(plan, before, kept)
    study = dict(plan.study)
    study["methods"] = [names[label] for label in plan.study["methods"]]
    study["methods_detail"] = {names[label]: detail for label, detail in plan.study["methods_detail"].items()}
    tuned = {names[label]: detail for label, detail in plan.study.get("tuned", {}).items()}
    tuned_before = (before or {}).get("tuned") or {}
    if tuned or tuned_before:
        # Two methods may be tuned to one arm, which stays what it was searched as.
        stays = {label: was for label, was in tuned_before.items() if was["method"] != tuned.get(label, was)["method"]}
        study["tuned"] = {**tuned_before, **tuned, **stays}
    if before is not None:
        study["methods"] = _union(before["methods"], study["methods"])
        study["methods_detail"] = {**study["methods_detail"], **before["methods_detail"]}
        study["seeds"] = sorted({*before["seeds"], *study["seeds"]})
        study["run_ids"] = _union(before["run_ids"], study["run_ids"])
    study["baseline"] = _named(plan.baseline, "baseline", study)
    study["primary"] = _named(plan.primary, "primary", study)
    study = settled(before, study, has_runs=bool(kept))
    if before is not None and not _changes(study, before):
        study["command"] = before["command"]  # The record is of the command that made the study what it is.
    return replace(plan, runs=plan.runs.relabelled(names.__getitem__), study=study)


def _union(before: list[str], now: list[str]) -> list[str]:
    return list(dict.fromkeys([*before, *now]))


def _changes(study: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether ``study`` says anything else than ``before``, apart from the command."""
    return any(before.get(name) != value for name, value in study.items() if name != "command")


def _names(plan: Plan, before: Mapping[str, Any] | None, kept: Mapping[str, str]) -> dict[str, str]:
    """What the folder calls each arm of the plan, by the arm's label: as it did before, or else by that label, with a
    number if another arm has it for a name."""
    details = plan.study["methods_detail"]
    if before is not None:
        known = {detail["identity"]: name for name, detail in before["methods_detail"].items()}
    else:  # Where study.json was lost, the finished runs still say what they were called.
        done = [(run_id, run) for run_id, run in zip(plan.runs.ids, plan.runs, strict=True) if run_id in kept]
        known = {details[run.method.label]["identity"]: kept[run_id] for run_id, run in done}
    names: dict[str, str] = {}
    for label, detail in details.items():
        name = known.get(detail["identity"])
        if name is None:
            taken = {*known.values(), *names.values()}
            name, number = label, 2
            while name in taken:
                name, number = f"{label} #{number}", number + 1
        names[label] = name
    return names


def _named(arm: Arm | None, option: str, study: Mapping[str, Any]) -> str | None:
    """The name, in the folder, of the arm that the command gave as ``option``."""
    if arm is None:
        return None
    for label, detail in study["methods_detail"].items():
        if detail["identity"] == arm.identity:
            return label
    with about(f"--{option}"):
        raise unknown(option, arm.label, study["methods"])


def other_question(plan: Plan, before: Mapping[str, Any]) -> str | None:
    """Why ``plan`` does not fit, as "holds a study with budget=20, not with budget=30"; None if it does."""
    title = plan.study["title"]
    if before["format"] < STUDY_FORMAT:
        return (
            f"holds a study of an earlier grokkit (format {before['format']}), whose report can be made again but "
            "which cannot be extended"
        )
    if title != before["title"]:
        return f"holds a study of {before['title']!r}, not of {title!r}"
    now = {**LEFT_OUT, **plan.question}
    was = {**LEFT_OUT, **{name: before[name] for name in now if name in before}}
    if any(was.get(name) != now[name] for name in ("identity", "events")):
        return "holds a study of another version of grokkit, in which the same run has another identity"
    for name, asked, found in _differences(now, was):
        if name == "code":
            return f"holds runs of {title!r} with other code ({found or 'ours'}) than it has now ({asked or 'ours'})"
        return f"holds a study with {name}={_shown(found)}, not with {name}={_shown(asked)}"
    return None


def _differences(now: Any, before: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, value now, value before) of every setting that differs; one that is missing counts as None."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key in dict.fromkeys([*now, *before]):
            yield from _differences(now.get(key), before.get(key), key)
    elif now != before:
        yield name, now, before


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
