"""Names lead to their tasks, and every task scores as it says."""

import math

import pytest
import torch

from grokkit.errors import InputError
from grokkit.tasks import NAMED_TASKS, make_task, modular_task, parity_task, xor_task


def test_names_lead_to_their_tasks():
    assert torch.equal(make_task(" parity : 40 , 3 ").inputs_NT, parity_task(40, 3).inputs_NT)
    assert torch.equal(make_task("xor:50").signs_Np, xor_task(50).signs_Np)
    assert make_task("xor:50, logistic").objective == "logistic"
    ours, plain = (make(" mul : 7", layout="operands", b=1) for make in (make_task, modular_task))
    assert torch.equal(ours.inputs_NT, plain.inputs_NT)
    assert all(task.usage.startswith(name) for name, task in NAMED_TASKS.items())


@pytest.mark.parametrize("spec", ["mul:7", "parity:40,3", "xor:50", "xor:50,logistic"])
def test_a_task_s_name_gives_the_task_again(spec):
    task = make_task(spec)
    again = make_task(task.name)
    assert again.name == task.name
    assert torch.equal(again.inputs_NT, task.inputs_NT)
    assert again.objective == task.objective


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("party:40,3", r"^unknown task 'party'; did you mean 'parity'\? Allowed: .*xor"),
        ("mult:97", r"^unknown task 'mult'; did you mean 'mul'\?"),
        ("parity", r"^cannot read 'parity:': after the colon come n and k; write parity:40,3$"),
        ("parity:40", r"^cannot read 'parity:40'"),
        ("parity:40,3,2", r"^cannot read 'parity:40,3,2'"),
        ("parity:4,-1", r"^cannot read 'parity:4,-1'"),
        ("parity:3,40", r"^parity:3,40 is not possible: 40 of 3 bits cannot decide; take k from 1 to 3$"),
        ("xor", r"^cannot read 'xor:': after the colon comes p; write xor:80000, or xor:80000,logistic$"),
        ("xor:8e4", r"^cannot read 'xor:8e4'"),
        ("xor:50,hinge", r"^cannot read 'xor:50,hinge'"),
        ("xor:1", r"^xor:1 is not possible: at least 3"),
    ],
)
def test_bad_specs(spec, message):
    with pytest.raises(InputError, match=message):
        make_task(spec)


def test_only_modular_arithmetic_has_operands():
    with pytest.raises(InputError, match=r"^xor has no operands; leave operands_from out$"):
        make_task("xor:50", b=1)


@pytest.mark.parametrize("spec", ["parity:40,3", "xor:50"])
def test_losses_and_scores_of_signs(spec):
    task = make_task(spec)
    outputs_B1 = torch.tensor([[2.0], [-0.5], [0.0], [-3.0]])
    targets_B = torch.tensor([1.0, 1.0, -1.0, -1.0])
    margins = [2.0, -0.5, 0.0, 3.0]
    losses = {
        "logistic": [math.log1p(math.exp(-margin)) for margin in margins],
        "exponential": [math.exp(-margin) for margin in margins],
    }[task.objective]
    assert float(task.loss(outputs_B1, targets_B)) == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert task.correct(outputs_B1, targets_B).tolist() == [True, False, False, True], "0 has no sign"


def test_a_large_margin_does_not_overflow_the_logistic_loss():
    task = make_task("parity:40,3")
    assert float(task.loss(torch.tensor([[-500.0]]), torch.ones(1))) == 500.0
