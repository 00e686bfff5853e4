"""The settings that a method has on one task: published ones, taken unless told otherwise, and part of the run."""

import pytest
from cards import CARDS

from grokkit.study.plan import make_plan
from grokkit.train.config import OptimizerConfig, RunConfig
from grokkit.train.resolve import default_settings, method_config, model_config, task_config

PAPER = {
    # Grokfast's: learning rate, decay of the baseline; decay, α and λ of the filter; initial scale; clipping
    "mnist": (1e-3, 0.01, 2.0, 0.8, 0.1, 8.0, None),
    "imdb": (3e-4, 1.0, 10.0, 0.98, 2.0, 6.0, 5.0),
    "qm9": (1e-3, 0.0, 0.01, 0.9, 1.0, 3.0, None),
}
MODELS = {"mnist": "mlp", "imdb": "lstm", "qm9": "graph-conv"}


@pytest.mark.parametrize("task", PAPER)
def test_the_paper_s_settings(task):
    lr, decay, filtered_decay, alpha, lamb, init_scale, clip = PAPER[task]
    own = {"optimizer": "adamw", "lr": lr, "beta1": 0.9, "beta2": 0.999, "lr_warmup": 0, "max_grad_norm": clip}
    assert method_config("adam-paper", task).optimizer.model_dump() == {**own, "wd": decay}
    filtered = method_config("grokfast-ema", task)
    assert filtered.optimizer.model_dump() == {**own, "wd": filtered_decay}
    assert filtered.parts[0].settings == {
        "alpha": alpha,
        "lamb": lamb,
        "start_step": 0,
        "stop_step": None,
        "slow_only": False,
    }
    assert filtered.init_scale is None
    assert model_config(MODELS[task]).settings["init_scale"] == init_scale


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.recipes])
def test_every_recipe_is_of_settings_that_there_are(name):
    card = CARDS[name]
    for task, recipe in card.recipes.items():
        assert recipe.settings.keys() <= {*default_settings(card), *OptimizerConfig.model_fields, "init_scale"}
        assert recipe.source.strip()
        config = method_config(name, task)
        assert config.label == name
        for key, value in recipe.settings.items():
            assert {**config.parts[0].settings, **config.optimizer.model_dump()}[key] == value


def test_what_is_typed_comes_before_the_recipe_and_the_recipe_before_the_card():
    config = method_config("grokfast-ema(wd=3,alpha=0.5)", "mnist")
    assert (config.optimizer.wd, config.parts[0].settings["alpha"]) == (3.0, 0.5)
    assert (config.parts[0].settings["lamb"], config.optimizer.beta2) == (0.1, 0.999)
    assert config.label == "grokfast-ema(alpha=0.5,wd=3)"


@pytest.mark.parametrize("task", ["", "mul:97", "mnist mod 7", "mnis"])
def test_elsewhere_the_card_s_settings(task):
    for name in CARDS:
        assert method_config(name, task) == method_config(name)


def test_controls_scale_the_learning_rate_of_what_they_control():
    for task, (lr, _, _, _, lamb, _, _) in PAPER.items():
        for control, arm, factor in (("adamw-lr-scaled", "adamw", 3), ("adam-lr-scaled", "grokfast-ema", 1 + lamb)):
            scaled, base = (method_config(name, task).optimizer.model_dump() for name in (control, arm))
            assert scaled.pop("lr") == pytest.approx(factor * base["lr"])
            tuned = {"mnist": 3e-3, "qm9": 1e-2} if arm == "adamw" else {}
            assert base.pop("lr") == tuned.get(task, lr)
            assert scaled == base


def test_a_plan_takes_the_recipes_of_its_task(monkeypatch):
    from grokkit.methods.contract import Recipe

    monkeypatch.setitem(CARDS["adamw"].recipes, "modular", Recipe({"lr": 0.5}, "this test"))
    settings = {"task": task_config("mul:7"), "model": model_config("decoder(width=8)"), "budget": 5, "batch_size": 512}
    plan = make_plan(methods=["adamw", "adam-paper"], seeds=1, baseline="adamw", command="", **settings)
    assert [run.method.optimizer.lr for run in plan.runs] == [0.5, 1e-3]
    assert plan.study["methods_detail"]["adamw"]["optimizer"]["lr"] == 0.5


def test_a_recipe_is_part_of_a_run_s_identity():
    def run(task):
        return RunConfig(
            task=task_config("mul:7"), model=model_config("decoder"), method=method_config("adamw", task), seed=0,
            budget=5, batch_size=512,
        )  # fmt: skip

    assert run("mnist").hash() != run("mul:7").hash()
