"""``max_grad_norm``: the raw gradient is clipped between backward pass and method, alone and in a group alike."""

import pytest
import torch
from groups import assert_same_run

from grokkit.errors import InputError
from grokkit.train.config import RunConfig, checked
from grokkit.train.loop import train, train_group
from grokkit.train.resolve import method_config, model_config, task_config


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_is_clip_only_s_clipping(tiny):
    """Under a bare optimizer there is no difference to the method that clips."""
    clipped = train(tiny("adam-l2(max_grad_norm=0.05)"))
    method = train(tiny("clip-only(max_norm=0.05,held_out=0)"))
    assert clipped.curves["train_loss"] == method.curves["train_loss"]
    assert clipped.curves["train_loss"] != train(tiny("adam-l2")).curves["train_loss"]


def test_the_probes_see_the_gradient_before_and_after(tiny):
    curves = train(tiny("adamw(max_grad_norm=0.05)")).curves
    raw, filtered = curves["gradient_norm"][1:], curves["filtered_gradient_norm"][1:]
    assert min(raw) > 0.05
    assert filtered == pytest.approx([0.05] * len(filtered), rel=1e-5)


def test_comes_before_the_method(tiny):
    """Grokfast of a clipped gradient is longer than the limit: 1 + λ times, at the first step."""
    run = train(tiny("grokfast-ema(max_grad_norm=0.05)", budget=1))
    assert run.curves["filtered_gradient_norm"][1] == pytest.approx(3 * 0.05, rel=1e-5)


@pytest.mark.parametrize("method", ["adamw", "grokfast-ema", "neuralgrok(hidden=(6,5),every=3)"])
def test_members_of_a_group_equal_runs_alone(tiny, float64, method):
    own = method[:-1] + "," if method.endswith(")") else method + "("
    configs = [tiny(f"{own}max_grad_norm=0.5)", model="decoder(width=8,depth=1)", seed=seed) for seed in (0, 1)]
    for member, config in zip(train_group(configs, device="cpu"), configs, strict=True):
        assert_same_run(member, train(config), 1e-6)


def test_a_network_in_its_span_cannot_be_clipped():
    with pytest.raises(InputError, match="two-layer can only be trained by updates that are linear"):
        checked(
            RunConfig,
            "compare",
            task=task_config("xor:30"),
            model=model_config("two-layer"),
            method=method_config("gd(max_grad_norm=1)"),
            seed=0,
            budget=5,
            batch_size=None,
        )
