"""A donor of the same form: which of its parts a model starts from, and what it cost."""

import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from spirals import Spirals, problem

from grokkit.errors import InputError
from grokkit.methods.block_transfer import block_transfer
from grokkit.models.classes import classes_of
from grokkit.registry import give
from grokkit.study.question import Question
from grokkit.testing.runs import small_run
from grokkit.train.doors import doors_of
from grokkit.train.loop import begin_alone, train
from grokkit.train.problem import build_problem, transfer_data


class Named(Spirals):
    """Items that are no pair."""

    def __getitem__(self, row):
        return {"points": self.points[row], "label": self.classes[row]}


@pytest.mark.parametrize("parts", ["embedding", "hidden+head"])
def test_the_named_parts_are_the_donor_s_and_the_others_as_drawn(parts):
    started, plain = (
        begin_alone(small_run(name)).model for name in (f"block-transfer(parts={parts},steps=3)", "adamw")
    )
    for kind, own in classes_of(started).items():
        drawn = classes_of(plain)[kind]
        assert all(torch.equal(p, drawn[name]) != (kind in parts.split("+")) for name, p in own.items()), kind


def test_the_donor_takes_full_steps_of_adamw_and_all_are_charged():
    config = small_run("adamw")
    plain, data = begin_alone(config).model, transfer_data(build_problem(config))
    found = block_transfer(parts="head", steps=3, donor_lr=0.02, donor_wd=0.5)(plain, data, 0)
    expected = begin_alone(config).model
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.02, weight_decay=0.5, betas=(0.9, 0.98))
    for _ in range(3):
        optimizer.zero_grad()
        data.loss(expected(data.train.inputs), data.train.targets).backward()
        optimizer.step()
    torch.testing.assert_close(dict(found.tensors), dict(classes_of(expected)["head"]), check_stride=False)
    look = plain.forward_flops(*data.validation.inputs.shape)
    assert found.flops == 3 * plain.step_flops(*data.train.inputs.shape) + look > look > 0
    assert found.tables["donor"]["steps"] == [3]


def test_a_donor_is_judged_as_it_would_be_used_and_its_looks_are_charged():
    data = transfer_data(build_problem(small_run("adamw")))
    data = replace(data, validation=data.train)
    rows, places = data.train.inputs.shape
    torch.manual_seed(0)
    layers = torch.nn.Linear(64 * places, 256), torch.nn.Linear(256, data.outputs)
    dropout = torch.nn.Dropout(0.9)
    embedding = torch.nn.Embedding(data.vocabulary, 64), torch.nn.Flatten()
    model = torch.nn.Sequential(*embedding, layers[0], torch.nn.ReLU(), dropout, layers[1])
    found = block_transfer(parts="head", steps=300, donor_lr=0.005, donor_wd=0.0, stop=0.99)(model, data, 0)
    (judged,), (steps,) = found.tables["donor"]["validation_accuracy"], found.tables["donor"]["steps"]
    assert judged >= 0.99, "with nine tenths of its neurons left out it is right on far fewer rows"
    forward = sum(2 * rows * layer.in_features * layer.out_features for layer in layers)
    assert found.flops == steps * 3 * forward + steps // 25 * forward


def test_a_donor_of_another_task_learns_that_task():
    own, other = (
        train(small_run(f"block-transfer(source={source},steps=2)", budget=5)).curves["train_loss"][0]
        for source in ("own", "sub:11(layout=operands)")
    )
    assert own != other


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": "embeding"}, "unknown part of block-transfer 'embeding'; did you mean 'embedding'"),
        ({"stop": 0.0}, "stop=0.0 is not possible: an accuracy in"),
        ({"source": "mull:97"}, "unknown task 'mull'; did you mean 'mul'"),
        ({"steps": 0}, "steps=0 is not possible"),
    ],
)
def test_what_is_not_possible_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        block_transfer(**settings)


@pytest.mark.parametrize("source", ["add:11(layout=operands)", "add:11(a=1,b=1,layout=operands)"])
def test_a_source_with_the_run_s_own_rows_is_refused_since_it_is_split_anew(source):
    config = small_run(f"block-transfer(source={source})")
    own = build_problem(config)
    message = rf"source={re.escape(source)} has \d+ of the {len(own.inner)} training rows.*write source=own"
    with pytest.raises(InputError, match=message):
        doors_of(config.method).check(begin_alone(small_run("adamw")).model, partial(transfer_data, own))
    with pytest.raises(InputError, match=message):
        train(config)


def by_name(model, batch):
    return model(batch["points"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": lambda seed: Named()}, "the inputs are a dict, and block-transfer's donor reads one tensor"),
        ({"collate": lambda items: torch.stack([x for x, _ in items])}, "a step of its donor, .* fails: "),
    ],
)
def test_inputs_that_the_donor_cannot_read_are_refused_when_planned(changes, message):
    one = replace(problem(8), forward=by_name, loss=lambda outputs, batch: outputs.sum())
    give("tasks", "here:named", replace(one, **changes, data_id="1"), code=message)
    with pytest.raises(InputError, match=message) as caught:
        Question(task="here:named", methods=["block-transfer"], seeds=1, budget=5).plan()
    assert "\n" not in str(caught.value)


def test_a_source_of_another_form_is_refused():
    with pytest.raises(InputError, match="source=add:13 has 15 tokens .*name one of the same form.*layout=operands"):
        train(small_run("block-transfer(source=add:13)"))
