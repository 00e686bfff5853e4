"""How a study's folder grows with its runs, seeds and methods: what finding, reading, analysing and drawing them takes.

    python benchmarks/store_growth.py [FOLDER]     # writes docs/results/store.json; then python docs/build.py
    python benchmarks/store_growth.py --try        # a small one, which writes nothing down

The runs are made and not trained: their curves and tables are drawn by formulas, with the shapes of a run of Grokfast's
decoder on a·b mod 97 that was evaluated 44 times. Each is saved by the function that saves every run. Seconds are of a
process of its own, in which PyTorch and the packages of the lab are loaded already: its processor time, all threads
together, since what else a machine does only ever adds to the clock's, which stand beside them as ``*_clock``. Folders
lie in FOLDER (default the one for temporary files); one that is there already is not made again.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import grokkit.lab.carry_out  # noqa: F401  what a command has loaded before it opens a folder
from grokkit.files import atomic_write
from grokkit.lab.study import Study
from grokkit.report import write as report_write
from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.train.columns import CURVES
from grokkit.train.config import RunConfig
from grokkit.train.events import find_events
from grokkit.train.record import Run, provenance

TARGET = Path(__file__).parent.parent / "docs" / "results" / "store.json"
BUDGET, EVALUATIONS, TENSORS, NUMBERS = 20_000, 44, 29, 97

FOLDERS = ((4, 50), (4, 500), (8, 1250), (40, 250))
"""Methods and seeds of each folder that is measured: 200, 2,000 and twice 10,000 runs."""


def curve(method: int, seed: int, random: np.random.Generator) -> dict[str, list[Any]]:
    """Accuracies that rise as a logistic function of the logarithm of steps; a run in twenty does not arrive."""
    crossing = 4000.0 * 0.93**method * float(np.exp(0.3 * random.standard_normal()))
    if random.random() < 0.05:
        crossing = 40.0 * BUDGET
    steps = np.unique(np.geomspace(10, min(BUDGET, 1.5 * crossing), EVALUATIONS - 1).astype(int))
    steps = np.concatenate([[0], steps])
    late = np.log(np.maximum(steps, 1))
    test = 0.01 + 0.99 / (1 + np.exp(-9 * (late - np.log(0.75 * crossing))))
    train = 0.01 + 0.99 / (1 + np.exp(-9 * (late - np.log(100.0 + seed % 7))))
    columns: dict[str, list[Any]] = {name: random.standard_normal(len(steps)).tolist() for name in CURVES}
    columns |= {"step": steps.tolist(), "certain_step": [0, *steps[:-1].tolist()]}
    columns |= {"train_accuracy": train.tolist(), "test_accuracy": test.tolist()}
    columns |= {"train_loss": (5 - 5 * train).tolist(), "test_loss": (5 - 5 * test).tolist()}
    columns |= {"train_seconds": (0.002 * steps).tolist(), "eval_seconds": (2e-4 * steps).tolist()}
    columns |= {"flops": (2.5e8 * steps).tolist(), "weight_norm": (60 - 20 * test).tolist()}
    columns |= {"weight_entropy": (4e4 - 1e4 * test).tolist(), "gradient_entropy": (300 - 100 * test).tolist()}
    none = [None] * len(steps)
    return columns | {"validation_loss": none, "validation_accuracy": none}


def tables(steps: list[int], random: np.random.Generator) -> dict[str, pl.DataFrame]:
    """What the probes of such a run leave, with noise for numbers."""

    def noise(rows: int, *names: str) -> dict[str, Any]:
        return {name: random.standard_normal(rows) for name in names}

    def frame(per: int, numbered: str, *names: str) -> pl.DataFrame:
        rows = len(steps) * per
        return pl.DataFrame(
            {"step": np.repeat(steps, per), numbered: np.tile(np.arange(per), len(steps)), **noise(rows, *names)}
        )

    circle = frame(NUMBERS - 1, "number", "x", "y").with_columns(frequency=pl.lit(5))
    tensors = frame(TENSORS, "tensor", "weight_entropy", "gradient_entropy", "filtered_gradient_entropy")
    looks = {"step": steps[1:8], "rows": [128] * 7, **noise(7, "train_loss", "test_loss")}
    shares = {name: random.random(7) for name in ("train_accuracy", "test_accuracy")}
    return {
        "circle": circle,
        "pca": frame(NUMBERS, "number", "x", "y").with_columns(explained_x=pl.lit(0.3), explained_y=pl.lit(0.2)),
        "fourier": frame(48, "frequency").with_columns(share=pl.Series(random.random(48 * len(steps)) / 24)),
        "tensors": tensors.with_columns(pl.format("blocks.{}.weight", "tensor").alias("tensor"), gradient_cosine=0.9),
        "ntk": pl.DataFrame({"step": steps, "kernel_distance": random.random(len(steps))}),
        "quick_checks": pl.DataFrame({**looks, **shares}),
    }


def save(store: Store, config: RunConfig, method: int, origin: dict[str, Any]) -> None:
    random = np.random.default_rng([method, config.seed])
    curves = curve(method, config.seed, random)
    steps, shape = curves["step"], {"target": config.target, "sustain": config.sustain}
    run = Run(
        config=config,
        curves=curves,
        tables={},
        kept={},
        outer_steps=0,
        outer_rows=0,
        start_seconds=0.0,
        start_flops=0,
        events=find_events(
            steps, curves["train_accuracy"], curves["test_accuracy"], certain=curves["certain_step"], **shape
        ),
        diverged_at=None,
        steps=steps[-1],
        train_seconds=curves["train_seconds"][-1],
        eval_seconds=curves["eval_seconds"][-1],
        flops=int(curves["flops"][-1]),
        peak_memory_bytes=2**29,
        provenance=origin,
    )
    store.save_run(config.run_id(), run.record(), pl.DataFrame(curves), tables(steps, random))


def make(folder: Path, methods: int, seeds: int) -> None:
    """A study whose runs are all there, each in a folder of its own."""
    arms = ["adamw", *(f"grokfast-ema(lamb={2 + place / 10:g})" for place in range(methods - 1))]
    plan = Question(task="mul:97", methods=arms, seeds=seeds, budget=BUDGET, model="decoder").plan("made, not trained")
    study = {**plan.study, "baseline": "adamw", "primary": None, "claim": "flops", "family": arms, "looks": []}
    store, origin = Store(folder), provenance()
    store.write_study(study)
    places = {label: place for place, label in enumerate(plan.study["methods"])}
    # Nothing here may be lost by a failing disk, so it need not wait for one.
    sync, os.fsync = os.fsync, lambda handle: None
    for config in plan.runs:
        save(store, config, places[config.method.label], origin)
    os.fsync = sync


class Clock:
    """Seconds of the processor and of the clock, by what they were spent on: :meth:`lap` is since the lap before."""

    def __init__(self, who: int) -> None:
        self.found: dict[str, float] = {}
        self._who, self._before = who, (0.0, 0.0)
        self.skip()

    def skip(self) -> None:
        used = resource.getrusage(self._who)
        self._before = used.ru_utime + used.ru_stime, time.perf_counter()

    def lap(self, name: str) -> None:
        processor, clock = self._before
        self.skip()
        self.found |= {name: self._before[0] - processor, f"{name}_clock": self._before[1] - clock}


def measured(folder: Path) -> dict[str, float]:
    """Of the study in ``folder``, whose runs lie in folders of their own."""
    ids, clock = Store(folder).read_study()["run_ids"], Clock(resource.RUSAGE_SELF)
    Store(folder).finished(ids)
    clock.lap("scan_loose")
    with Store(folder).lock():
        Store(folder).compact()
    clock.lap("compact")
    # A process that begins with the folder as it is now knows nothing of it: a fresh Store.
    done = Store(folder).finished(ids)
    clock.lap("scan")
    runs, curves = Store(folder).load(ids)
    clock.lap("load")
    assert len(done) == runs.height == curves.n_unique("run_id") == len(ids)
    del runs, curves
    study = Study(folder)
    _ = study.curves
    clock.skip()
    _ = study.rows, study.verdict
    clock.lap("analysis")
    draw = report_write.images

    def images(*given: Any) -> dict[str, bytes]:
        clock.lap("page")  # which is written by now
        return draw(*given)

    report_write.images = images
    _, failures = study.write()
    clock.lap("pictures")
    assert not failures, failures
    sizes = {"page_bytes": (folder / "report.html").stat().st_size}
    sizes["pictures_count"] = len(list((folder / "figures").glob("*.png")))
    sizes["study_bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    sizes["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return clock.found | sizes


def report_seconds(folder: Path) -> dict[str, float]:
    """Of ``grokkit report``, as a command."""
    clock = Clock(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "grokkit", "report", str(folder)], check=True, stdout=subprocess.DEVNULL)
    clock.lap("report")
    return clock.found


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--measure"]:
        print(json.dumps(measured(Path(arguments[1]))))
        return
    is_trial = arguments == ["--try"]
    place = Path(arguments[0]) if arguments and not is_trial else None
    rows = []
    for methods, seeds in ((3, 4),) if is_trial else FOLDERS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (place or Path(temporary)) / f"s{methods}x{seeds}"
            if not folder.exists():
                make(folder, methods, seeds)
            line = [sys.executable, __file__, "--measure", str(folder)]
            found = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)
            row = {"methods": methods, "seeds": seeds, "runs": methods * seeds, **found, **report_seconds(folder)}
            rows.append(row | {"load_average": os.getloadavg()[0]})
            print(json.dumps(rows[-1]), flush=True)
    if not is_trial:
        origin = provenance()
        about = {**{name: origin[name] for name in ("processor", "torch")}, "cores": os.cpu_count()}
        atomic_write(
            TARGET, (json.dumps({**about, "evaluations": EVALUATIONS, "rows": rows}, indent=1) + "\n").encode()
        )


if __name__ == "__main__":
    main()
