"""Which runs may share a program, and on which device."""

import pytest
import torch
from cards import CARDS
from groups import METHODS, MODELS, group_of

from grokkit.errors import InputError
from grokkit.train.config import RunConfig
from grokkit.train.doors import doors_of
from grokkit.train.groups import choose_device, group_key, group_name, plan_groups
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.stackable import is_stackable


def test_on_a_cpu_every_run_is_alone_unless_asked_otherwise():
    runs = group_of("adamw", "fnn")
    assert plan_groups(runs, "cpu") == [[run] for run in runs]
    assert plan_groups(runs, "cpu", batched=True) == plan_groups(runs, "cuda:0") == [runs]
    assert plan_groups(runs, "cuda:0", batched=False) == [[run] for run in runs]
    assert plan_groups([], "cuda:0") == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_seeds_and_numbers_may_differ(method, model):
    assert len({group_key(run) for run in group_of(method, model)}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("grokfast-ma(window_size=5)", "grokfast-ma(window_size=6)"),
        ("grokfast-ma(filter_type=sum)", "grokfast-ma"),
        ("grokfast-ma(warmup=false)", "grokfast-ma"),
        ("grokfast-ema(start_step=5)", "grokfast-ema"),
        ("adamw(optimizer=adam)", "adamw"),
        ("adamw", "adam-paper(optimizer=adamw)"),
    ],
)
def test_structure_may_not_differ(one, other):
    first, second = (group_of("adamw", "fnn", method=method_config(text))[0] for text in (one, other))
    assert group_key(first) != group_key(second)


@pytest.mark.parametrize("field", sorted(RunConfig.model_fields.keys() - {"seed", "method"}))
def test_anything_else_of_a_run_may_not_differ(field):
    run = group_of("adamw", "fnn")[0]
    changed = {
        "task": task_config("sub:11(layout=operands)"),
        "model": model_config("fnn(width=17,dim=8,depth=2)"),
        "remainder": "own-batch",
        "precision": "bf16",
        "evaluation": run.evaluation.model_copy(update={"every": 7}),
    }.get(field, 0.5 if field == "target" else 7)
    assert group_key(run.model_copy(update={field: changed})) != group_key(run)


def test_scalars_are_those_whose_defaults_are():
    found = {name: doors_of(method_config(name)).scalars for name in CARDS}
    assert found["grokfast-ema"] == ("0/alpha", "0/lamb")
    assert found["grokfast-ma"] == ("0/lamb",)
    assert found["grad-norm"] == ("0/c",)
    whole = doors_of(method_config("grokfast-ema(lamb=1)"))
    assert whole.scalars == ("0/alpha", "0/lamb"), "typed as a whole number"


def test_a_method_that_reforms_its_model_is_a_group_of_its_own():
    runs = [*group_of("adamw", "fnn")[:2], *group_of("adamw", "fnn", method=method_config("groktransfer"))[:2]]
    assert plan_groups(runs, "cuda:0") == [runs[:2], runs[2:3], runs[3:]]
    alone = {name for name in CARDS if not is_stackable(method_config(name))}
    transfers = {name for name in CARDS if name.startswith("groktransfer")} | {"lowrank-random"}
    assert transfers <= alone
    assert {name for name, card in CARDS.items() if card.optimizer is not None} <= alone
    assert not alone & {"adamw", "grokfast-ema", "grokfast-ma", "grad-norm", "neuralgrok", "norm-held", "stablemax"}


def test_order_is_that_of_the_runs():
    pairs = zip(group_of("adamw", "fnn"), group_of("grad-norm", "fnn"), strict=True)
    runs = [run for pair in pairs for run in pair]
    assert plan_groups(runs, "cuda:0") == [runs[::2], runs[1::2]]
    assert plan_groups(runs[1:], "cuda:0") == [runs[1::2], runs[2::2]]


def test_large_groups_are_cut_into_equal_ones():
    runs = [group_of("adamw", "fnn")[0].model_copy(update={"seed": seed}) for seed in range(10)]
    groups = plan_groups(runs, "cuda:0", most=4)
    assert [len(group) for group in groups] == [3, 3, 4]
    assert [run for group in groups for run in group] == runs
    assert [len(group) for group in plan_groups(runs * 52, "cuda:0")] == [173, 173, 174]


def test_seeds_whose_parts_differ_in_size_do_not_share_a_program():
    task = task_config("add:11(layout=operands,split=unordered)")
    runs = [group_of("adamw", "fnn", task=task)[0].model_copy(update={"seed": seed}) for seed in range(8)]
    groups = plan_groups(runs, "cuda:0")
    sizes = [{len(build_problem(run).split.train) for run in group} for group in groups]
    assert len(groups) > 1
    assert all(len(lengths) == 1 for lengths in sizes)


def test_a_group_s_name_is_its_members():
    runs = group_of("adamw", "fnn")
    assert group_name(runs) == group_name(list(runs)) != group_name(runs[1:])


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match="--device cuda is not possible: PyTorch .* sees no CUDA GPU.*--device cpu"):
        choose_device("cuda")
    with pytest.raises(InputError, match="unknown device 'gpu'.*auto, cpu, cuda"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == "cuda:0"
    assert choose_device("cpu") == "cpu"
