"""A study that never ran: sigmoid curves with known crossing steps, for tests of the numbers and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from grokkit.analyse import leaderboard, verdict
from grokkit.report import View, all_figures
from grokkit.report.figure import Medium, completed
from grokkit.report.page import build_page

BUDGET, TARGET = 20_000, 0.95
# Step of generalization by seed; None: never within the budget.
CROSSINGS: dict[str, list[int | None]] = {
    "adamw": [6000, 8000, 7000],
    "grokfast-ema": [2000, 2600, 2200],
    "grad-norm": [9000, None, 11000],
    "adam-paper": [None, None, None],
}
SECONDS_PER_STEP = {"adamw": 0.002, "grokfast-ema": 0.0022, "grad-norm": 0.0021, "adam-paper": 0.0019}
FLOPS_PER_STEP = 2.5e8
MEMORIZED = 200
START_SECONDS, START_FLOPS = 0.5, 1e10


def study(crossings: Mapping[str, list[int | None]] = CROSSINGS, **changes: Any) -> dict[str, Any]:
    methods = list(crossings)
    seeds = list(range(max(len(found) for found in crossings.values())))
    return {
        "format": 1,
        "title": "a*b mod 97",
        "task": {"expression": "a*b mod 97", "train_fraction": 0.5},
        "model": {"kind": "decoder", "width": 128, "layers": 2, "heads": 4},
        "methods": methods,
        "baseline": methods[0],
        "seeds": seeds,
        "budget": BUDGET,
        "target": TARGET,
        "run_ids": [f"{method}--seed{seed}--0000" for method in methods for seed in seeds],
        "methods_detail": {
            method: {
                "title": method.capitalize(),
                "optimizer": "AdamW",
                "settings": {"lr": 3e-3, "weight_decay": 1.0},
                "summary": "Made up for a test.",
            }
            for method in methods
        },
        "command": "grokkit compare mul:97 --methods adamw,grokfast-ema,grad-norm,adam-paper --seeds 3",
        **changes,
    }


def tables(
    crossings: Mapping[str, list[int | None]] = CROSSINGS, evaluations: int = 150
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frames ``runs`` and ``curves`` of the synthetic study. A run of "groktransfer" starts with weak models."""
    runs, curves = [], []
    for method, found in crossings.items():
        pace = SECONDS_PER_STEP.get(method, 0.002)
        for seed, crossing in enumerate(found):
            steps = BUDGET if crossing is None else min(BUDGET, int(crossing * 1.3))
            run_id = f"{method}--seed{seed}--0000"
            runs.append(_run(run_id, method, seed, crossing, steps, pace))
            curves.append(_curve(run_id, method, seed, crossing, steps, pace, evaluations))
    return pl.DataFrame(runs, infer_schema_length=None), pl.concat(curves)


def _start_seconds(method: str, seed: int) -> float:
    return START_SECONDS + 0.1 * seed if method == "groktransfer" else 0.0


def _run(run_id: str, method: str, seed: int, crossing: int | None, steps: int, pace: float) -> dict[str, Any]:
    start = _start_seconds(method, seed)
    start_flops = START_FLOPS if start else 0.0
    return {
        "run_id": run_id,
        "method": method,
        "seed": seed,
        "budget": BUDGET,
        "config": json.dumps({"lr": 3e-3, "after": 0, "target_loss": None}),
        "config_hash": "0000",
        "status": "censored" if crossing is None else "generalized",
        "steps": steps,
        "start_seconds": start,
        "start_flops": start_flops,
        "memorized_at": MEMORIZED,
        "generalized_first_at": crossing,
        "generalized_at": crossing,
        "below_until": steps if crossing is None else None,
        "stable_at": None,
        "delay_steps": None if crossing is None else crossing - MEMORIZED,
        "collapsed_at": None,
        "dips": None if crossing is None else seed,
        "deepest_dip": None if crossing is None else 0.02 * seed,
        "diverged_at": None,
        "memorized_resolution_steps": 10,
        "first_resolution_steps": None if crossing is None else 50,
        "resolution_steps": None if crossing is None else 50,
        "train_seconds_to_target": None if crossing is None else start + crossing * pace,
        "flops_to_target": None if crossing is None else start_flops + crossing * FLOPS_PER_STEP,
        "train_seconds_below_until": start + steps * pace if crossing is None else None,
        "flops_below_until": start_flops + steps * FLOPS_PER_STEP if crossing is None else None,
        "train_seconds": start + steps * pace,
        "eval_seconds": steps * pace / 10,
        "flops": start_flops + steps * FLOPS_PER_STEP,
        "peak_memory_bytes": 300_000_000,
        "final_train_loss": 0.0,
        "final_test_loss": 3.5 if crossing is None else 0.05,
        "best_test_loss": 3.45 if crossing is None else 0.03,
        "final_train_accuracy": 1.0,
        "final_test_accuracy": 0.3 if crossing is None else 0.99,
        "best_test_accuracy": 0.31 if crossing is None else 0.995,
        "provenance": json.dumps(
            {
                "grokkit": "0.1.0",
                "torch": "2.13.0",
                "numpy": "2.4.6",
                "python": "3.11.9",
                "platform": "Linux",
                "processor": "x86_64",
                "threads": 1,
                "started": "2026-01-02T03:04:05Z",
                "parameters": 421_000,
            }
        ),
    }


