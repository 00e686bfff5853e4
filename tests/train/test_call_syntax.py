from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokkit import registry
from grokkit.call_syntax import LARGEST, LARGEST_WHOLE, parse_call, show_call, split_list
from grokkit.errors import InputError
from grokkit.methods import MethodCard
from grokkit.registry import Part
from grokkit.study.search_space import show_space
from grokkit.study.spaces import searched
from grokkit.train.resolve import method_config, model_config, task_config

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-LARGEST_WHOLE, LARGEST_WHOLE),
    st.floats(-LARGEST, LARGEST),
    st.from_regex(r"[b-eg-mo-su-z][a-z-]{0,6}", fullmatch=True),
    st.none(),
    st.lists(st.one_of(st.integers(-LARGEST_WHOLE, LARGEST_WHOLE), st.floats(-LARGEST, LARGEST)), max_size=4).map(
        tuple
    ),
    st.lists(st.from_regex(r"[b-eg-mo-su-z][a-z-]{0,6}", fullmatch=True), max_size=3).map(tuple),
)
SETTINGS = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), VALUES, max_size=4)


@given(NAMES, SETTINGS)
def test_what_is_shown_parses_back(name, values):
    got_name, got = parse_call(show_call(name, values))
    assert (got_name, got) == (name, values)
    assert {k: type(v) for k, v in got.items()} == {k: type(v) for k, v in values.items()}


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("hidden=(128,128)", (128, 128), "hidden=(128,128)"),
        ("hidden=( 128, 64 ,)", (128, 64), "hidden=(128,64)"),
        ("hidden=(1152,)", (1152,), "hidden=(1152,)"),
        ("hidden=(1152)", (1152,), "hidden=(1152,)"),
        ("hidden=()", (), "hidden=()"),
        ("hidden=1152", 1152, "hidden=1152"),
        ("hidden=none", None, "hidden=none"),
        ("hidden=None", None, "hidden=none"),
        ("hidden=nonesuch", "nonesuch", "hidden=nonesuch"),
        ("hidden=(0.9,1e-3)", (0.9, 0.001), "hidden=(0.9,0.001)"),
        ("hidden=(mean, Sum ,)", ("mean", "Sum"), "hidden=(mean,Sum)"),
        ("hidden=((1,2),(3,))", ((1, 2), (3,)), "hidden=((1,2),(3,))"),
        ("hidden=(none,true,1)", (None, True, 1), "hidden=(none,true,1)"),
    ],
)
def test_tuples_and_none(text, value, shown):
    name, got = parse_call(f"neuralgrok({text}, c=2)")
    assert (name, got) == ("neuralgrok", {"hidden": value, "c": 2})
    assert type(got["hidden"]) is type(value)
    assert show_call(name, got) == f"neuralgrok({shown},c=2)"


def test_a_list_is_shown_like_a_tuple():
    """As settings come back from JSON."""
    assert show_call("neuralgrok", {"hidden": [128, 128]}) == "neuralgrok(hidden=(128,128))"
    assert show_call("neuralgrok", {"hidden": [1152]}) == "neuralgrok(hidden=(1152,))"


