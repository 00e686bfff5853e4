"""A suite's page and table: what each mark and colour stands for, and that nothing of a name is markup."""

import io
import re

import polars as pl
import pytest
from made_suites import record_of, runs
from rich.console import Console

from grokkit.report.suite import suite_page, suite_table

METHODS = ("base", "quick", "slow <b>", "fails", "unsure")
RECORD = record_of(
    {
        f"task <{number}>": runs(
            **{
                "base": [100, 100, 100],
                "quick": [25 + number, 25, 25],
                "slow <b>": [200, 200, 200 + number],
                "fails": [-900, -900, 100],
                "unsure": [seen] * 3,
            }
        )
        for number, seen in enumerate((50, 190, 100))
    },
    METHODS,
    claimed=["quick"],
)


@pytest.fixture(scope="module")
def page():
    failures = {}
    made = suite_page(RECORD, failures)
    assert failures == {}
    return made


def cells(page, method):
    """The cells of a method's row of the matrix, its number first."""
    matrix = re.search(r'<table class="matrix">.*?</table>', page, re.DOTALL)[0]
    (row,) = [row for row in matrix.split("<tr>") if f"</svg>{method}</th>" in row]
    return re.findall(r"<td.*?</td>", row)


def test_a_row_says_the_number_and_what_may_be_taken_from_it(page):
    assert "<b>1</b>" in cells(page, "base")[0]
    quick, slow, fails, unsure = (cells(page, name)[0] for name in ("quick", "slow &lt;b&gt;", "fails", "unsure"))
    assert re.search(r"<b>0.25×\*</b><small>0.2\d–0.2\d</small><small>claimed</small>", quick)
    assert "claimed" in slow
    assert "<b>≥ 4.33×</b><small>a bound, claims nothing</small><small>3/9 runs arrived</small>" in fails
    assert "claims nothing" in unsure
    assert "×*" not in unsure


def test_blue_is_less_orange_is_more_and_fuller_is_further(page):
    def shade(method):
        return re.search(r"rgba\((\d+),\d+,\d+,([\d.]+)\)", cells(page, method)[1])

    assert shade("quick")[1] == "0"
    assert shade("slow &lt;b&gt;")[1] == shade("fails")[1] == "213"
    assert float(shade("slow &lt;b&gt;")[2]) < float(shade("fails")[2]) == 0.45
    assert shade("base") is None, "the baseline is beside itself"
    assert re.search(r"<td>1.00×", cells(page, "unsure")[3]), "and what equals it has no colour"


def test_a_cell_marks_claims_bounds_and_runs_that_did_not_arrive(page):
    assert "0.25×*<small>" in cells(page, "quick")[1]
    assert "≥ 4.33×<small>1/3</small>" in cells(page, "fails")[1]
    assert "100<small>steps</small>" in cells(page, "base")[1]


def test_names_are_text_and_lead_to_the_reports(page):
    assert '<a href="held-out/1/report.html">task &lt;0&gt;</a>' in page
    assert '<a href="tuning/tune.html">All trials</a>' in page
    assert "slow <b>" not in page.partition('<script type="application/json"')[0]


@pytest.mark.parametrize(("width", "has_tasks"), [(60, False), (100, True)])
def test_the_terminal_shows_tasks_where_they_fit_and_cuts_nothing(width, has_tasks):
    console = Console(width=width, markup=False, record=True, file=io.StringIO())
    console.print(suite_table(RECORD, width))
    text = console.export_text()
    assert ("≥ 4.33×" in text) is True
    assert ("task <0>" in text) is has_tasks
    assert "…" not in text
    assert "slow <b>" in text


def test_of_runs_that_were_given_up_no_count_of_arrivals_stands_anywhere():
    ended = {
        label: runs(base=[100] * 3, own=own).with_columns(
            status=pl.when(pl.col("generalized_at").is_null()).then(pl.lit("given up")).otherwise("status")
        )
        for label, own in {"first": [150, 160, -400], "second": [-300] * 3}.items()
    }
    record = record_of(ended, ("base", "own"))
    number, first, second = cells(suite_page(record, {}), "own")
    assert "<small>4/6 runs given up</small>" in number
    assert "<small>1/3 given up</small>" in first
    assert "<small>3/3 given up</small>" in second
    console = Console(file=io.StringIO(), width=100)
    console.print(suite_table(record, 100))
    shown = console.file.getvalue()
    assert "4/6" in shown
    assert "given up" in shown
    assert "2/6" not in shown
