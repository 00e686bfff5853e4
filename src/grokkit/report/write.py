"""A study's report on disk: numbers, page, pictures, each file whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.files import atomic_write
from grokkit.report.figure import View, completed
from grokkit.report.figures import all_figures
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
) -> tuple[dict[str, Path], dict[str, str]]:
    """Write leaderboard.json and report.html into ``folder``, and then figures/*.png, which take longest.

    Returns name → path of each file, and figure → why it could not be drawn, in a line.

    ``study`` as in study.json; ``runs`` one row per run with the keys of run.json; ``curves`` the rows of all
    curves.parquet with their ``run_id``; ``tables`` the same of :func:`grokkit.report.table_names`, empty or absent
    where no run has them; ``leaderboard_rows`` and ``verdict_text`` from :mod:`grokkit.analyse`.
    """
    figures = all_figures()
    tables = completed(figures, tables)
    failures: dict[str, str] = {}
    page = build_page(figures, View(study, runs, curves, tables, "page"), leaderboard_rows, verdict_text, failures)
    numbers = json.dumps(leaderboard_rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    paths = {"leaderboard.json": folder / "leaderboard.json", "report.html": folder / "report.html"}
    atomic_write(paths["leaderboard.json"], numbers.encode())
    atomic_write(paths["report.html"], page.encode(errors="backslashreplace"))  # a path in it may be no UTF-8
    pictures = images(figures, View(study, runs, curves, tables, "image"), failures, folder / "figures")
    for name, png in pictures.items():
        paths[f"figures/{name}"] = folder / "figures" / name
        atomic_write(paths[f"figures/{name}"], png)
    return paths, failures
