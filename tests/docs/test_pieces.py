"""What pieces say of studies whose numbers are known."""

import doctest
import json
import shlex
import subprocess

import pieces.crossing
import pieces.markers
import pieces.tables
import polars as pl
import pytest
from made_studies import record, write_study, write_tables
from pieces.inline import Inline
from pieces.markers import PageError, Pending
from pieces.studies import Results
from pieces.tables import Blocks

from grokkit.study.store import RUNS

TIMES = {
    "base": [100, 200, 400, 300, 500],
    "half": [50, 100, 200, 150, 250],
    "twice": [200, 400, 800, 600, 999],
    "wild": [20, 900, 100, 900, 100],
    "never": [None] * 5,
    "rarely": [None, None, 300, None, None],
}


@pytest.fixture
def results(tmp_path):
    root = tmp_path / "docs" / "results"
    write_study(root, "one", TIMES)
    write_study(root, "folder/first", {"base": [100, 200, 400], "half": [50, 100, 200]}, events="converted")
    write_study(root, "folder/second", {"base": [100, 200, 400], "half": [100, 180, 500]})
    write_tables(root)
    return Results(root)


@pytest.fixture
def inline(results):
    return Inline(results, results.root.parent / "page.md")


@pytest.fixture
def blocks(results):
    return Blocks(results)


def test_a_ratio_has_its_interval(inline):
    assert inline.ratio("one", "half") == "0.50× [0.50–0.50]"
    assert inline.ratio("one", "half", "seconds") == "0.50× [0.50–0.50]"


def test_a_ratio_to_another_arm(inline):
    assert inline.ratio("one", "half", vs="half") == "1"
    assert inline.ratio("one", "base", vs="half") == "2.00× [2.00–2.00]"


def test_where_only_a_bound_is_known_it_is_said(inline):
    assert inline.ratio("one", "never").startswith("at least ")
    assert inline.ratio("one", "never").endswith("×")


def test_what_nothing_is_known_of_is_a_dash(inline):
    assert inline.ratio("one", "half", "flops") == "–"


def test_sentences_follow_the_claims(inline):
    assert inline.says("one", "half") == "needs fewer steps than `base`, 0.50× [0.50–0.50]"
    assert inline.says("one", "twice", than="the usual").startswith("needs more steps than the usual, 2.00× [")
    assert inline.says("one", "wild").startswith("shows no clear difference from `base` in steps (")
    assert inline.says("one", "never").startswith("reached 95 % in none of 5 runs, at least ")
    assert inline.says("one", "half", vs="never") == "reached 95 % more often than `never` (5/5 against 0/5 runs)"


def test_few_complete_pairs_make_no_claim(inline):
    said = inline.says("one", "rarely")
    assert said.startswith("shows no clear difference from `base`")
    assert said.endswith(", and reached 95 % in 1/5 against 5/5 runs")


def test_an_interval_that_excludes_1_alone_is_no_claim_among_many(tmp_path):
    times = {"base": [100, 200, 400, 300, 500], "some": [80, 150, 380, 270, 440]}
    times |= {f"same{i}": [100 + i, 199, 401, 300 - i, 500] for i in range(8)}
    write_study(tmp_path / "results", "many", times)
    write_study(tmp_path / "results", "two", {name: times[name] for name in ("base", "some")})
    inline = Inline(Results(tmp_path / "results"), tmp_path / "page.md")
    assert inline.ratio("many", "some") == inline.ratio("two", "some")
    assert inline.says("two", "some").startswith("needs fewer steps")
    assert inline.says("many", "some").startswith("shows no clear difference")


def test_a_folder_of_studies_is_counted(inline):
    said = "fewer steps on 1 of 2 tasks (folder/first), no clear difference on 1 of 2 tasks (folder/second)"
    assert inline.tally("folder", "half") == said


def test_medians_counts_and_single_runs(inline):
    assert inline.median("one", "base") == "300"
    assert inline.median("one", "never") == "not reached"
    assert inline.reached("one", "rarely") == "1 of 5 runs"
    assert inline.reached("one", "never") == "none of 5 runs"
    assert inline.each("one", "rarely") == "never · never · 300 · never · never"
    assert inline.setup("one") == "5 paired seeds, at most 1,000 steps, 95 % that stays"


