"""A model's card: settings checked at the edge, the same initial weights for a seed, and a stranger's beside ours."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch

from grokkit.arguments import Size, complete, is_whole, takes
from grokkit.errors import InputError
from grokkit.registry import Part, parts
from grokkit.tasks import make_task
from grokkit.train.config import RunConfig, checked
from grokkit.train.loop import train
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_model

# Sum, and sum of squares, of all initial weights at seed 3, in float64: those of the first release.
WEIGHTS = {
    ("decoder", "mul:7"): (682.8729945549691, 3350.923751193195),
    ("decoder(width=8,heads=2,residual=pre-norm,init_scale=2)", "mul:7"): (79.74173745547887, 751.9015898250435),
    ("fnn", "mul:7(layout=operands)"): (27.760094160142856, 1250.1356224547387),
    ("fnn(dim=4,bias=true)", "parity:10,3"): (15.198155846262509, 385.539815264472),
    ("mlp", "parity:10,3"): (83.3177153282013, 8995.31343705412),
    ("two-layer(width=8)", "xor:50"): (2.148787655576598, 128.03822422264554),
}


@pytest.mark.parametrize(("model", "task"), WEIGHTS)
def test_initial_weights_are_those_of_the_first_release(model, task):
    before = torch.get_rng_state()
    weights = [p.detach().double() for p in build_model(model_config(model), make_task(task), 3).parameters()]
    found = float(sum(p.sum() for p in weights)), float(sum(p.square().sum() for p in weights))
    assert found == pytest.approx(WEIGHTS[model, task], rel=1e-6)  # float32 rounding of the drawn numbers: 1e-7
    assert torch.equal(before, torch.get_rng_state()), "the global generator is left alone"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fnn(width=0)", r"^fnn: width=0 is not possible: a whole number from 1 to 10,000,000; the default is 512$"),
        (
            "fnn(width=1.5)",
            r"^fnn: width=1\.5 is not possible: a whole number from 1 to 10,000,000; the default is 512$",
        ),
        (
            "fnn(width=many)",
            r"^fnn: width='many' is not possible: a whole number from 1 to 10,000,000; the default is 512$",
        ),
        ("fnn(bias=1)", r"^fnn: bias=1 is not possible: true or false; the default is False$"),
        ("mlp(init_scale=0)", r"^mlp: init_scale=0 is not possible: a finite number > 0; the default is 8\.0$"),
        ("mlp(init_scale=inf)", r"^mlp: init_scale=inf is not possible: a finite number > 0; the default is 8\.0$"),
        ("decoder(residual=none-such)", r"^unknown residual of decoder 'none-such'; .*grokfast, pre-norm$"),
        ("decoder(task=3)", r"^unknown setting of decoder 'task'"),
        ("decodr", r"^unknown model 'decodr'; did you mean 'decoder'"),
    ],
)
def test_settings_that_are_not_possible(text, problem):
    with pytest.raises(InputError, match=problem):
        model_config(text)


def test_spelling_is_no_part_of_a_model():
    assert model_config("mlp(init_scale=8, width=200.0)") == model_config("mlp") == model_config("mlp(depth=3)")
    assert model_config("mlp(width=201)") != model_config("mlp")


@pytest.mark.parametrize("name", parts("models"))
def test_every_card_makes_what_it_says(name):
    card = parts("models")[name].value
    assert card.summary
    assert card.reads or name == "own", "a problem's own network reads what the problem has"
    assert card.settings(card.weak).keys() == card.settings({}).keys()


STRANGERS = """
import torch
from torch import nn

from grokkit.arguments import Size
from grokkit.models import ModelCard
from grokkit.tasks import Task, TaskCard


class Counts(nn.Linear):
    def forward_flops(self, batch, tokens):
        return 2 * batch * self.in_features * self.out_features

    def step_flops(self, batch, tokens):
        return 2 * self.forward_flops(batch, tokens)


def net(task, *, gain: Size = 2):
    layer = Counts(task.features, task.classes)
    with torch.no_grad():
        layer.weight *= gain
    return layer


def pictures(n: int = 40, *, noise: float = 0.1):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    inputs = labels[:, None] + noise * torch.randn(n, 5, generator=generator)
    return Task("pictures", "pictures", inputs, labels, None, 2, "for this test")


NET = ModelCard(name="net", reads=("pictures",), build=net, task={"noise": 0.2})
PICTURES = TaskCard(name="pictures", build=pictures, model="strangers.py:NET", batch_size=8)
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A file of somebody else's, with a task of a kind that no model of ours reads, and a model that does."""
    (tmp_path / "strangers.py").write_text(STRANGERS)
    monkeypatch.chdir(tmp_path)