@given(st.lists(st.tuples(NAMES, SETTINGS), min_size=1, max_size=4))
def test_lists_split_back(calls):
    texts = [show_call(name, values) for name, values in calls]
    assert split_list(", ".join(texts)) == texts


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=40), st.text("grokfast-ema(),=alpha.0191e ×λ", max_size=40)))
def test_any_text_is_a_method_or_a_clear_error(text):
    problem = ""
    try:
        labels = [method_config(item).label for item in split_list(text)]
    except InputError as error:
        problem = str(error)
    else:
        assert [method_config(label).label for label in labels] == labels
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grokfast-em", "unknown method 'grokfast-em'; did you mean 'grokfast-ema'"),
        ("grokfast-ema(alfa=0.9)", "unknown setting of grokfast-ema 'alfa'; did you mean 'alpha'.*lamb.*wd"),
        ("grokfast-ema(alpha=1)", r"alpha=1\.0 is not possible: .*0 <= alpha < 1.*0.98"),
        ("grokfast-ema(alpha=high)", "alpha='high' is not possible: .*0 <= alpha < 1.*0.98"),
        ("grokfast-ma(window_size=0)", "window_size=0 is not possible"),
        ("grokfast-ma(filter_type=median)", "unknown filter_type 'median'"),
        ("grad-norm(c=x)", "c='x' is not possible"),
        ("adamw(lr=-1)", "adamw: lr=-1 is not possible: .*greater than 0"),
        ("adamw(lr=inf)", "adamw: lr=inf is not possible"),
        ("adamw(optimizer=adamx)", "unknown optimizer 'adamx'; did you mean 'adam'"),
        ("adamw(lr)", "'lr' in 'adamw\\(lr\\)' is not a setting; write key=value"),
        ("adamw(lr=1,lr=2)", "'lr' is given twice"),
        ("neuralgrok(hidden=(128,x))", r"hidden=\(128, 'x'\) is not possible: the widths .* each a whole number"),
        ("neuralgrok(hidden=(128,1.5))", r"hidden=\(128, 1.5\) is not possible: the widths .* each a whole number"),
        ("neuralgrok(hidden=(128,,64))", r"'\(128,,64\)' is not a tuple; write e.g. hidden=\(128,128\)"),
        ("neuralgrok(hidden=(,))", r"'\(,\)' is not a tuple"),
        ("neuralgrok(hidden=(1)(2))", r"'\(1\)\(2\)' is not a tuple"),
        ("neuralgrok(hidden=(128)", "leaves a parenthesis open"),
        ("grokfast-ema(alpha=(1,2))", r"alpha=\(1, 2\) is not possible: 0 <= alpha < 1"),
        ("adamw(lr=none)", "adamw: lr=None is not possible"),
        ("adamw(lr=1", "leaves a parenthesis open"),
        ("adamw)", "closes a parenthesis"),
        ("", "empty entry"),
        ("adamw,,grad-norm", "empty entry"),
    ],
)
def test_errors_name_value_and_remedy(text, message):
    with pytest.raises(InputError, match=message):
        [method_config(item) for item in split_list(text)]


def test_settings_go_to_the_method_or_to_its_optimizer():
    config = method_config("grokfast-ma(warmup=false, lr_warmup=0, wd=0.5, optimizer=adamw)")
    assert config.parts[0].settings == {
        "window_size": 100,
        "lamb": 5.0,
        "filter_type": "mean",
        "warmup": False,
        "start_step": 0,
        "stop_step": None,
        "slow_only": False,
    }
    assert (config.optimizer.lr_warmup, config.optimizer.wd, config.optimizer.optimizer) == (0, 0.5, "adamw")
    assert config.optimizer.lr == 1e-3
    assert config.label == "grokfast-ma(warmup=false,optimizer=adamw,wd=0.5,lr_warmup=0)"


def test_the_control_can_be_called_by_its_formula():
    assert method_config("adamw-lr×(1+λ)") == method_config("adamw-lr-scaled")
    assert method_config("adamw-lr-scaled").optimizer.lr == pytest.approx(3 * method_config("adamw").optimizer.lr)
    control, filtered = method_config("adam-lr-scaled").optimizer, method_config("grokfast-ema").optimizer
    assert control == filtered.model_copy(update={"lr": 3e-3})


def test_models():
    assert model_config("fnn(width=64,bias=true)").settings["width"] == 64
    with pytest.raises(InputError, match="unknown model 'decodr'; did you mean 'decoder'"):
        model_config("decodr")
    with pytest.raises(InputError, match="unknown setting of decoder 'hieght'"):
        model_config("decoder(hieght=3)")
    with pytest.raises(InputError, match=r"decoder: depth=1\.5 is not possible"):
        model_config("decoder(depth=1.5)")


def test_an_at_sign_in_the_path_of_a_file_is_no_step(tmp_path):
    file = tmp_path / "me@home" / "ideas.py"
    file.parent.mkdir()
    file.write_text("from grokkit.methods import MethodCard\nCARD = MethodCard(name='idea')\n")
    assert method_config(f"{file}:CARD(lr=0.25)").ours.lr == 0.25
    assert method_config("groktransfer@7").parts[0].settings["merge"] == 7


def worded(
    code: str = "a",
    kind: Literal["none", "some"] = "some",
    names: tuple[str, ...] = ("a",),
    betas: tuple[float, float] = (0.9, 0.999),
    sizes: tuple[int, ...] = (1,),
    shares: tuple[float, ...] = (),
):
    return lambda base: base