def test_falling_back_is_a_touch_that_did_not_stay(tmp_path):
    root = tmp_path / "results"
    write_study(root, "one", {"base": [100, 200, 300]})
    runs = [record("base", 0, 100), record("base", 1, 200, generalized_first_at=150)]
    runs += [record("base", 2, None, generalized_first_at=400), record("base", 3, None)]
    pl.DataFrame(runs, schema=RUNS).write_parquet(root / "one" / "runs.parquet")
    assert Inline(Results(root), tmp_path / "page.md").fell_back("one", "base") == "2 of 4 runs"


def test_links_lead_from_the_page_and_say_how_runs_were_recorded(inline):
    assert inline.every_run("one") == "[every run](results/one)"
    assert inline.recorded("one") == "All runs were recorded with quick-check events."
    assert inline.recorded("folder").startswith("Runs of folder/first: recorded before quick-check events; converted")
    with pytest.raises(PageError, match="no study 'other'"):
        inline.every_run("other")


def test_benchmark_and_published_values(inline):
    assert inline.bench("step") == "0.25× [0.20–0.30]"
    assert inline.missed_aims() == "1 row misses its aim: `step`"
    assert inline.machine() == "P, PyTorch 2"
    assert inline.published("paper/task") == "39,890"
    with pytest.raises(PageError, match="no published value 'paper/other'; there are paper/task"):
        inline.published("paper/other")


def test_a_study_that_is_still_to_come_says_so(inline):
    with pytest.raises(Pending, match="no runs are committed yet"):
        inline.each("tuning", "base")


def test_a_table_hides_no_arm_and_leaves_out_unknown_columns(blocks):
    lines = blocks.leaderboard("one", ["reached", "steps", "steps ratio", "flops ratio"], order="steps").splitlines()
    assert lines[0] == "| method | reached 95 % | steps, median | steps vs `base` |"
    assert [line.split("|")[1].strip(" `") for line in lines[2:]] == [
        "wild",
        "half",
        "base",
        "twice",
        "never",
        "rarely",
    ]
    assert "| `half` | 5/5 | 150 | 0.50× [0.50–0.50] |" in lines
    assert "| `base` | 5/5 | 300 | 1 |" in lines


def test_a_table_across_studies(blocks):
    studies = {"1": "folder/first", "2": "folder/second"}
    assert blocks.across(studies).splitlines()[2:] == ["| `base` | 200 | 200 |", "| `half` | 100 | 180 |"]
    assert (
        blocks.across(studies, ["base"], ratio_of="half").splitlines()[2].startswith("| `base` | 0.50× [0.50–0.50] | ")
    )


def test_a_command_is_whole_when_a_shell_has_read_its_lines(tmp_path):
    methods = ",".join(f"adamw(lr=0.00{i},wd=1,betas=(0.9,0.98))" for i in range(1, 9))
    command = f"printf %s, compare mul:97 --methods '{methods}' --out 'a b' --baseline 'adamw(lr=0.001)' --seeds 5"
    write_study(tmp_path, "long", {"base": [1]}, command=command)
    text = Blocks(Results(tmp_path)).command("long")
    assert text.startswith("```\n")
    assert text.endswith("\n```")
    assert max(map(len, text.splitlines())) <= 120
    read = subprocess.run(
        ["sh", "-c", text.removeprefix("```\n").removesuffix("\n```")], capture_output=True, text=True
    )
    assert read.stdout == "".join(f"{word}," for word in shlex.split(command)[2:])


def test_published_tables_have_a_dash_for_what_is_not_published(results, blocks):
    values = {"paper/a/x": {"value": 1650}, "paper/b/y": {"value": 900}}
    (results.root / "published.json").write_text(json.dumps(values))
    table = blocks.published_table("paper", {"A": "a", "B": "b"}, {"x": "x", "y": "y"})
    assert table.splitlines()[2:] == ["| A | 1,650 | – |", "| B | – | 900 |"]


@pytest.mark.parametrize("module", [pieces.crossing, pieces.markers, pieces.tables], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module):
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)
