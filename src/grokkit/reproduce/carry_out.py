"""Carry a recipe out in its folder: its studies and experiments, then our numbers beside the published ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from inspect import getsourcefile, signature
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from grokkit.analyse.paired import Time
from grokkit.errors import InputError
from grokkit.files import atomic_write, content_of, pinned
from grokkit.lab import Study
from grokkit.report.images import png_of
from grokkit.reproduce import result
from grokkit.reproduce.asked_runs import Asked, carried_out
from grokkit.reproduce.experiments import find_experiment, find_picture
from grokkit.reproduce.judge import kind_of
from grokkit.reproduce.kept import kept, parts_in
from grokkit.reproduce.measures import (
    Measured,
    measured,
    measured_levels,
    measured_ratios,
    measured_share,
    measured_times,
)
from grokkit.reproduce.picture import write_picture
from grokkit.reproduce.recipe import Claim, ExperimentRecipe, Recipe, StudyRecipe
from grokkit.reproduce.shared_runs import take_over
from grokkit.study.store import Store
from grokkit.tasks.table import card_of, read_task
from grokkit.train.record import provenance

Seeds = Mapping[int, Mapping[str, Any]]

_ORIGIN = ("grokkit", "torch", "python", "processor", "device")


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
        jobs, device: as for ``grokkit compare``.
        data_dir: a folder for those of the item's tasks that read data.

    Raises:
        InputError: if the item cannot be run, a run failed, the folder cannot be written to, or another process is at
            work there.
        Stopped: on Ctrl-C.
    """
    if recipe.beyond:
        raise InputError(f"{recipe.name} cannot be run: {recipe.beyond}")
    if recipe.needs and data_dir is None:
        raise InputError(f"{recipe.name} needs {recipe.needs}; name it: --data-dir DIR")
    if data_dir is not None and not reads_data(recipe):
        raise InputError(f"{recipe.name} has nothing that is read from a folder; leave --data-dir out")
    folder = folder_of(recipe, out, quick=quick)
    if not quick:
        console.print(f"{recipe.name}: {recipe.title}. {recipe.takes}")
    # Held from the start, so that hours of an experiment are not measured twice at once, nor for a folder that cannot
    # be written to.
    with Store(folder).lock():
        execution = {"jobs": jobs, "device": device}
        return _reproduce(
            recipe, folder, out, console, quick=quick, seeds=seeds, execution=execution, data_dir=data_dir
        )


def _reproduce(
    recipe: Recipe,
    folder: Path,
    out: Path,
    console: Console,
    *,
    quick: bool,
    seeds: int | None,
    execution: Mapping[str, Any],
    data_dir: str | None,
) -> result.Result:
    origins: list[Mapping[str, str]] = []
    studies = {}
    for name, study in recipe.studies.items():
        arguments = {**study.asked(quick=quick, seeds=seeds), **execution}
        if data_dir is not None and _reads_files(study):
            arguments["data_dir"] = data_dir
        studies[name] = _study(arguments, folder / name, out, console)
    for done in studies.values():
        origins += _of_runs(done.runs)
    experiments: dict[str, Seeds] = {}
    for name, experiment in recipe.experiments.items():
        experiments[name], found_at = _experiment(
            experiment, folder / name, console, execution, quick=quick, seeds=seeds
        )
        origins += found_at
    ours = {place: _measured(claim, studies, experiments) for place, claim in enumerate(recipe.claims)}
    found = result.found(recipe, ours, _where(origins), seeds=seeds, quick=quick)
    stays = result.write(found, folder)
    write_picture(recipe, stays, folder / "beside.png")
    if stays is not found:
        console.print(f"{folder} keeps the result of {stays.of_seeds} seeds, and its picture", soft_wrap=True)
    return found


def reads_data(recipe: Recipe) -> bool:
    """Whether the data of one of its studies may be in a folder that the user names."""
    return any(map(_reads_files, recipe.studies.values()))


def _reads_files(study: StudyRecipe) -> bool:
    return card_of(read_task(study.task)[0]).reads_files


def folder_of(recipe: Recipe, out: Path, *, quick: bool) -> Path:
    """Where an item's runs and result are; a smoke test's are apart."""
    return out / recipe.paper / recipe.item / ("quick" if quick else "")


