"""Groups of small runs whose members differ in all they may, and what it means that one equals its run alone."""

from __future__ import annotations

import pytest

from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.resolve import method_config, model_config, task_config

MODELS = {
    "decoder": "decoder(width=8,depth=1,heads=2,init_scale={scale})",
    "fnn": "fnn(width=16,dim=8,depth=2,init_scale={scale})",
}
METHODS = {
    "adamw": "adamw(lr={lr},wd={wd},beta2={beta2},lr_warmup={warm})",
    "adam-paper": "adam-paper(lr={lr},wd={wd})",
    "grokfast-ema": "grokfast-ema(lr={lr},wd={wd},alpha={alpha},lamb={lamb})",
    "grokfast-ma": "grokfast-ma(window_size=5,lr={lr},wd={wd},lamb={lamb})",
    "grad-norm": "grad-norm(lr={lr},wd={wd},c={c})",
    "clip-only": "clip-only(lr={lr},wd={wd},max_norm={c})",
    "neuralgrok-random": "neuralgrok-random(hidden=(6,5),lr={lr},wd={wd},c={c},clip=none)",
    "neuralgrok": "neuralgrok(hidden=(6,5),lr={lr},wd={wd},lr_warmup={warm},c={c},every=3,amplifier_lr={lr})",
    "sgd": "adamw(optimizer=sgd,lr={lr},wd={wd},beta1={alpha})",
}
VALUES = [
    {"lr": 1e-3, "wd": 0.1, "alpha": 0.9, "lamb": 1.0, "c": 0.3, "beta2": 0.98, "warm": 10, "scale": 1.0},
    {"lr": 3e-3, "wd": 1.0, "alpha": 0.98, "lamb": 2.0, "c": 1.0, "beta2": 0.9, "warm": 0, "scale": 0.5},
    {"lr": 2e-3, "wd": 0.0, "alpha": 0.5, "lamb": 0.0, "c": 2.0, "beta2": 0.999, "warm": 3, "scale": 1.5},
    {"lr": 5e-3, "wd": 0.5, "alpha": 0.0, "lamb": 3.0, "c": 0.7, "beta2": 0.98, "warm": 50, "scale": 1.0},
]


def group_of(method, model, /, **changes):
    """Four runs with seeds and settings of their own."""
    common = {
        "task": task_config("add:11", model_config(MODELS[model].format(**VALUES[0]))),
        "budget": 200,
        "batch_size": 16,
        "evaluation": EvaluationConfig(every=5),
    }
    return [
        RunConfig(
            **{
                **common,
                "model": model_config(MODELS[model].format(**values)),
                "method": method_config(METHODS[method].format(**values)),
                "seed": seed,
                **changes,
            }
        )
        for seed, values in enumerate(VALUES)
    ]


def assert_same_run(member, alone, rtol):
    """Same configuration, steps, costs and events; curves and tables but for rounding, of relative size ``rtol``.

    Weight norm and entropy get more room: the attention's key bias has no effect, so that its gradient is rounding
    alone, which Adam brings to the size of any other. It is a third of its tensor, whose weights are left out.
    """
    assert member.config == alone.config
    for cost in ("steps", "outer_steps", "outer_rows", "flops", "diverged_at"):
        assert getattr(member, cost) == getattr(alone, cost), cost
    assert member.status == alone.status
    assert member.events == alone.events
    assert member.kept.keys() == alone.kept.keys()
    for name, expected in alone.kept.items():
        assert member.kept[name] == pytest.approx(expected, rel=1e-5, abs=1e-9), name
    for name, expected in alone.curves.items():
        if name.endswith("_seconds"):
            continue
        got = member.curves[name]
        if name.endswith("step") or name == "flops":
            assert got == expected, name
            continue
        room = 1e-3 if name == "weight_entropy" else 1e-5 if name == "weight_norm" else 0
        assert_close(got, expected, max(rtol, room), name)
    assert member.tables.keys() == alone.tables.keys()
    for table, columns in alone.tables.items():
        assert member.tables[table].keys() == columns.keys()
        if table in ("circle", "pca") and rtol > 1e-3:
            continue  # among nearly equal frequencies or directions, coarse rounding decides which is first
        if table == "ntk" and rtol > 1e-3:
            continue  # a kernel that has hardly moved: its distance is of the size of coarse rounding
        for name, expected in columns.items():
            got = member.tables[table][name]
            if name in ("step", "tensor"):
                assert got == expected, (table, name)
                continue
            if (table, name) == ("tensors", "weight_entropy"):
                got, expected = (
                    [x for x, tensor in zip(xs, columns["tensor"], strict=True) if "in_proj_bias" not in tensor]
                    for xs in (got, expected)
                )
            # The way of the weights is the key bias's too, whose steps are as large as any.
            assert_close(got, expected, max(rtol, 1e-2 if table == "path" else 0), (table, name))


def assert_close(got, expected, rtol, what):
    exact = [value for value in expected if value is not None]
    assert [value is None for value in got] == [value is None for value in expected], what
    assert [value for value in got if value is not None] == pytest.approx(exact, rel=rtol, abs=1e-9), what
