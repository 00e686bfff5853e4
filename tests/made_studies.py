"""Small studies whose numbers one can work out by hand."""

import json

import polars as pl

from grokkit.study.store import RUNS


def record(method, seed, at, *, budget=1000, **columns):
    """A run that reached the target at step ``at``, or never; a step takes a hundredth of a second and 2e9 FLOPs."""
    steps = budget if at is None else at + 50
    known = {
        "run_id": f"{method}--seed{seed}--0",
        "method": method,
        "seed": seed,
        "budget": budget,
        "config": json.dumps({"sustain": 2}),
        "status": "censored" if at is None else "generalized",
        "steps": steps,
        "generalized_at": at,
        "generalized_first_at": at,
        "train_seconds": steps / 100,
        "train_seconds_to_target": None if at is None else at / 100,
    }
    return dict.fromkeys(RUNS) | known | columns


def write_study(results, name, times, *, baseline="base", **about):
    """Write ``results``/``name``: ``times`` has for each method its steps to the target, seed after seed."""
    folder = results / name
    folder.mkdir(parents=True)
    runs = [record(method, seed, at) for method, steps in times.items() for seed, at in enumerate(steps)]
    pl.DataFrame(runs, schema=RUNS).write_parquet(folder / "runs.parquet")
    study = {
        "title": name,
        "methods": list(times),
        "baseline": baseline,
        "seeds": list(range(len(times[baseline]))),
        "budget": 1000,
        "target": 0.95,
        "methods_detail": {method: {"optimizer": {"lr": 0.003, "wd": 1.0}} for method in times},
        "command": f"grokkit compare {name} --methods '{','.join(times)}'",
    }
    (folder / "study.json").write_text(json.dumps(study | about))


def write_tables(results):
    """The two files beside the studies."""
    row = {"id": "step", "about": "a step", "plain_ms": 20.0, "ours_ms": 5.0, "ratio": 0.25, "ratio_min": 0.2}
    row |= {"ratio_max": 0.3, "target": 0.2, "rounds": 3, "threads": 2, "note": "", "processor": "P", "torch": "2"}
    (results / "bench.json").write_text(json.dumps([row]))
    (results / "published.json").write_text(
        json.dumps({"paper/task": {"value": 39890, "what": "steps", "source": "x"}})
    )