def _study(arguments: Mapping[str, Any], folder: Path, out: Path, console: Console) -> Asked:
    """What was asked in ``folder``, of which runs that another item below ``out`` has made are taken."""

    def take(run_ids: Sequence[str]) -> None:
        if taken := take_over(run_ids, folder, out):
            console.print(f"runs that another item had made already: {taken}")

    return carried_out(folder=folder, console=console, before=take, **arguments)


def _experiment(
    recipe: ExperimentRecipe,
    folder: Path,
    console: Console,
    execution: Mapping[str, Any],
    *,
    quick: bool,
    seeds: int | None,
) -> tuple[Seeds, list[Mapping[str, str]]]:
    """The experiment's numbers of every seed, and where they were measured; a seed that was measured before, by this
    code with these settings, is read."""
    run = find_experiment(recipe.run)
    settings = {**recipe.settings, **(recipe.quick if quick else {})}
    about = {"run": content_of(pinned(str(getsourcefile(run)))), "settings": settings}
    numbers: dict[int, Mapping[str, Any]] = {}
    origins: list[Mapping[str, str]] = []
    drawn = folder / "picture.png"
    for seed in range(seeds or (1 if quick else recipe.seeds)):
        own = folder / f"seed{seed}"

        def measured(seed: int = seed, own: Path = own) -> dict[str, Any]:
            with console.status(f"{recipe.run}, seed {seed}"):
                found = dict(run(seed, **settings, **_given(run, own, execution, about)))
            drawn.unlink(missing_ok=True)
            console.print(f"{recipe.run}, seed {seed}: " + ", ".join(f"{k} {_short(v)}" for k, v in found.items()))
            return {"numbers": found, "where": _of_experiment(own)}

        found = kept(own.with_suffix(".json"), about, "numbers", measured)
        numbers[seed] = found["numbers"]
        origins += found["where"] if "where" in found else _of_experiment(own)
    if (picture := find_picture(recipe.run)) is not None and not drawn.is_file():
        chart = picture(**settings, **_given(picture, folder / "seed0", execution, about))
        atomic_write(drawn, png_of(chart.to_dict()))
    return numbers, origins


def _given(
    run: Callable[..., Any], folder: Path, execution: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """What an experiment is given of those that it has arguments for: see :mod:`grokkit.reproduce.experiments`."""
    given = {"folder": folder, "how": execution, "part": parts_in(folder, about)}
    return {name: value for name, value in given.items() if name in signature(run).parameters}


def _measured(claim: Claim, studies: Mapping[str, Asked], experiments: Mapping[str, Seeds]) -> Measured:
    if claim.study in studies:
        runs, curves, labels = studies[claim.study]
        beside = None if claim.beside is None else labels[claim.beside]
        return measured(claim.measure, runs, curves, labels[claim.arm], beside)
    of_experiment = experiments[claim.study]
    if claim.beside is not None:
        own, other = (
            {seed: Time(*numbers[name]) for seed, numbers in of_experiment.items()}
            for name in (claim.measure, claim.beside)
        )
        return measured_times(own, other)
    values = [numbers[claim.measure] for numbers in of_experiment.values()]
    of_seeds = {"share": measured_share, "ratio": measured_ratios}.get(kind_of(claim), measured_levels)
    return of_seeds(values)


def _of_runs(runs: pl.DataFrame) -> list[Mapping[str, str]]:
    """Where runs were made, each place once."""
    return [_origin(json.loads(text)) for text in runs["provenance"].unique(maintain_order=True)]


def _of_experiment(folder: Path) -> list[Mapping[str, str]]:
    """Where the studies in an experiment's folder were made; of an experiment without any it is this process."""
    made = [origin for path in sorted(folder.rglob("study.json")) for origin in _of_runs(Study(path.parent).runs)]
    return [origin for place, origin in enumerate(made) if origin not in made[:place]] or [_origin(provenance())]


def _origin(found: Mapping[str, Any]) -> dict[str, str]:
    """What a result names of a provenance, which has no device if it is this process's."""
    return {key: str({"device": "cpu", **found}.get(key, "unknown")) for key in _ORIGIN}


def _where(origins: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Every version, processor and device that something was measured with."""
    return {key: ", ".join(sorted({origin[key] for origin in origins})) for key in _ORIGIN}


def _short(value: float | tuple[float, bool] | None) -> str:
    if isinstance(value, tuple):
        time, arrived = value
        return f"{time:.4g}" if arrived else f"more than {time:.4g}"
    return "none" if value is None else f"{value:.4g}"
