"""Carry a recipe out in its folder: its studies and experiments, then our numbers beside the published ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import getsourcefile, signature
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from grokkit.errors import InputError
from grokkit.files import atomic_write, content_of, pinned
from grokkit.lab import Study
from grokkit.lab.carry_out import carry_out as carry_out_study
from grokkit.lab.carry_out import refuse_failures
from grokkit.report.images import png_of
from grokkit.reproduce import result
from grokkit.reproduce.experiments import find_experiment, find_picture
from grokkit.reproduce.judge import kind_of
from grokkit.reproduce.measures import Measured, measured, measured_levels, measured_share
from grokkit.reproduce.picture import write_picture
from grokkit.reproduce.recipe import Claim, ExperimentRecipe, Recipe, StudyRecipe
from grokkit.study.question import asked
from grokkit.train.record import provenance
from grokkit.train.resolve import method_config

Seeds = Mapping[int, Mapping[str, float | None]]


def reproduce(
    recipe: Recipe,
    out: Path,
    console: Console,
    *,
    quick: bool = False,
    seeds: int | None = None,
    jobs: int | None = None,
    device: str = "auto",
    data_dir: str | None = None,
) -> result.Result:
    """Measure every claim of ``recipe``. The same call again continues where it stopped.

    Args:
        out: what it finds is written to ``out/PAPER/ITEM``: one folder for each study, the result and a picture.
        quick: the smoke test: one seed and a budget too small to arrive, in folders of its own. It says nothing.
        seeds: in place of the recipe's; with fewer nothing is decided.
        jobs, device, data_dir: as for ``grokkit compare``.

    Raises:
        InputError: if the item cannot be run, or a run failed.
        Stopped: on Ctrl-C.
    """
    if recipe.beyond:
        raise InputError(f"{recipe.name} cannot be run: {recipe.beyond}")
    if recipe.needs and data_dir is None:
        raise InputError(f"{recipe.name} needs {recipe.needs}; name it: --data-dir DIR")
    folder = folder_of(recipe, out, quick=quick)
    execution = {"jobs": jobs, "device": device} | ({} if data_dir is None else {"data_dir": data_dir})
    studies = {
        name: _study(study, folder / name, console, execution, quick=quick, seeds=seeds)
        for name, study in recipe.studies.items()
    }
    experiments = {
        name: _experiment(experiment, folder / name, console, quick=quick, seeds=seeds)
        for name, experiment in recipe.experiments.items()
    }
    ours = {place: _measured(claim, studies, experiments) for place, claim in enumerate(recipe.claims)}
    found = result.found(recipe, ours, _where(studies), seeds=seeds, quick=quick)
    result.write(found, folder)
    write_picture(recipe, found, folder / "beside.png")
    return found


def folder_of(recipe: Recipe, out: Path, *, quick: bool) -> Path:
    """Where an item's runs and result are; a smoke test's are apart."""
    return out / recipe.paper / recipe.item / ("quick" if quick else "")


class _Done(NamedTuple):
    """A study with the label of each of the recipe's methods."""

    study: Study
    labels: Mapping[str, str]


def _study(
    recipe: StudyRecipe, folder: Path, console: Console, execution: dict[str, Any], *, quick: bool, seeds: int | None
) -> _Done:
    arguments = recipe.asked(quick=quick, seeds=seeds)
    question, how = asked({"task": arguments.pop("problem"), **arguments, **execution, "out": folder})
    study, failures = carry_out_study(question, how, console=console)
    refuse_failures(failures, folder)
    task = question.of_all_runs()["task"]
    return _Done(study, {text: method_config(text, task.name, task.card.optimizer).label for text in recipe.methods})


def _experiment(recipe: ExperimentRecipe, folder: Path, console: Console, *, quick: bool, seeds: int | None) -> Seeds:
    """The experiment's numbers of every seed; a seed that was measured before, by this code with these settings, is
    read."""
    run = find_experiment(recipe.run)
    settings = {**recipe.settings, **(recipe.quick if quick else {})}
    about = {"run": content_of(pinned(str(getsourcefile(run)))), "settings": settings}
    numbers: dict[int, Mapping[str, float | None]] = {}
    drawn = folder / "picture.png"
    for seed in range(seeds or (1 if quick else recipe.seeds)):
        path = folder / f"seed{seed}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if any(kept.get(name) != value for name, value in about.items()):
            with console.status(f"{recipe.run}, seed {seed}"):
                found = dict(run(seed, **settings, **_place(run, folder / f"seed{seed}")))
            kept = {**about, "numbers": found}
            atomic_write(path, (json.dumps(kept) + "\n").encode())
            drawn.unlink(missing_ok=True)
            console.print(f"{recipe.run}, seed {seed}: " + ", ".join(f"{k} {_short(v)}" for k, v in found.items()))
        numbers[seed] = kept["numbers"]
    if (picture := find_picture(recipe.run)) is not None and not drawn.is_file():
        chart = picture(**settings, **_place(picture, folder / "seed0"))
        atomic_write(drawn, png_of(chart.to_dict()))
    return numbers


def _place(run: Callable[..., Any], folder: Path) -> dict[str, Path]:
    """The folder of an experiment that keeps studies of its own, so that they go on where they stopped."""
    return {"folder": folder} if "folder" in signature(run).parameters else {}


def _measured(claim: Claim, studies: Mapping[str, _Done], experiments: Mapping[str, Seeds]) -> Measured:
    if claim.study in studies:
        study, labels = studies[claim.study]
        beside = None if claim.beside is None else labels[claim.beside]
        return measured(claim.measure, study.runs, study.curves, labels[claim.arm], beside)
    values = [numbers[claim.measure] for numbers in experiments[claim.study].values()]
    return measured_share(values) if kind_of(claim) == "share" else measured_levels(values)


def _where(studies: Mapping[str, _Done]) -> dict[str, str]:
    """Versions of now, and every processor and device on which runs were made."""
    now = provenance()
    processors, devices = {now["processor"]}, set()
    for done in studies.values():
        for text in done.study.runs["provenance"]:
            origin = json.loads(text)
            processors.add(origin["processor"])
            devices.add(origin.get("device", "cpu"))
    kept = {key: str(now[key]) for key in ("grokkit", "torch", "python")}
    return kept | {"processor": ", ".join(sorted(processors)), "device": ", ".join(sorted(devices or {"cpu"}))}


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
