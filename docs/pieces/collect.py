"""A study's results, kept with the documents."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import polars as pl

from grokkit.analyse.target import target_of
from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.study.store import Store
from pieces.thin import thinned

USAGE = """Keep a study's results with the documents.

    python docs/collect.py DIR NAME

DIR was made by grokkit compare --out DIR. docs/results/NAME gets its study.json, runs.parquet and thinned
curves.parquet, and new versions of the pictures that are there already. Then python docs/build.py writes the pages.
"""

EVENTS = ("memorized_at", "generalized_first_at", "generalized_at", "stable_at", "collapsed_at", "below_until")


def collect(source: Path, target: Path) -> None:
    """Write ``target`` from the study in ``source``; all of its runs must be finished."""
    store = Store(source)
    study = store.read_study()
    runs, curves = store.load(study["run_ids"])
    pictures = {path: source / "figures" / path.name for path in target.glob("*.png")}
    for picture in pictures.values():
        if not picture.exists():
            raise InputError(f"{picture} is missing; make it with: grokkit report {source}")
    # Where the study lay on this machine is nobody's business.
    study["command"] = re.sub(r" --out[ =](?:'[^']*'|\S+)", "", study["command"])
    target.mkdir(parents=True, exist_ok=True)
    atomic_write(target / "study.json", (json.dumps(study, indent=2, ensure_ascii=False) + "\n").encode())
    atomic_write(target / "runs.parquet", _parquet(runs))
    atomic_write(target / "curves.parquet", _parquet(thinned_curves(study, runs, curves)))
    for path, picture in pictures.items():
        atomic_write(path, picture.read_bytes())


def thinned_curves(study: dict[str, object], runs: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    """The thinned curves of all runs below each other."""
    target = target_of(study)
    kept = []
    for run in runs.iter_rows(named=True):
        kept.append(
            thinned(
                curves.filter(pl.col("run_id") == run["run_id"]),
                measure=target.measure,
                target=target.value,
                sustain=json.loads(run["config"])["sustain"],
                events=[run[name] for name in EVENTS if run.get(name) is not None],
            )
        )
    return pl.concat(kept)


def _parquet(table: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file, compression="zstd")
    return file.getvalue()


def main(arguments: list[str], root: Path) -> int:
    if len(arguments) != 2 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    target = root / "docs" / "results" / arguments[1]
    try:
        collect(Path(arguments[0]), target)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size / 1024:.0f} KiB; now: python docs/build.py")
    return 0