def _curve(
    run_id: str, method: str, seed: int, crossing: int | None, steps: int, pace: float, evaluations: int
) -> pl.DataFrame:
    step = np.unique(np.concatenate([[0], np.geomspace(1, steps, evaluations).astype(int)]))
    wobble = 1 + 0.01 * np.sin(4 * np.log1p(step) + seed)
    early = 1 - 0.1 * list(CROSSINGS).index(method) - 0.03 * seed if method in CROSSINGS else 1
    log_step = np.log(np.maximum(step, 1))
    centre = np.log((crossing or 8 * BUDGET) * 0.75)
    test = np.clip(0.01 + 0.985 / (1 + np.exp(-10 * (log_step - centre))), 0, 1)
    train = np.clip(0.01 + 0.99 / (1 + np.exp(-5 * (log_step - np.log(MEMORIZED * 0.55 * early)))), 0, 1)
    gradient = 300 * np.exp(-step / 3000) * wobble + 0.2
    no_gradient_yet = step == 0
    place = list(CROSSINGS).index(method) if method in CROSSINGS else 1  # the first is a bare optimizer
    return pl.DataFrame(
        {
            "run_id": run_id,
            "step": step,
            "train_seconds": _start_seconds(method, seed) + step * pace,
            "eval_seconds": step * pace / 10,
            "flops": step * FLOPS_PER_STEP,
            "train_loss": 5 * (1 - train),
            "train_accuracy": train,
            "validation_loss": None,
            "validation_accuracy": None,
            "test_loss": 5 * (1 - test),
            "test_accuracy": test,
            "weight_norm": (60 - 25 * test + 8 * train) * wobble,
            "weight_entropy": (40_000 - 15_000 * test) * wobble,
            "gradient_norm": [None if z else float(g) / 100 for z, g in zip(no_gradient_yet, gradient, strict=True)],
            "gradient_entropy": [None if z else float(g) for z, g in zip(no_gradient_yet, gradient, strict=True)],
            "filtered_gradient_norm": [None if z else 1.0 for z in no_gradient_yet],
            "filtered_gradient_entropy": [
                None if z else float(g) ** 0.5 + place for z, g in zip(no_gradient_yet, gradient, strict=True)
            ],
            "gradient_cosine": [
                None if z else float(np.cos(np.radians(min(place, 1) * (12 * place + 30 * t) * w)))
                for z, t, w in zip(no_gradient_yet, test, wobble, strict=True)
            ],
        },
        schema_overrides={"validation_loss": pl.Float64, "validation_accuracy": pl.Float64},
    )


AMPLIFIED = {"adamw": [6000, 8000, 7000], "neuralgrok": [1500, 1900, 1700], "neuralgrok-random": [5000, None, 9000]}
"""Crossings of a study in which all but the first method have an amplifier."""


def probes(
    crossings: Mapping[str, list[int | None]] = CROSSINGS, amplified: Sequence[str] = ()
) -> dict[str, pl.DataFrame]:
    """The frames ``amplifier`` and ``softmax``, of the runs of ``amplified``."""
    curves, divergences = [pl.DataFrame(schema=_KEYS)], [pl.DataFrame(schema=_KEYS)]
    for method in amplified:
        for seed, crossing in enumerate(crossings[method]):
            keys = {"run_id": f"{method}--seed{seed}--0000", "method": method, "seed": seed}
            for step in np.unique(np.geomspace(1, crossing or BUDGET, 60).astype(int)).tolist():
                reach, strength = 0.3 / (1 + step / 10), 1.0 if method.endswith("random") else step**0.5 / 5
                x = np.linspace(-reach, reach, 65)
                shape = strength * (np.tanh(x / 0.1) ** 2 + 0.3 * np.tanh(x / 0.1))
                curves.append(pl.DataFrame({**keys, "step": step, "gradient": x, "log_weight": shape + 0.1 * seed * x}))
                divergence = [1e-6 * (seed + 1) * strength**4 * scale for scale in (0.1, 1.0, 30.0)]
                rows = {"tensor": ["embedding", "attention", "head"], "kl_from_uniform": divergence}
                divergences.append(pl.DataFrame({**keys, "step": step, **rows}))
    return {
        name: pl.concat(parts, how="diagonal_relaxed")
        for name, parts in (("amplifier", curves), ("softmax", divergences))
    }


