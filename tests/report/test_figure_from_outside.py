"""A figure of another package: on the page, among the pictures, and harmless where it is faulty."""

import json
import struct
import sys

import polars as pl
import pytest

from grokkit import registry
from grokkit.analyse import leaderboard, verdict
from grokkit.report import Figure, all_figures, table_names, write_report

MODULE = """
import altair as alt
import polars as pl
from grokkit.report import Figure

def sharpest(view):
    table = view.tables["sharpness"]
    return table.group_by("method", "step", maintain_order=True).agg(pl.col("sharpness").max())

def draw(data, view):
    return alt.Chart(data).mark_line().encode(x="step:Q", y="sharpness:Q", color="method:N")

def misdraw(data, view):
    return alt.Chart(data).mark_line().encode(x=alt.X("step", type="sideways"))

COLUMNS = {"sharpness": {"step": int, "sharpness": float}}
WORDS = dict(section="Sharpness <1>", title="largest eigenvalue", reading="one line a method", note="Of the loss.")
SHARPNESS = Figure(name="sharpness", columns=COLUMNS, data=sharpest, draw=draw, **WORDS)

OTHER = {"sharpness": {"step": int, "trace": float}}
NO_COLUMN = Figure(name="no-column", columns=OTHER, data=sharpest, draw=draw, **WORDS)
NO_CHART = Figure(name="no-chart", columns=COLUMNS, data=sharpest, draw=misdraw, **WORDS)
NO_DATA = Figure(name="no-data", data=lambda view: 1 / 0, draw=draw, section="Zero", title="zero")
TAKEN = Figure(name="embedding", data=sharpest, draw=draw, section="Taken", title="taken")
EMPTY = Figure(name="empty", data=lambda view: None, draw=draw, section="Empty", title="empty")
def made():
    return Figure(name="made", data=sharpest, columns=COLUMNS, draw=draw, **WORDS)

SAME = Figure(name="same", columns=COLUMNS, data=sharpest, draw=lambda data, view: [SHARPNESS.blocks(view)[0]], **WORDS)
"""

POINTS = """[grokkit.figures]
sharpness = sharp_figures:SHARPNESS
no-column = sharp_figures:NO_COLUMN
no-chart = sharp_figures:NO_CHART
no-data = sharp_figures:NO_DATA
taken = sharp_figures:TAKEN
empty = sharp_figures:EMPTY
same = sharp_figures:SAME
no-module = absent_figures:FIGURE
no-figure = sharp_figures:WORDS
made = sharp_figures:made
"""

FAILURES = {
    "no-column": "the table sharpness has no column 'trace'",
    "no-chart": "sideways",
    "no-data": "ZeroDivisionError: division by zero",
    "entry-point-taken": "another figure is named embedding",
    "same": "two charts are named 'sharpness'",
    "entry-point-no-module": "No module named 'absent_figures'",
    "entry-point-no-figure": "is a dict; it must be a Figure",
}


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """An installed package that has figures, and a probe's table of two runs."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sharp_figures.py").write_text(MODULE)
    about = folder / "sharp_figures-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sharp-figures\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    sys.path.insert(0, str(folder))
    registry._registered.cache_clear()  # what is installed is looked up once a process
    yield
    registry._registered.cache_clear()
    sys.path.remove(str(folder))
    sys.modules.pop("sharp_figures", None)


@pytest.fixture(scope="module")
def written(outside, synthetic, tmp_path_factory):
    """The report of a study whose runs have the table of the package's probe."""
    view = synthetic.view()
    parts = []
    for method in ("adamw", "grokfast-ema"):
        keys = {"run_id": f"{method}--seed0--0000", "method": method, "seed": 0}
        parts.append(pl.DataFrame({**keys, "step": [0, 10, 20], "sharpness": [1.0, 4.0, 2.5]}))
    rows = leaderboard(view.runs, view.methods, view.study["baseline"])
    folder = tmp_path_factory.mktemp("report")
    tables = {"sharpness": pl.concat(parts)}
    return write_report(folder, view.study, view.runs, view.curves, tables, rows, verdict(rows, view.study))


def test_its_table_is_read(outside):
    assert "sharpness" in table_names(all_figures())


def test_it_has_a_section_behind_ours_and_a_chart_of_its_numbers(written):
    page = written[0]["report.html"].read_text()
    ours, its = ">Weights and gradients</h2>", '<h2 id="sharpness-lt-1-gt">Sharpness &lt;1&gt;</h2>'
    assert page.index(ours) < page.index(its) < page.index(">Every run</h2>")
    assert '<figcaption>Largest eigenvalue<small>one line a method</small></figcaption><div class="chart" ' in page
    assert page.count('data-chart="sharpness"') == page.count('data-chart="made"') == 1
    script = page.split('<script type="application/json" id="charts">')[1].split("</script>")[0]
    charts = json.loads(script)
    (data,) = charts["charts"]["sharpness"]["uses"]
    assert charts["datasets"][data]["sharpness"] == [1.0, 4.0, 2.5] * 2


def test_it_is_a_picture(written):
    head = written[0]["figures/sharpness.png"].read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24])[0] > 2 * 620


def test_each_faulty_one_is_named_in_a_line_and_the_rest_stands(written):
    assert written[1].keys() == FAILURES.keys()
    page = written[0]["report.html"].read_text()
    for name, words in FAILURES.items():
        assert words in written[1][name]
        assert "\n" not in written[1][name]
        assert f'<p class="note">{name} could not be drawn: ' in page
        assert f"figures/{name}.png" not in written[0]
    assert "figures/learning-curves.png" in written[0]
    assert ">Empty</h2>" not in page


@pytest.mark.parametrize("name", ["", "Sharp", "../up", "a b"])
def test_a_name_that_is_no_file_s_is_refused(name):
    with pytest.raises(ValueError, match="cannot be named"):
        Figure(name=name, section="s", title="t", data=len, draw=lambda data, view: [])
