"""A small real store, and the ways to damage a file of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grokkit.files import LARGEST
from grokkit.study.extend import extended
from grokkit.study.pace import FORMAT, ArmPace, Pace
from grokkit.study.plan import Plan
from grokkit.study.question import Question
from grokkit.study.sealed import sealed
from grokkit.study.store import Store
from grokkit.study.work import _keep
from grokkit.train.loop import train

COMMAND = ["add:11", "--methods", "adamw,neuralgrok(hidden=(6,5),every=3)", "--seeds", "1", "--budget", "20"]
COMMAND += ["--model", "fnn(dim=4,width=8)", "--claim", "seconds"]


def small_plan() -> Plan:
    """What :data:`COMMAND` asks for: a run with tables, and one with what its method has learned as well."""
    methods = ["adamw", "neuralgrok(hidden=(6,5),every=3)"]
    asked = Question(task="add:11", methods=methods, seeds=1, budget=20, model="fnn(dim=4,width=8)", claim="seconds")
    return asked.plan("grokkit compare add:11")


def make_store(folder: Path) -> Store:
    """Train the runs of :func:`small_plan` here, and keep them as a worker does."""
    store, plan = Store(folder), small_plan()
    with store.lock():
        plan = extended(plan, None, {}, folder)
        store.write_study(plan.study)
        for run in plan.runs:
            _keep(store, train(run))
    arm = ArmPace(step="", steps=20, seconds=0.002, rounds=[0.001, 0.002, 0.003])
    arms = dict.fromkeys(plan.study["methods"], arm)
    pace = Pace(arms=arms, rounds=9, warm_up=100, load=0.5, machine={"processor": "p"})
    (folder / "pace.json").write_bytes(
        sealed({"format": FORMAT, **vars(pace), "arms": {a: vars(p) for a, p in arms.items()}})
    )
    return store


def files_of(folder: Path) -> list[str]:
    """All files that a study is read from, by their paths in its folder."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(str(path.relative_to(folder)) for path in found)


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _flip(part: float, bit: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(part * len(data)), len(data) - 1)] ^= 1 << bit
        path.write_bytes(data)

    return damage


def _replace(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)


def _swap(other_of: Callable[[Path], Path]) -> Callable[[Path], None]:
    """With another file, which is damaged then as well."""

    def damage(path: Path) -> None:
        other = other_of(path)
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)

    return damage


def _of_other_run(path: Path) -> Path:
    """The file of that name in the other run, or of any table there."""
    folder = next(folder for folder in sorted(path.parent.parent.iterdir()) if folder != path.parent)
    return folder / path.name if (folder / path.name).exists() else folder / "curves.parquet"


def _beside(path: Path) -> Path:
    return next(other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path and other.suffix)


PARTS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)

