"""What the GPU rows measure works, here on a CPU: a plain step and a group's."""

import torch

from grokkit.bench.gpu import member_step
from grokkit.bench.row import Result, all_rows
from grokkit.bench.settings import GROKFAST
from grokkit.bench.timing import alternate, compare
from grokkit.train.resolve import model_config


def test_a_member_s_step(monkeypatch):
    monkeypatch.setattr("grokkit.bench.gpu._STEPS", 3)
    small = GROKFAST.model_copy(update={"model": model_config("decoder(width=8,heads=2)"), "batch_size": 2500})
    duel = member_step(small, members=2, device="cpu")
    found = compare(alternate(duel, 2))
    assert found.plain_ms > 0
    assert found.ours_ms > 0
    assert duel.note().startswith("a step of all 2: ")


def test_they_are_told_of_the_gpu_and_the_others_of_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    comparison = compare([(1.0, 1.0)])
    for row in all_rows().values():
        told = Result(row, comparison, rounds=1, threads=1, note="").record()["processor"]
        assert (told == "a GPU") == (row.id.startswith("gpu-") or row.id.endswith("-gpu")), row.id
