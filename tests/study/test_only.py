"""A study of which a report shows fewer methods than its folder holds."""

import html
import io
import re
import shutil

import polars as pl
import pytest
from kept_runs import record
from kept_runs import study as made_study

from grokkit.errors import InputError
from grokkit.lab import Study
from grokkit.lab.report import report
from grokkit.lab.study import chosen
from grokkit.study.store import Store
from grokkit.terminal import terminal

ARMS = ["adamw", "grad-norm", "grokfast-ma(lamb=5,window_size=50)"]
AT = {"adamw": 800, "grad-norm": 400, "grokfast-ma(lamb=5,window_size=50)": 790}


@pytest.fixture
def folder(tmp_path):
    """Three methods on five seeds, of which the second needs half, and of the others neither less than the other."""
    store, ids = Store(tmp_path / "study"), []
    for place, (arm, at) in enumerate(AT.items()):
        for seed in range(5):
            when = at + (10 + 7 * place) * seed
            its = {
                "status": "generalized",
                "generalized_at": when,
                "generalized_first_at": when,
                "flops_to_target": when,
            }
            entry = record(arm, seed, name=f"m{place}", **its, delay_steps=when - 100, resolution_steps=1)
            store.save_run(entry["run_id"], entry, pl.DataFrame({"step": [0]}), {})
            ids.append(entry["run_id"])
    asked = {"task": {}, "model": {}, "budget": 1000, "target": 0.95, "sustain": 5, "claim": "flops", "family": ARMS}
    about = {"methods": ARMS, "methods_detail": {arm: {} for arm in ARMS}, "seeds": list(range(5)), **asked}
    store.write_study(made_study(ids, **about))
    return store.folder


@pytest.mark.parametrize("only", ["grad-norm", ["grad-norm"], ("grad-norm", "adamw"), " adamw , grad-norm"], ids=repr)
def test_methods_to_show_are_a_list_or_one_text(folder, only):
    assert Study(folder, only).info["methods"] == ["adamw", "grad-norm"]


def test_a_comma_within_parentheses_parts_no_methods(folder):
    assert Study(folder, f"grad-norm,{ARMS[2]}").info["methods"] == ARMS


@pytest.mark.parametrize(
    "spelling",
    ["grokfast-ma(window_size=50,lamb=5)", "grokfast-ma( lamb=5.0, window_size=5e1 )"],
)
def test_a_method_to_show_may_be_spelt_otherwise(folder, spelling):
    assert Study(folder, spelling).info["methods"] == ["adamw", ARMS[2]]


@pytest.mark.parametrize(
    ("label", "spelling"),
    [
        ("adamw(lr=0.001,wd=1)+zero-head", "zero-head+adamw(wd=1.0,lr=1e-3)"),
        ("groktransfer(merge=5)", "groktransfer@5"),
        ("ideas.py:CARD(hidden=(8,0.5))", "some/ideas.py:CARD(hidden=(8.0, 5e-1))"),
        ("ideas.py:CARD(word=none)", "ideas.py:CARD(word=None)"),
    ],
)
def test_a_label_is_found_by_what_was_typed(label, spelling):
    study = {"methods": ["adamw", label, "adam-lr×(1+λ)"], "baseline": "adamw"}
    assert chosen(spelling, study) == ["adamw", label]
    with pytest.raises(InputError, match="unknown method of this study"):
        chosen(spelling.replace("5", "6").replace("wd=1", "wd=2").replace("None", "a"), study)


def test_an_unknown_method_to_show_is_called_by_its_whole_name(folder):
    with pytest.raises(InputError, match="unknown method of this study 'grad-nrm'.*grad-norm"):
        Study(folder, "grad-nrm")


def facts_of(study: Study) -> list[str]:
    """What stands below the verdict of the page."""
    page = study.report().read_text()
    (facts,) = re.findall(r'<ul class="facts">(.*?)</ul>', page)
    return [html.unescape(re.sub("<[^>]*>", "", fact)) for fact in re.findall("<li>(.*?)</li>", facts)]


def test_nothing_is_said_of_all_methods_where_a_part_is_shown(folder):
    whole, part = Study(folder), Study(folder, [ARMS[2]])
    assert "grad-norm needs" in whole.verdict
    assert "of the methods shown, nothing tried was shown to beat adamw." in part.verdict
    assert part.verdict.endswith("Not shown: grad-norm.")
    assert Study(folder, "adamw").verdict.endswith(
        f"no method that was compared with it is shown. Not shown: grad-norm and {ARMS[2]}."
    )
    assert Study(folder, ARMS).verdict == whole.verdict
    (claim,) = part.claims.to_dicts()
    assert claim["p_adjusted"] == pytest.approx(2 * claim["p"]), "adjusted for both arms that were tried"


def test_a_page_counts_what_it_shows(folder):
    assert facts_of(Study(folder))[:3] == ["3 methods", "5 seeds", "15 runs"]
    part = Study(folder, "grad-norm")
    assert facts_of(part)[:3] == ["2 methods", "5 seeds", "10 runs"]
    assert "Not shown: grokfast-ma" in (folder / "report.html").read_text()
    assert "Not shown" in part.verdict, "as well once it has looked"
    assert "not_shown" not in Store(folder).read_study()


def test_runs_that_are_not_finished_are_told_of_the_folder_where_a_part_is_shown(folder):
    for method, seeds in (("grad-norm", (3, 4)), (ARMS[2], (1, 2, 3, 4))):
        for run_id in Study(folder).runs.filter(pl.col("seed").is_in(seeds), method=method)["run_id"]:
            shutil.rmtree(folder / "runs" / run_id)
    assert facts_of(Study(folder))[:3] == ["3 methods", "5 seeds", "9 of 15 runs finished"]
    assert "Medians over 1 to 5 seeds with" in (folder / "report.html").read_text()
    assert facts_of(Study(folder, "grad-norm"))[2] == "8 runs, 6 of the folder not finished"
    assert "Medians over 3 to 5 seeds with" in (folder / "report.html").read_text()
    assert facts_of(Study(folder, "adamw"))[1:3] == ["5 seeds", "5 runs, 6 of the folder not finished"]
    screen, store = io.StringIO(), Store(folder)
    with store.lock():
        report(store, terminal(file=screen), ["grad-norm"])
    said = "only 9 of 15 runs of the folder are finished; the report is of those of adamw and grad-norm\n"
    assert said in screen.getvalue()
