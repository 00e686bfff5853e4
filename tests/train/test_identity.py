"""One configuration has one identity however it is spelt, and other code has another."""

import pytest

from grokkit.errors import InputError
from grokkit.train.resolve import method_config


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("adamw", "adamw(lr=0.003)"),
        ("adamw(wd=1)", "adamw(wd=1.0,lr=3e-3)"),
        ("grokfast-ema(lamb=2,alpha=0.9)", "grokfast-ema( alpha = 0.90, lamb = 2.0 )"),
        ("grokfast-ma(window_size=50)", "grokfast-ma(window_size=50.0,warmup=true)"),
        ("neuralgrok(hidden=(8,))", "neuralgrok(clip=1,hidden=(8))"),
        ("adamw-lr-scaled", "adamw-lr×(1+λ)"),
        ("groktransfer-merge@30", "groktransfer-merge(merge=30)"),
        ("adamw(lr=0.01)+grokfast-ema", "adamw(lr=1e-2)+grokfast-ema(lamb=2)"),
    ],
)
def test_spellings_of_one_configuration(tiny, one, other):
    assert method_config(one) == method_config(other), "label and all"
    assert tiny(one).hash() == tiny(other).hash()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("adamw", "adamw(lr=0.004)"),
        ("adamw+grokfast-ema", "grokfast-ema"),
        ("adamw+clip-only(held_out=0)+grokfast-ema", "adamw+grokfast-ema+clip-only(held_out=0)"),
    ],
)
def test_other_configurations(tiny, one, other):
    assert tiny(one).hash() != tiny(other).hash()


def test_a_label_gives_the_same_method_again():
    for text in (
        "adamw-lrx(1+lamb)+grokfast-ema(lamb=1)",
        "groktransfer(lr=0.1)+grokfast-ema",
        "clip-only+grokfast-ma",
    ):
        config = method_config(text)
        assert method_config(config.label) == config


def test_a_setting_without_a_default_is_always_in_the_label(tmp_path):
    (tmp_path / "ideas.py").write_text(
        "from grokkit.methods import MethodCard\n\n\ndef make(strength):\n    return MethodCard(name='idea')\n"
    )
    configs = [method_config(f"{tmp_path / 'ideas.py'}:make(strength={strength})") for strength in (1, 2, 3)]
    assert [config.label for config in configs] == [f"ideas.py:make(strength={strength})" for strength in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neuralgrok+neuralgrok(c=2)", "neuralgrok.*neuralgrok"),
        ("grokfast-ema+adamw", "adamw is an optimizer only, and grokfast-ema has one already; write adamw first"),
        (
            "adamw+grokfast-ema(wd=1)",
            "wd, given with grokfast-ema, is the optimizer's, which is adamw's; write it there",
        ),
        ("adamw(held_out=0.1)+grokfast-ema(held_out=0.2)", "held_out is given twice, by adamw and grokfast-ema"),
        ("groktransfer-merge@30(merge=40)", "not a name with settings|gives merge twice"),
    ],
)
def test_what_cannot_be_combined_is_one_line(text, message):
    with pytest.raises(InputError, match=message):
        method_config(text)


def test_a_file_in_the_working_directory_changes_no_method(tmp_path, monkeypatch):
    before = [method_config(name) for name in ("grokfast-ma", "groktransfer")]
    monkeypatch.chdir(tmp_path)
    for name in ("mean", "auto"):
        (tmp_path / name).touch()
    assert [method_config(name) for name in ("grokfast-ma", "groktransfer")] == before
