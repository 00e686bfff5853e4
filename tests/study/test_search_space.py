"""The line that states a search space, and the axes that a method has by it."""

import pytest

from grokkit.errors import InputError
from grokkit.registry import parts
from grokkit.study.search_space import Choice, Range, parse_space, show_space
from grokkit.study.spaces import own_spaces, run_values, searched
from grokkit.train.resolve import find_card


def test_a_line_says_ranges_and_choices():
    space = parse_space("lr=1e-4..1e-1 log, wd=0..3, window_size=5..200 log, kind=mean|sum, clip=none|1")
    assert space == {
        "lr": Range(1e-4, 1e-1, log=True),
        "wd": Range(0, 3),
        "window_size": Range(5, 200, log=True),
        "kind": Choice(("mean", "sum")),
        "clip": Choice((None, 1)),
    }
    assert parse_space(show_space(space)) == space
    exact = {"lr": Range(0.1234567, 1234567.5, False)}
    assert parse_space(show_space(exact)) == exact, "no digit is lost"
    assert parse_space("") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lr", "is not a setting with its range"),
        ("lr=3", "lr=3 is not possible: low..high"),
        ("lr=a..b", "lr=a..b is not possible"),
        ("lr=1..inf", "is not possible"),
        ("lr=2..1", "the first number must be less"),
        ("lr=1..1", "the first number must be less"),
        ("lr=0..1 log", "begins above 0"),
        ("lr=1..2 lin", "is not possible"),
        ("lr=1..2, lr=1..3", "given twice"),
        ("lr=1..2,,wd=0..1", "empty entry"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(line, message):
    with pytest.raises(InputError, match=message) as error:
        parse_space(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", parts("methods"))
def test_every_method_of_ours_can_be_searched_and_takes_the_ends_of_its_space(name):
    method = searched(name, "mul:97", {}, {})  # which tries the ends
    assert method.axes
    known = {axis.name for axis in method.axes.values()}
    assert parse_space(find_card(name).space).keys() <= known, "its card names a setting that it has not"


def axes(text, own=None, usual=None):
    return {name: str(axis.values) for name, axis in searched(text, "mul:97", usual or {}, own or {}).axes.items()}


def test_a_method_has_its_own_axes_and_those_of_its_optimizer():
    assert axes("grokfast-ema").keys() == {"alpha", "lamb", "lr", "wd"}
    assert axes("grokfast-ema")["wd"] == axes("adam-l2")["wd"] != axes("adamw")["wd"]
    assert axes("adam-paper").keys() == {"lr"}, "without decay, which is what it is"
    assert axes("muon").keys() == {"lr", "wd", "adamw_lr"}
    assert axes("grokfast-ema(optimizer=sgd)").keys() == {"alpha", "lamb", "lr", "wd", "beta1"}
    assert axes("zero-head") == axes("adamw")
    usual = {"optimizer": "adamw", "lr": 0.1, "wd": 0.1}
    assert axes("grokfast-ema", usual=usual)["wd"] == axes("adamw")["wd"], "the task's optimizer is searched as such"


def test_what_is_written_is_not_searched():
    assert axes("adamw(wd=1)").keys() == {"lr"}
    assert searched("adamw(wd=1)", "mul:97", {}, {}).written({"lr": 0.01}) == "adamw(wd=1,lr=0.01)"
    with pytest.raises(InputError, match="no setting to search.*--space"):
        searched("adamw(lr=0.1,wd=1)", "mul:97", {}, {})


def test_a_composition_joins_the_spaces_of_its_parts():
    method = searched("row-clip+grokfast-ema", "mul:97", {}, {})
    assert method.axes.keys() == {"c", "alpha", "lamb", "lr", "wd"}
    values = {"c": 1.0, "alpha": 0.9, "lamb": 2.0, "lr": 0.001, "wd": 0.01}
    assert method.written(values) == "row-clip(c=1.0)+grokfast-ema(alpha=0.9,lamb=2.0,lr=0.001,wd=0.01)"
    parts = {part.name: part.settings for part in method.config(values).parts}
    assert (parts["row-clip"]["c"], parts["grokfast-ema"]["alpha"]) == (1.0, 0.9)


def test_an_optimizer_of_somebody_s_own_is_searched_inside_its_call():
    own = own_spaces("adamw: lr=1e-4..1e-1 log, eps=1e-10..1e-2 log", ["adamw"])
    method = searched("adamw(optimizer=torch.optim:Adagrad)", "mul:97", {}, own)
    text = method.written({"lr": 0.1, "eps": 0.001})
    assert text == "adamw(optimizer=torch.optim:Adagrad(lr=0.1,eps=0.001))"
    assert method.config({"lr": 0.1, "eps": 0.001}).optimizer.settings["eps"] == 0.001
    assert axes("adamw(optimizer=torch.optim:Adagrad(lr=0.1))", own).keys() == {"eps"}


def test_a_space_of_one_s_own_stands_in_the_place_of_the_card_s(tmp_path):
    lines = "# mine\nadamw: lr=1e-4..1e-1 log, wd=0..3\ngrokfast-ema: alpha=0.5..0.9  # the rest stays\n"
    (tmp_path / "spaces.txt").write_text(lines)
    for text in (lines.replace("# mine\n", "").replace("  # the rest stays", ""), str(tmp_path / "spaces.txt")):
        own = own_spaces(text, ["adamw", "grokfast-ema"])
        assert axes("adamw", own) == {"lr": "0.0001..0.1 log", "wd": "0..3"}
        assert axes("grokfast-ema", own) == {"alpha": "0.5..0.9"}
    assert own_spaces(None, ["adamw"]) == {}
    long = f"adamw: lr=1e-4..1e-1 log;{' ' * 250}grokfast-ema: lr=1e-4..1e-1 log"
    assert len(long) > 255, "longer than a file may be called"
    assert own_spaces(long, ["adamw", "grokfast-ema"]).keys() == {"adamw", "grokfast-ema"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing.txt", "neither a space nor a file"),
        ("lion: lr=1..2", "unknown method of --space 'lion'"),
        ("adamw: lr", "is not a setting with its range"),
        ("adamw: lr=1e-4..1e-1; adamw: wd=0..3", "--space has two lines of adamw; write all of its settings in one"),
        ("adamw: gamma=1..2", "unknown setting of adamw 'gamma'"),
        ("adamw: lr=-1..1", "lr=-1"),
        ("adamw: beta1=0..2", "beta1=2"),
        ("freeze: wait=0.3..100 log", "wait=0.3..100 log is not possible: wait of freeze takes whole numbers, and a"),
        ("muon: beta1=0.5..0.9, lr=1e-3..1e-1 log", "unknown setting of muon 'beta1'"),
        ("row-clip: gamma=1..2", r"unknown setting of grokfast-ema\+row-clip 'gamma'"),
    ],
)
def test_a_space_that_cannot_be_is_refused_before_anything_runs(text, message):
    methods = ["adamw", "freeze", "muon", "grokfast-ema+row-clip"]
    with pytest.raises(InputError, match=message) as error:
        [searched(method, "mul:97", {}, own_spaces(text, methods)) for method in methods]
    assert "\n" not in str(error.value)


def test_a_setting_that_another_part_of_the_method_has_is_no_mistake():
    own = own_spaces("row-clip: c=1..2, lr=1e-3..1e-1 log", ["row-clip", "grokfast-ema+row-clip"])
    assert axes("row-clip", own).keys() == {"c", "lr"}
    assert axes("grokfast-ema+row-clip", own)["c"] == "1..2"


def test_a_range_that_is_narrow_beside_its_numbers_keeps_a_thousandth_of_it_apart():
    method = searched("adamw", "mul:97", {}, own_spaces("adamw: beta2=0.999..0.99999, lr=1e-4..1e-1 log", ["adamw"]))
    assert run_values(method, {"beta2": 0.99912345, "lr": 0.000123456}) == {"beta2": 0.999123, "lr": 0.000123}
    assert run_values(method, {"beta2": 0.99999, "lr": 0.1}) == {"beta2": 0.99999, "lr": 0.1}
    assert method.config({"beta2": 0.999123, "lr": 0.1}).optimizer.beta2 == 0.999123


SCALED = """
from grokkit import GradientTransform, MethodCard

def scaled(strength: float = 1, times: int = 1, unsaid=1):
    def update(grads, state, params):
        return {name: gradient * strength for name, gradient in grads.items()}, ()

    return GradientTransform(lambda params: (), update)

CARD = MethodCard(name="scaled", factory=scaled, space="strength=0.1..10 log, times=1..9 log, unsaid=1..9")

def loss(share: float = 0.1):
    return lambda base: lambda outputs, targets: base(outputs, targets)

def ours(wait: float = 3):
    return MethodCard(
        name="ours", loss=loss, base={"optimizer": "torch.optim:Adagrad(lr=0.1)"}, space="share=0..1, wait=0.5..3"
    )
"""


def test_a_setting_takes_whole_numbers_if_its_annotation_says_so_or_else_its_default(tmp_path):
    (tmp_path / "scaled.py").write_text(SCALED)
    method = searched(f"{tmp_path}/scaled.py:CARD", "mul:97", {}, {})
    whole = {name: axis.is_whole for name, axis in method.axes.items() if axis.name in ("strength", "times", "unsaid")}
    assert whole == {"strength": False, "times": True, "unsaid": True}
    assert not searched(f"{tmp_path}/scaled.py:ours", "mul:97", {}, {}).axes["wait"].is_whole, "of the card's function"
    assert searched("freeze", "mul:97", {}, {}).axes["wait"].is_whole


def test_a_card_that_states_somebody_s_own_optimizer_is_searched_inside_its_call(tmp_path):
    (tmp_path / "scaled.py").write_text(SCALED)
    name = f"{tmp_path}/scaled.py:ours"
    method = searched(name, "mul:97", {}, own_spaces(f"{name}: lr=0.01..1 log, share=0..1", [name]))
    config = method.config({"lr": 0.5, "share": 0.2})
    assert config.optimizer.settings["lr"] == 0.5
    assert config.parts[0].settings["share"] == 0.2


def test_what_is_run_has_three_digits_and_stays_within_the_range():
    method = searched("grokfast-ma", "mul:97", {}, {})
    drawn = {"lr": 0.00123456, "wd": 1e-5, "window_size": 20, "lamb": 19.99999}
    assert run_values(method, drawn) == {"lr": 0.00123, "wd": 1e-5, "window_size": 20, "lamb": 20.0}
