"""What pieces say of methods that were tuned by a search."""

import pytest
from made_studies import write_study
from pieces.inline import Inline
from pieces.markers import PageError
from pieces.studies import Results
from pieces.tables import Blocks

BASE = [100, 200, 400, 300, 500]


def searched(method, **more):
    known = {"method": method, "space": "lr=1e-4..1 log, c=1|2", "trials": 3, "runs": 6, "flops": 2.5e15}
    known |= {"has_arrived": True, "cost_to_target": 4.2e12, "costs": [[4.2e12, True, 0], [9.0, False, 0]]}
    return known | more


@pytest.fixture
def root(tmp_path):
    for name, other in (("first", [50, 100, 200, 150, 250]), ("second", [200, None, 800, 600, 999])):
        tuned = {f"base(lr={len(name)})": searched("base"), f"other(lr={len(name)})": searched("other")}
        times = dict(zip(tuned, (BASE, other), strict=True))
        write_study(tmp_path, name, times, baseline=next(iter(tuned)), tuned=tuned)
    return tmp_path


def test_a_table_of_several_studies_has_a_row_for_each_method_whatever_its_settings_on_a_task(root):
    assert Blocks(Results(root)).table()["across"]({"a": "first", "b": "second"}, ["base", "other"]).splitlines() == [
        "|  | a | b |",
        "|---|---|---|",
        "| `base` | 300 | 300 |",
        "| `other` | 150 | 800 (4/5) |",
    ]


def test_a_table_of_several_studies_has_the_costs_of_methods_beside_one_of_them(root):
    table = Blocks(Results(root)).table()["across"]
    assert table({"a": "first"}, ["base", "other"], beside="base", cost="steps").splitlines() == [
        "|  | a |",
        "|---|---|",
        "| `base` | 1 |",
        "| `other` | **0.50× [0.50–0.50]** |",
    ]
    (row,) = table({"b": "second"}, ["other"], beside="base", cost="steps").splitlines()[2:]
    assert row.endswith("], 4 of 5 pairs complete** (4/5) |")


def test_a_page_names_a_method_that_was_searched_without_the_settings_that_were_found(root):
    inline = Inline(Results(root), root / "page.md")
    assert inline.ratio("first", "other") == "0.50× [0.50–0.50]"
    assert "than `base`" in inline.says("first", "other")
    assert "| `other` | 5/5 |" in Blocks(Results(root)).table()["leaderboard"]("first", ["reached"])


def test_a_study_without_a_search_has_no_account_of_one(root):
    write_study(root, "untuned", {"base": BASE})
    with pytest.raises(PageError, match="'untuned' were not tuned by a search"):
        Blocks(Results(root)).table()["tuned_table"]("untuned")


def test_the_account_of_a_search_says_what_finding_each_setting_took(root):
    about = {"base": searched("base"), "other": searched("other", space="", has_arrived=False)}
    write_study(root, "told", {"base": BASE, "other": [None] * 5}, tuned=about)
    heads = "best setting", "searched in", "arrived before they were given up", "GFLOP to the target", "runs"
    assert Blocks(Results(root)).table()["tuned_table"]("told").splitlines() == [
        f"| {' | '.join(heads)} | TFLOP of all |",
        "|---|---|---|---|---|---|",
        "| `base` | `lr=1e-4..1 log, c=1 or 2` | 1/3 | 4,200 | 6 | 2,500 |",
        "| `other` | – | 1/3 | not reached | 6 | 2,500 |",
    ]
