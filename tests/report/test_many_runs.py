"""Of very many runs the report draws the first seeds; every number is of all, and the page is there before pictures."""

from __future__ import annotations

import pytest

from grokkit.analyse import leaderboard, verdict
from grokkit.report import all_figures, figure, of_every_run, tables, with_lines, write, write_report
from grokkit.report.figures import embedding
from grokkit.report.figures.delay import DELAY
from grokkit.report.figures.embedding import EMBEDDING
from grokkit.report.figures.times import TIME_TO_TARGET


@pytest.fixture
def few(monkeypatch) -> None:
    """Four lines and eight rows of a table, so that twelve runs are very many."""
    monkeypatch.setattr(figure, "_LINES", 4)
    monkeypatch.setattr(tables, "_MOST_ROWS", 8)


def test_charts_have_the_first_seeds_and_medians_and_words_are_of_all(synthetic, few) -> None:
    view = synthetic.view()
    methods = view.study["methods"]
    assert with_lines(view.runs, methods)["seed"].unique().to_list() == [0]
    drawn = TIME_TO_TARGET.data(view)
    assert drawn.select("method", "seed").rows() == [(method, 0) for method in methods]
    assert drawn["median"].to_list()[:2] == [7000, 2200], "the middle one of three seeds"
    (row,) = DELAY.blocks(view)
    assert "adamw: 3 of 3 runs generalized" in row.panels[0].description
    rows = [data for data in row.panels[0].chart.to_dict()["datasets"].values() if len(data) == len(methods)]
    assert rows
    assert {entry["seed"] for data in rows for entry in data} == {0}
    assert view.seed_curves["seed"].unique().to_list() == [0]


def test_embeddings_are_of_the_first_methods(synthetic, monkeypatch) -> None:
    crossings = synthetic.TRANSFERRED
    view = synthetic.view(crossings, synthetic.embeddings(crossings), evaluations=20)
    every = [row.heading for row in EMBEDDING.blocks(view)]
    assert len(every) > 1
    monkeypatch.setattr(embedding, "_METHODS", 1)
    assert [row.heading for row in EMBEDDING.blocks(view)] == every[:1]


def test_tables_that_only_pictures_of_single_runs_read_are_read_of_those(synthetic) -> None:
    figures = all_figures()
    whole = {name for found in figures for name in found.columns if of_every_run(figures, name)}
    assert {"ntk", "softmax", "attempts"} <= whole
    assert not whole & {"circle", "pca", "fourier", "quick_checks", "amplifier", "digits", "reviews", "predictions"}


def test_the_page_is_there_before_the_pictures_and_says_what_its_table_leaves_out(
    synthetic, few, tmp_path, monkeypatch
) -> None:
    view = synthetic.view()
    rows = leaderboard(view.runs, view.study["methods"], "adamw")
    there = []

    def images(*_: object) -> dict[str, bytes]:
        there.extend(sorted(path.name for path in tmp_path.iterdir()))
        return {}

    monkeypatch.setattr(write, "images", images)
    write_report(tmp_path, view.study, view.runs, view.curves, {}, rows, verdict(rows, view.study))
    assert there == ["leaderboard.json", "report.html"]
    page = (tmp_path / "report.html").read_text()
    assert "12 runs are too many for a page: the first seeds of each method." in page
    table = page.partition("<caption>The first 2 seeds of each method</caption>")[2].partition("</table>")[0]
    assert table.count("<tr") == 1 + 8
