"""A method in somebody's file is trained in worker processes, and an edited file never answers with old results."""

from in_process import grokkit

METHOD = """
from grokkit.methods import MethodCard
from grokkit.transform import GradientTransform
from helper import STRENGTH

def times(strength: float = STRENGTH):
    def update(grads, state, params):
        return {name: strength * g for name, g in grads.items()}, state
    return GradientTransform(lambda params: (), update)

CARD = MethodCard(name="times", factory=times)
"""


OPTIMIZER = """import torch
def adagrad(parameters, lr: float = 0.05):
    return torch.optim.Adagrad(parameters, lr)
"""


def compare(folder, method="ideas.py:CARD"):
    command = ["compare", "mul:7", "--model", "fnn(dim=4,width=8)", "--budget", "5", "--every", "5", "--seeds", "1"]
    command += ["--methods", f"adamw,{method}", "--jobs", "1", "--out", "out"]
    grokkit(*command, cwd=folder)
    return {path.parent.name for path in folder.glob("out/runs/*/run.json")}


def test_a_method_in_a_file(tmp_path):
    (tmp_path / "ideas.py").write_text(METHOD)
    (tmp_path / "helper.py").write_text("STRENGTH = 2.0\n")
    first = compare(tmp_path)
    assert len(first) == 2
    assert any(name.startswith("ideas.py-CARD--seed0--") for name in first)
    assert compare(tmp_path) == first, "nothing is trained again"
    (tmp_path / "helper.py").write_text("STRENGTH = 3.0\n")
    assert len(compare(tmp_path) - first) == 1
    (tmp_path / "ideas.py").write_text("raise RuntimeError")
    grokkit("report", "out", cwd=tmp_path)  # which imports no code that the folder names


def test_an_optimizer_in_a_file(tmp_path):
    (tmp_path / "ada.py").write_text(OPTIMIZER)
    first = compare(tmp_path, "adamw(optimizer=ada.py:adagrad(lr=0.1))")
    assert len(first) == 2
    assert compare(tmp_path, "adamw(lr=0.1,optimizer=ada.py:adagrad)") == first, "nothing is trained again"
    (tmp_path / "ada.py").write_text(OPTIMIZER.replace("lr)", "lr, lr_decay=0.1)"))
    assert len(compare(tmp_path, "adamw(optimizer=ada.py:adagrad(lr=0.1))") - first) == 1
