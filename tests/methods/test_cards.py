"""Every method's card says what it must, and what it says is true."""

import inspect
import re

import pytest
from cards import CARDS

from grokkit import GradientTransform
from grokkit.train.own_part import default_settings

OPTIMIZER_KEYS = {"optimizer", "lr", "wd", "beta1", "beta2", "lr_warmup"}
WITH_FACTORY = {name: card for name, card in CARDS.items() if card.factory}


@pytest.mark.parametrize("name", CARDS)
def test_card_is_filled_in(name):
    card = CARDS[name]
    assert card.name == name
    assert re.fullmatch(r"[a-z][a-z0-9-]*", name)
    for text in (card.summary, card.equations, card.cost, card.base_source):
        assert text.strip()
    assert card.summary.endswith(".") or card.summary.endswith("?")
    assert set(card.hooks) <= {"start", "loss", "gradient", "optimizer", "weights"}


@pytest.mark.parametrize("name", CARDS)
def test_optimizer_settings_are_complete_and_possible(name):
    settings = CARDS[name].base or CARDS["adamw"].base
    assert settings.keys() == OPTIMIZER_KEYS
    assert settings["optimizer"] in {"adam", "adamw", "sgd"}
    assert settings["lr"] > 0
    assert settings["wd"] >= 0
    assert 0 <= settings["beta1"] < 1
    assert 0 <= settings["beta2"] < 1
    assert isinstance(settings["lr_warmup"], int)
    assert settings["lr_warmup"] >= 0


@pytest.mark.parametrize("name", WITH_FACTORY)
def test_a_method_that_makes_a_transform_hooks_the_gradient(name):
    assert "gradient" in CARDS[name].hooks
    assert CARDS[name].smallest


@pytest.mark.parametrize("name", sorted(CARDS.keys() - WITH_FACTORY.keys()))
def test_what_hooks_nothing_else_has_no_settings_of_a_factory(name):
    card = CARDS[name]
    assert "gradient" not in card.hooks
    assert bool(card.smallest) is bool(default_settings(card))


@pytest.mark.parametrize(
    "name", [name for name, card in CARDS.items() if card.name.startswith(("groktransfer", "lowrank"))]
)
def test_presets_are_settings_of_the_start_and_possible(name):
    card = CARDS[name]
    settings = {key: p.default for key, p in inspect.signature(card.start).parameters.items()}
    assert card.default_overrides.keys() <= settings.keys()
    assert card.start(**settings | card.default_overrides).merge_at == card.default_overrides.get("merge")
    assert card.start(**settings | card.default_overrides | card.smallest).merge_at == card.smallest.get("merge")


@pytest.mark.parametrize("name", WITH_FACTORY)
def test_the_factory_takes_its_defaults_and_the_card_s_settings(name):
    card = WITH_FACTORY[name]
    for settings in ({}, card.smallest, {**card.smallest, **(card.off or {})}):
        assert isinstance(card.factory(**settings), GradientTransform)
    parameters = inspect.signature(card.factory).parameters.values()
    assert all(p.default is not p.empty for p in parameters)
    assert all(p.annotation is not p.empty for p in parameters)


@pytest.mark.parametrize("name", WITH_FACTORY)
def test_the_citation_is_one_bibtex_entry(name):
    text = WITH_FACTORY[name].citation
    key, fields = re.fullmatch(r"@[a-z]+\{([a-z0-9]+),\n(.*)\n\}", text, re.DOTALL).groups()
    assert re.search(r"\d{4}", key)
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    found = dict(re.findall(r"^ *(\w+) *= *\{(.*)\},?$", fields, re.MULTILINE))
    assert {"title", "author", "year"} <= found.keys()
    assert len(found) == len(fields.splitlines())
    assert all(line.endswith(",") for line in fields.splitlines()[:-1])
    assert " and " in found["author"]


@pytest.mark.parametrize("name", WITH_FACTORY)
def test_the_docstring_tells_every_argument_and_its_default(name):
    factory = WITH_FACTORY[name].factory
    text = inspect.getdoc(factory)
    told = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |^\S|\Z)", text, re.MULTILINE | re.DOTALL))
    parameters = inspect.signature(factory).parameters
    assert list(told) == [*parameters, *(["InputError"] if "InputError" in told else [])]
    for parameter, p in parameters.items():
        if parameter == "start_step":
            assert p.default == 0
            continue
        (default,) = re.findall(r"Default (.+?)(?= \(|: |\.\s|\.$)", told[parameter])
        assert default == str(p.default)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("grokfast-ema", {"alpha": 0.98, "lamb": 2.0}),
        ("grokfast-ma", {"window_size": 100, "lamb": 5.0, "filter_type": "mean", "warmup": True}),
        ("grad-norm", {"c": 1.0}),
        ("neuralgrok", {"hidden": (128, 128), "c": 1.0, "clip": 1.0}),
        ("neuralgrok-random", {"hidden": (128, 128), "c": 1.0, "clip": 1.0}),
    ],
)
def test_defaults_are_the_papers(name, published):
    parameters = inspect.signature(CARDS[name].factory).parameters
    assert {key: parameters[key].default for key in published} == published


@pytest.mark.parametrize(
    ("name", "published"), [("neuralgrok", {"every": 4, "amplifier_lr": 1e-4, "amplifier_wd": 1e-3})]
)
def test_defaults_of_the_learning_are_the_papers(name, published):
    parameters = inspect.signature(CARDS[name].bilevel).parameters.values()
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == published


def test_controls_scale_the_learning_rate_of_what_they_control():
    for control, arm in (("adamw-lr-scaled", "adamw"), ("adam-lr-scaled", "grokfast-ema")):
        scaled, base = dict(CARDS[control].base), dict(CARDS[arm].base)
        assert scaled.pop("lr") == pytest.approx(3 * base.pop("lr"))
        assert scaled == base