@pytest.fixture
def worded_method(monkeypatch):
    card = MethodCard(
        name="worded", loss=worded, space="code=007|1e3|None|aB, betas=(0.9,0.99)|(0.5,1), kind=none|some"
    )
    part = Part("methods", "worded", card, "here", "1", "worded")
    monkeypatch.setitem(registry._GIVEN, ("methods", "worded"), part)


@pytest.mark.parametrize(
    ("typed", "value", "shown"),
    [
        ("code=007", "007", "code=007"),
        ("code=1e3", "1e3", "code=1e3"),
        ("code=True", "True", "code=True"),
        ("code=None", "None", "code=None"),
        ("kind=None", "none", "kind=none"),
        ("names=(007,1e3,None,b)", ("007", "1e3", "None", "b"), "names=(007,1e3,None,b)"),
        ("names=()", (), "names=()"),
        ("betas=(1,5e-1)", (1.0, 0.5), "betas=(1,0.5)"),
        ("sizes=(2.0,3)", (2, 3), "sizes=(2,3)"),
        ("shares=(1.0,0.50)", (1, 0.5), "shares=(1,0.5)"),
    ],
)
def test_words_keep_their_letters_and_tuples_have_one_form(worded_method, typed, value, shown):
    config = method_config(f"worded({typed},lr=1e-2)")
    assert config.label == f"worded({shown},lr=0.01)"
    again = method_config(config.label)
    assert again == config
    assert config.parts[0].settings[typed.partition("=")[0]] == value


@pytest.mark.parametrize("typed", ["names=(a,(b,c))", "betas=(1,2,3)", "betas=(1,x)", "sizes=(1.5,)", "code=(1,2)"])
def test_a_tuple_of_another_kind_is_refused(worded_method, typed):
    with pytest.raises(InputError, match="worded: .* is not possible"):
        method_config(f"worded({typed})")


def test_choices_of_words_and_tuples_are_searched_as_they_are_written(worded_method):
    found = searched("worded", "mul:97", {}, {})
    assert found.axes["code"].values.values == ("007", "1e3", "None", "aB")
    assert found.axes["betas"].values.values == ((0.9, 0.99), (0.5, 1))
    assert "code=007|1e3|None|aB, betas=(0.9,0.99)|(0.5,1), kind=none|some" in show_space(found.space)
    config = found.config({"code": "1e3", "betas": (0.5, 1), "kind": "none"})
    own = config.parts[0].settings
    assert (own["code"], own["betas"], own["kind"]) == ("1e3", (0.5, 1.0), "none")


def test_words_of_an_optimizer_a_model_and_a_task_keep_their_letters(tmp_path):
    (tmp_path / "mine.py").write_text(
        """
import torch
from torch import nn
from grokkit import MethodCard
from grokkit.tasks import Task

def optimizer(parameters, lr: float = 0.1, code: str = "a"):
    return torch.optim.SGD(parameters, lr)

def network(code: str = "a"):
    return nn.Linear(2, 2)

def task(code: str = "a", names: tuple[str, ...] = ()):
    return Task(name="t", inputs="expressions", inputs_NT=torch.zeros(4, 2, dtype=torch.int64),
                targets_N=torch.zeros(4, dtype=torch.int64), vocabulary=3, classes=2, description=code)

def method(code: str = "a"):
    return MethodCard(name="m", summary=code)
"""
    )
    own = method_config(f"adamw(optimizer={tmp_path}/mine.py:optimizer(code=007,lr=1e-2),lr_warmup=3)")
    assert own.optimizer.settings == {"code": "007", "lr": 0.01}
    assert method_config(own.label.replace("mine.py", f"{tmp_path}/mine.py")).optimizer == own.optimizer
    assert model_config(f"{tmp_path}/mine.py:network(code=1e3)").settings == {"code": "1e3"}
    settings = task_config(f"{tmp_path}/mine.py:task(code=007,names=(1e3,b))").settings
    assert (settings["code"], tuple(settings["names"])) == ("007", ("1e3", "b"))
    made = method_config(f"{tmp_path}/mine.py:method(code=007)")
    assert (made.label, made.cards[0].summary) == ("mine.py:method(code=007)", "007")
