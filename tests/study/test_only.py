"""A study of which a report shows fewer methods than its folder holds."""

import polars as pl
import pytest
from kept_runs import record
from kept_runs import study as made_study

from grokkit.errors import InputError
from grokkit.lab import Study
from grokkit.study.store import Store

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


def test_an_unknown_method_to_show_is_called_by_its_whole_name(folder):
    with pytest.raises(InputError, match="unknown method of this study 'grad-nrm'.*grad-norm"):
        Study(folder, "grad-nrm")