def test_a_stranger_s_task_and_model_are_trained_as_ours_are(stranger):
    model = model_config("strangers.py:NET(gain=3)")
    task = task_config("strangers.py:PICTURES(n=60)", model)
    assert task.settings == {"n": 60, "noise": 0.2}
    assert (model.name, model.settings) == ("strangers.py:NET", {"gain": 3})
    assert (task.card.model, task.card.batch_size) == ("strangers.py:NET", 8)
    config = RunConfig(task=task, model=model, method=method_config("adamw"), seed=0, budget=60, batch_size=8)
    run = train(RunConfig(**config.model_dump()))
    assert run.curves["train_accuracy"][-1] > 0.9
    assert 7 < run.flops / (run.steps * 2 * 2 * 5 * 2) <= 8, "rows a step: batches are of 7 or 8"


def test_who_cannot_read_a_stranger_s_task_is_refused(stranger):
    task = make_task("strangers.py:PICTURES")
    with pytest.raises(InputError, match="^mlp cannot be trained on 'pictures': it reads numbers, .* are pictures; "):
        build_model(model_config("mlp"), task, 0)
    with pytest.raises(InputError, match="^strangers.py:NET cannot be trained on 'parity:10,2': it reads pictures"):
        build_model(model_config("strangers.py:NET"), make_task("parity:10,2"), 0)


def test_a_function_that_is_registered_stands_in_no_one_s_way(monkeypatch):
    """It is no card, and needs the task's shape to make its module; it is not called only to list who reads what."""
    build = Part("models", "theirs", lambda task, width: None, "theirs 1.0", "theirs 1.0", "theirs")
    monkeypatch.setitem(parts("models"), "theirs", build)
    with pytest.raises(InputError, match="^mlp cannot be trained on .*; take --model decoder or fnn$"):
        build_model(model_config("mlp"), make_task("mul:7"), 0)


def test_a_method_s_scale_needs_a_model_that_has_one(stranger):
    model = model_config("strangers.py:NET")
    settings = {
        "task": task_config("strangers.py:PICTURES"),
        "model": model,
        "seed": 0,
        "budget": 5,
        "batch_size": None,
    }
    with pytest.raises(InputError, match="strangers.py:NET has no init_scale, and .* sets it; leave it out"):
        checked(RunConfig, "compare", method=method_config("adamw(init_scale=2)"), **settings)


def layers(*, width: Size, scale: float, kind: str = "relu"): ...


@dataclass
class Maker:
    width: str = "an attribute"

    def __call__(self, *, width: Size, scale: float): ...


@pytest.mark.parametrize("build", [layers, partial(layers, kind="tanh"), partial(partial(layers), kind="x"), Maker()])
def test_settings_are_checked_by_the_annotations_of_what_is_called_in_the_end(build):
    assert str(complete("mine", build, {"width": 2.0, "scale": 2})).startswith("{'width': 2, 'scale': 2.0")
    with pytest.raises(InputError, match="mine: width=0 is not possible: a whole number from 1"):
        complete("mine", build, {"width": 0, "scale": 2})


def prose(*, strength: "how strong it is" = 0.5): ...  # noqa: F722


def listed(*, strength: [0.1, 0.9] = 0.5): ...


def missing(*, strength: "torch.NoSuchThing" = 0.5): ...


@pytest.mark.parametrize("build", [prose, listed, missing])
def test_an_annotation_that_is_no_kind_is_left_to_its_reader(build):
    """The argument goes by its default, as one without annotation."""
    assert str(complete("mine", build, {"strength": 2})) == "{'strength': 2.0}"
    assert (takes(build, "strength", 2), is_whole(build, "strength")) == (True, None)
    with pytest.raises(InputError, match="mine: strength='x' is not possible: a finite number; the default is 0.5"):
        complete("mine", build, {"strength": "x"})


def pair(*, betas: tuple[float, float] = (0.9, 0.98)): ...


def test_a_tuple_has_as_many_values_as_its_annotation_each_of_its_kind():
    assert str(complete("mine", pair, {"betas": [1, 0.5]})) == "{'betas': (1.0, 0.5)}"
    for betas in ((0.9,), (0.9, 0.98, 0.99), (0.9, "x")):
        with pytest.raises(InputError, match=r"mine: betas=.* is not possible: a .*; the default is \(0\.9, 0\.98\)"):
            complete("mine", pair, {"betas": betas})