# Of any file.
ANY: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: _put(path, b""),
    "cut in half": lambda path: _put(path, path.read_bytes()[: path.stat().st_size // 2]),
    "a byte short": lambda path: _put(
        path, path.read_bytes()[:-1] if path.suffix != ".json" else path.read_bytes()[:-2]
    ),
    "begun twice": lambda path: _put(path, path.read_bytes() * 2),
    "zeros": lambda path: _put(path, bytes(path.stat().st_size)),
    "text": lambda path: _put(path, b"something else"),
    "not UTF-8": lambda path: _put(path, b'{"format": 2, "\xff": 1}'),
    "JSON 100,000 deep": lambda path: _put(path, b"[" * 100_000 + b"]" * 100_000),
    "a number of 5,000 digits": lambda path: _put(path, b'{"format": 1, "steps": ' + b"1" * 5000 + b"}"),
    "another object": lambda path: _put(path, b"{}"),
    "larger than memory": _sparse,
    **{
        f"bit {bit} flipped at {part:.0%}": _flip(part, bit) for bit, part in enumerate([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
    },
    "a folder": _replace(lambda path: path.mkdir()),
    "a pipe": _replace(os.mkfifo),
    "a link to itself": _replace(lambda path: path.symlink_to(path.name)),
    "a link to nowhere": _replace(lambda path: path.symlink_to("nowhere")),
    "a link to a device": _replace(lambda path: path.symlink_to("/dev/zero")),
    "swapped with what lies beside it": _swap(_beside),
}

# Of a file in a run's folder.
OF_A_RUN: dict[str, Callable[[Path], object]] = {
    "swapped with the other run's": _swap(_of_other_run),
    "copied from the other run": lambda path: shutil.copyfile(_of_other_run(path), path),
}

# Of a run's table: without its record a run would be no run.
OF_A_TABLE: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "with another table beside it": lambda path: shutil.copyfile(path, path.with_name("another.parquet")),
}


def _in_json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        value = json.loads(path.read_text(encoding="utf-8"))
        change(value)
        path.write_text(json.dumps(value, indent=2), encoding="utf-8")

    return damage


def _set(name: str, value: object) -> Callable[[Path], None]:
    return _in_json(lambda record: record.update({name: value}))


def _first_number(value: Any, change: Callable[[float], object]) -> bool:
    """Change the first number that is found in it."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, item in items:
        if isinstance(item, int | float) and not isinstance(item, bool) and key != "format":
            value[key] = change(item)
            return True
        if isinstance(item, dict | list) and _first_number(item, change):
            return True
    return False


# Of a JSON file that is still JSON.
OF_JSON: dict[str, Callable[[Path], object]] = {
    "a number changed": _in_json(lambda value: _first_number(value, lambda number: number + 1)),
    "a number that is null": _in_json(lambda value: _first_number(value, lambda number: None)),
    "a number that is text": _in_json(lambda value: _first_number(value, str)),
    "a number that is NaN": _in_json(lambda value: _first_number(value, lambda number: float("nan"))),
    "a number that is infinite": _in_json(lambda value: _first_number(value, lambda number: float("inf"))),
    "a key less": _in_json(lambda value: value.pop(next(key for key in value if key != "format"))),
    "a key more": _set("more", 1),
    "no digest": _in_json(lambda value: value.pop("digest")),
    "a digest that is none": _set("digest", 5),
    "a format that is text": _set("format", "2"),
    "no format": _in_json(lambda value: value.pop("format")),
}

OF_A_RECORD: dict[str, Callable[[Path], object]] = {
    name: _set(name, value)
    for name, value in {
        "run_id": "adamw--seed0--000000000000",
        "method": "another",
        "seed": 1,
        "budget": 21,
        "config": {},
        "config_hash": "000000000000",
        "status": "generalized",
        "steps": None,
        "generalized_at": 5,
        "flops": None,
        "peak_memory_bytes": "much",
        "files": {},
        "provenance": None,
    }.items()
} | {
    "of before, without digests": _in_json(
        lambda value: [value.pop("digest"), value.pop("files"), value.update(format=1)]
    )
}

OF_A_STUDY: dict[str, Callable[[Path], object]] = {
    "ids repeated": _in_json(lambda study: study["run_ids"].append(study["run_ids"][0])),
    "an id of another": _in_json(lambda study: study["run_ids"].append("adamw--seed7--000000000000")),
    "no ids": _in_json(lambda study: study["run_ids"].clear()),
    "another order": _in_json(lambda study: study["methods"].reverse()),
    "another baseline": _set("baseline", "neuralgrok"),
    "a look more": _in_json(lambda study: study["looks"].append({"seeds": [0], "date": "2026-01-01"})),
}


def damages_of(name: str) -> dict[str, Callable[[Path], object]]:
    """Every way to damage the file of this name."""
    is_json, is_of_a_run = name.endswith(".json"), name.startswith("runs/")
    found = dict(ANY)
    found |= OF_A_RUN if is_of_a_run else {}
    found |= OF_JSON if is_json else OF_A_TABLE
    found |= OF_A_RECORD if name.endswith("run.json") else {}
    return found | (OF_A_STUDY if name == "study.json" else {})
