"""What lands on disk, and the table in the terminal."""

from __future__ import annotations

import ast
import errno
import io
import json
import struct
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from grokkit.analyse import leaderboard, verdict
from grokkit.files import atomic_write
from grokkit.report import leaderboard_table, write_report
from grokkit.report.leaderboard_section import leaderboard_table as page_table
from grokkit.report.search import search_table
from grokkit.reproduce.recipe import all_recipes
from grokkit.reproduce.show import print_list
from grokkit.terminal import terminal

PACKAGE = Path(__file__).parents[2] / "src/grokkit"


USUAL = ["learning-curves", "delay", "fraction-generalized", "time-to-target", "norms-and-entropy"]
MORE = ["learned-amplifier", "cost-to-target", "embedding", "kernel-change", "weak-quality", "predictions"]


@pytest.mark.parametrize(("is_all", "pictures"), [(False, USUAL), (True, [*USUAL, *MORE])], ids=["usual", "all"])
def test_everything_is_written_and_nothing_else(synthetic, tmp_path, is_all, pictures) -> None:
    crossings = {**synthetic.TRANSFERRED, "neuralgrok": [1500, 1900, 1700]} if is_all else synthetic.AMPLIFIED
    view = synthetic.view(crossings)
    tables = {}
    if is_all:
        predicted = {"run_id": "r", "method": "adamw", "seed": 0, "target": [70.0, 80.0], "predicted": [71.0, 75.0]}
        tables = {
            **synthetic.embeddings(crossings),
            **synthetic.probes(crossings, ["neuralgrok"]),
            "predictions": pl.DataFrame({**predicted, "unit": "bohr³"}),
        }
    rows = leaderboard(view.runs, view.methods, view.study["baseline"])
    paths, failures = write_report(
        tmp_path, view.study, view.runs, view.curves, tables, rows, verdict(rows, view.study)
    )
    names = {"leaderboard.json", "report.html", *(f"figures/{name}.png" for name in pictures)}
    assert set(paths) == names
    assert not failures
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == names
    assert json.loads(paths["leaderboard.json"].read_bytes()) == rows
    for name in names:
        if name.endswith(".png"):
            head = paths[name].read_bytes()[:24]
            assert head[:8] == b"\x89PNG\r\n\x1a\n"
            width, height = struct.unpack(">II", head[16:24])
            assert width > 700
            assert height > 400


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_terminal_table_fits_and_loses_nothing(synthetic, width) -> None:
    long = "grokfast-ema(alpha=0.9,lamb=1,wd=0.01)[red]"  # brackets are markup to rich
    crossings = {**synthetic.CROSSINGS, long: [15_000, 19_000, None]}
    # Of fewer than four seeds there is no bound that excludes 1.
    crossings = {method: [*times, times[0]] for method, times in crossings.items()}
    runs, _ = synthetic.tables(crossings)
    study = synthetic.study(crossings)
    screen = io.StringIO()
    rows = leaderboard(runs, study["methods"], "adamw")
    Console(width=width, file=screen).print(leaderboard_table(rows, study, width))
    text = screen.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    everywhere = ("4/4", "0/4", "not reached", "0.33×*", "0.31–0.34", "≥ 6,000", "≥ 2.39×", "FLOPs vs", "baseline")
    for expected in (*everywhere, *(["first", "dips"] if width >= 80 else []), *(["secs vs"] if width >= 100 else [])):
        assert expected in text
    assert "claimed" in text
    names = "".join(line.split("  ")[0].strip() for line in text.splitlines())
    assert long in names
    assert "grokfast-ema(alpha=0.9," in text, "no number is broken"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_of_a_search_fits_and_breaks_no_number(width) -> None:
    best = {"method": "grokfast-ema(lr=0.00481,wd=0.000308,alpha=0.973,lamb=7.52)", "has_arrived": False}
    cost = {"runs": 10, "flops": 7.43e8, "steps": 1000}
    own = {"best": best, "cost_of_tuning": cost, "trials": [{"has_arrived": False}] * 5}
    screen = io.StringIO()
    tuning = {"cost": "flops", "methods": {"grokfast-ema": own, "a": {**own, "best": None}}}
    Console(width=width, file=screen).print(search_table(tuning, width))
    text = screen.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert all(setting in text for setting in ("lr=0.00481,", "wd=0.000308,", "alpha=0.973,", "lamb=7.52)"))
    assert ("7.43e+08" in text) is (width >= 80)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_list_of_published_items_breaks_no_word(tmp_path, width) -> None:
    recipes, screen = list(all_recipes().values()), io.StringIO()
    print_list(recipes, tmp_path, terminal(width=width, file=screen))
    words = {word.strip(":") for word in screen.getvalue().split()}
    assert {word.strip(":") for recipe in recipes for word in recipe.title.split()} <= words
    assert max(len(line) for line in screen.getvalue().splitlines()) <= width


def test_atomic_write_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch) -> None:
    path = tmp_path / "new folder" / "file.txt"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("letter", "a長😀")
def test_the_longest_name_that_a_file_can_have_can_be_written(tmp_path, letter) -> None:
    path = tmp_path / (letter * (255 // len(letter.encode())))
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"


def test_imports_go_one_way_and_never_to_torch() -> None:
    allowed = {"analyse": {"analyse", "errors"}, "report": {"analyse", "report", "errors", "files", "registry"}}
    for package, may in allowed.items():
        for file in (PACKAGE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module] if node.module != "grokkit" else [f"grokkit.{a.name}" for a in node.names]
                for name in names:
                    top, _, rest = name.partition(".")
                    assert top != "torch", file
                    assert top != "grokkit" or rest.split(".")[0] in may, (file, name)


def test_page_and_terminal_say_alike_in_how_many_seeds_both_arrived(synthetic) -> None:
    """The baseline has a seed more than one arm, and misses the target in another."""
    crossings = {"adamw": [6000, 6500, None, 7000, 6200], "grad-norm": [3000, 3100, 2900, 3300]}
    runs, _ = synthetic.tables(crossings)
    study = synthetic.study(crossings)
    rows = leaderboard(runs, study["methods"], "adamw")
    screen = io.StringIO()
    Console(width=100, file=screen).print(leaderboard_table(rows, study, 100))
    assert "3/4 pairs" in screen.getvalue()
    assert "3 of 4 pairs complete" in page_table(rows, study)