_KEYS = {"run_id": pl.String, "method": pl.String, "seed": pl.Int64}


TRANSFERRED = {"adamw": [6000, 8000, 7000], "groktransfer": [900, None, 1100]}
"""Crossings of a study in which the second method starts from a weak model's embedding."""

MODULUS = 97


def embeddings(
    crossings: Mapping[str, list[int | None]] = TRANSFERRED, looked_at: Sequence[str] = ("adamw", "groktransfer")
) -> dict[str, pl.DataFrame]:
    """The frames ``fourier``, ``circle``, ``pca``, ``ntk`` and ``attempts``: frequencies 11, 25 and 40 come up."""
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in ("fourier", "circle", "pca", "ntk", "attempts")}
    rng = np.random.default_rng(0)
    number = np.arange(MODULUS)
    frequency = np.arange(1, (MODULUS + 1) // 2)
    for method in looked_at:
        for seed, crossing in enumerate(crossings[method]):
            keys = {"run_id": f"{method}--seed{seed}--0000", "method": method, "seed": seed}
            steps = np.unique([0, *np.geomspace(10, crossing or BUDGET, 60).astype(int)]).tolist()
            for step in steps:
                learned = 1 / (1 + np.exp(-3 * np.log(max(step, 1) / ((crossing or 4 * BUDGET) / 2))))
                power = rng.gamma(8, size=len(frequency)) / 8
                power[[10, 24, 39]] += learned * np.array([25.0, 18.0, 9.0])
                frames["fourier"].append(
                    pl.DataFrame({**keys, "step": step, "frequency": frequency, "share": power / power.sum()})
                )
                change = {"step": step, "kernel_distance": 0.3 / (1 + step / 50) ** 1.5 * (1 + 0.1 * seed)}
                frames["ntk"].append(pl.DataFrame({**keys, **change} if step else {**keys, "step": 0}))
            angle = 2 * np.pi * number * 11 / MODULUS
            noise = rng.normal(size=(2, MODULUS)) * (0.15 if crossing else 1.0)
            x, y = np.cos(angle) + noise[0], np.sin(angle) + noise[1]
            at = {**keys, "step": steps[-1], "number": number}
            frames["circle"].append(pl.DataFrame({**at, "x": x, "y": y, "frequency": 11}))
            turned = {"x": 0.8 * x - 0.6 * y, "y": 0.6 * x + 0.8 * y, "explained_x": 0.31, "explained_y": 0.24}
            frames["pca"].append(pl.DataFrame({**at, **turned}))
            if method != "adamw":
                weak = {"attempt": [0, 1, 2], "weak": ["fnn-d2-w8", "fnn-d4-w16", "fnn-d4-w16"]}
                found = {
                    "seed_of_weak": [0, 0, 1],
                    "steps": [300, 2000, 1400],
                    "validation_accuracy": [0.02, 0.31, 0.71 + 0.04 * seed],
                }
                spent = {"seconds": [0.05, 0.25, 0.2], "flops": [1e9, 5e9, 4e9], "chosen": [False, False, True]}
                frames["attempts"].append(pl.DataFrame({**keys, **weak, **found, **spent}))
    return {name: pl.concat(parts, how="diagonal_relaxed") for name, parts in frames.items() if parts}


def view(
    crossings: Mapping[str, list[int | None]] = CROSSINGS,
    found: Mapping[str, pl.DataFrame] | None = None,
    *,
    evaluations: int = 150,
    medium: Medium = "page",
    **changes: Any,
) -> View:
    """The synthetic study as figures see it, with the tables ``found``."""
    runs, curves = tables(crossings, evaluations)
    return View(study(crossings, **changes), runs, curves, completed(all_figures(), found or {}), medium)


def page(of: View) -> str:
    """The page of the study, which has no figure that failed."""
    rows = leaderboard(of.runs, of.methods, of.study["baseline"])
    failures: dict[str, str] = {}
    made = build_page(all_figures(), of, rows, verdict(rows, of.study), failures)
    assert not failures
    return made
