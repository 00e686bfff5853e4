"""A study's report on disk: numbers, page, pictures, each file whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.files import atomic_write
from grokkit.report.images import images
from grokkit.report.page import build_page


def write_report(
    folder: Path,
    study: Mapping[str, Any],
    runs: pl.DataFrame,
    curves: pl.DataFrame,
    tables: Mapping[str, pl.DataFrame],
    leaderboard_rows: Sequence[Mapping[str, Any]],
    verdict_text: str,
) -> dict[str, Path]:
    """Write leaderboard.json, report.html and figures/*.png into ``folder``; returns name → path of each.

    ``study`` as in study.json; ``runs`` one row per run with the keys of run.json; ``curves`` the rows of all
    curves.parquet with their ``run_id``; ``tables`` the same of :data:`grokkit.report.TABLES`, empty or absent where no
    run has them; ``leaderboard_rows`` and ``verdict_text`` from :mod:`grokkit.analyse`.
    """
    page = build_page(study, runs, curves, tables, leaderboard_rows, verdict_text)
    contents = {
        "leaderboard.json": (
            json.dumps(leaderboard_rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode(),
        **{f"figures/{name}": data for name, data in images(study, runs, curves, tables).items()},
        "report.html": page.encode(),
    }
    for name, data in contents.items():
        atomic_write(folder / name, data)
    return {name: folder / name for name in contents}
