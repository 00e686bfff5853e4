"""A method that learns from outer data, in the lab: whose rows these are, what they cost, what is kept."""

import numpy as np
import pytest
import torch
from groups import group_of

from grokkit.errors import InputError
from grokkit.files import pinned
from grokkit.methods.neuralgrok import load_amplifier
from grokkit.methods.neuralgrok.curve import gradient_flops, table_flops
from grokkit.train.config import RunConfig
from grokkit.train.loop import train
from grokkit.train.problem import build_batches, build_problem
from grokkit.train.resolve import method_config, task_config


def config(method="neuralgrok", **changes):
    settings = {"task": task_config("add:97"), "method": method_config(method), "seed": 3, "budget": 100}
    return RunConfig(**{**group_of("adamw", "decoder")[0].model_dump(), **settings, **changes})


def test_outer_rows_are_a_fiftieth_of_the_training_part_and_nobody_elses():
    problem = build_problem(config())
    parts = problem.split
    sets = [set(rows.tolist()) for rows in (problem.inner, problem.outer, parts.validation, parts.test)]
    assert len(problem.outer) == round(len(parts.train) / 50) == 94
    assert sets[0] | sets[1] == set(parts.train.tolist())
    assert sum(map(len, sets)) == len(set.union(*sets)) == 97 * 97
    batches = build_batches(config(), problem)
    seen = set(torch.cat([batches.next() for _ in range(600)]).tolist())
    assert seen == sets[0]


@pytest.mark.parametrize("method", ["adamw", "grad-norm", "neuralgrok-random(held_out=0)"])
def test_a_method_that_sets_nothing_apart_trains_on_all(method):
    problem = build_problem(config(method))
    assert problem.inner.tolist() == problem.split.train.tolist()
    assert len(problem.outer) == 0
    assert build_problem(config()).split.train.tolist() == problem.split.train.tolist(), "the split is everybody's"


def test_outer_rows_depend_on_the_seed_alone():
    first, again, other = (
        build_problem(config(method, seed=seed)).outer.tolist()
        for method, seed in (("neuralgrok", 3), ("neuralgrok(every=1,hidden=(4,))", 3), ("neuralgrok", 4))
    )
    assert first == again != other


def test_a_training_part_too_small_is_refused():
    with pytest.raises(
        InputError, match=r"neuralgrok sets 1 of the training rows apart .*, and there are 1; take a smaller"
    ):
        build_problem(config(task=task_config("add:5", train_fraction=0.04, validation_fraction=0.0)))


SMALL = {"task": task_config("add:11"), "budget": 20}


def test_outer_steps_are_counted_and_charged():
    run, bare = (
        train(config("neuralgrok(hidden=(4,),every=3,lr_warmup=10)", **SMALL)),
        train(config("adam-l2", **SMALL)),
    )
    assert run.steps == bare.steps == 20
    assert run.outer_steps == 6, "at steps 3, 6, ..., 18: at step 0 the learning rate is 0"
    assert run.outer_rows == 1
    assert (bare.outer_steps, bare.outer_rows, bare.kept) == (0, 0, {})
    amplifiers = 20 * table_flops((4,)) + 6 * (2 * table_flops((4,)) + gradient_flops((4,)))
    models = run.flops - amplifiers
    assert models * 5 * 60 == bare.flops * (5 * 59 + 6), "five passes over one row less, and six over that one"
    assert run.record()["outer_steps"] == 6


def test_each_seed_has_an_amplifier_of_its_own():
    kept = [train(config("neuralgrok-random(hidden=(4,))", seed=seed, **SMALL)).kept for seed in (0, 0, 1)]
    assert kept[0].keys() == {"weight0", "bias0", "weight1", "bias1"}
    assert np.array_equal(kept[0]["weight0"], kept[1]["weight0"])
    assert not np.array_equal(kept[0]["weight0"], kept[2]["weight0"])


def test_a_learned_amplifier_is_handed_on(tmp_path):
    learned = train(config("neuralgrok(hidden=(4,),every=1,amplifier_lr=0.1)", **SMALL)).kept
    path = tmp_path / "method.npz"
    np.savez(path, **learned)
    assert load_amplifier(path).hidden == (4,)
    frozen = config(f"neuralgrok-random(amplifier={path})", **SMALL)
    assert frozen.method.parts[0].settings["amplifier"] == pinned(str(path))
    run = train(frozen)
    assert all(np.array_equal(run.kept[name], value) for name, value in learned.items())
    before = frozen.hash()
    np.savez(path, **{name: 2.0 * value for name, value in learned.items()})
    assert config(f"neuralgrok-random(amplifier={path})", **SMALL).hash() != before
    with pytest.raises(InputError, match="is another file than before"):
        train(frozen)


def test_a_gradient_that_is_not_finite_ends_the_run_as_diverged():
    run = train(config("neuralgrok-random(hidden=(4,),lr=1e20,lr_warmup=0)", **SMALL))
    assert run.status == "diverged"
