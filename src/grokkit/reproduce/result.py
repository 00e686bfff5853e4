"""What a recipe's run found: a small JSON file, one for an item, kept with the package once it is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.reproduce.judge import Answer, State, judged, state_of
from grokkit.reproduce.measures import Measured, find_measure
from grokkit.reproduce.recipe import Claim, Recipe, StudyRecipe

FILE = "result.json"


class Finding(BaseModel):
    """A claim as its recipe stated it, our number, and the answer."""

    model_config = ConfigDict(extra="forbid")

    claim: Claim
    value: float | None
    low: float | None
    high: float | None
    runs: int
    answer: Answer


class Result(BaseModel):
    """``where``: versions and processors on which it was measured. ``quick``: of the smoke test, which says nothing.
    ``asked``: :func:`question_of` its recipe. ``seeds``: how many were asked of each arm, of its largest part; 0 in a
    result of before this was kept."""

    model_config = ConfigDict(extra="forbid")

    item: str
    findings: list[Finding]
    where: dict[str, str]
    asked: str = ""
    quick: bool = False
    seeds: int = 0

    @property
    def of_seeds(self) -> int:
        """``seeds``, or as many as can be told from its findings, of which one beside another arm counts only those
        that said something."""
        return self.seeds or max((finding.runs for finding in self.findings), default=0)

    @property
    def state(self) -> State:
        return state_of([finding.answer for finding in self.findings])


def question_of(recipe: Recipe) -> str:
    """A hash of what is run and what is measured: what answered another question is no answer."""
    run = {**recipe.studies, **recipe.experiments}
    measures = {claim.measure for claim in recipe.claims if claim.study in recipe.studies}
    content = {
        "run": {name: part.model_dump(exclude={"quick"}) for name, part in run.items()},
        "measures": {name: find_measure(name).about for name in measures},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def found(
    recipe: Recipe, ours: Mapping[int, Measured], where: dict[str, str], *, seeds: int | None, quick: bool
) -> Result:
    """The result of a recipe whose claim number i was measured as ``ours[i]``, with ``seeds`` in place of its own; with
    fewer, and by the ``quick`` smoke test, nothing is decided."""
    findings = []
    for place, claim in enumerate(recipe.claims):
        part = recipe.studies.get(claim.study) or recipe.experiments[claim.study]
        budget = part.budget if isinstance(part, StudyRecipe) else None
        is_enough = not quick and (seeds is None or seeds >= part.seeds)
        answer = judged(claim, ours[place], budget=budget) if is_enough else "undecided"
        findings.append(Finding(claim=claim, **ours[place]._asdict(), answer=answer))
    parts = [*recipe.studies.values(), *recipe.experiments.values()]
    largest = seeds or (1 if quick else max(part.seeds for part in parts))
    return Result(
        item=recipe.name, findings=findings, where=where, asked=question_of(recipe), quick=quick, seeds=largest
    )


def write(result: Result, folder: Path) -> Result:
    """Keep it in ``folder``, but where the same is kept there of more seeds.

    Returns:
        what is kept there now.
    """
    before = _in_folder(folder / FILE)
    if before is not None and _answers(before) == _answers(result) and before.of_seeds > result.of_seeds:
        return before
    atomic_write(folder / FILE, (result.model_dump_json(indent=1) + "\n").encode())
    return result


class Standing(NamedTuple):
    """How an item stands: a state in a word or two, and its result if there is one."""

    word: str
    result: Result | None


def standing(recipe: Recipe, out: Path) -> Standing:
    """Of the result in ``out``, or of the one that comes with the package, if there is none or that is of more seeds:
    a look at one seed, which decides nothing, does not undo what is known.

    A result that was measured for other claims than the recipe has now, or of other runs, counts as none.
    """
    if recipe.beyond:
        return Standing("cannot run", None)
    results = _in_folder(out / recipe.paper / recipe.item / FILE), packaged(recipe)
    if not (known := [read for read in results if read is not None and not read.quick and _is_of(read, recipe)]):
        return Standing("not run", None)
    read = max(known, key=lambda result: result.of_seeds)  # the first of equal ones, which is the reader's own
    return Standing(read.state, read)


def _is_of(read: Result, recipe: Recipe) -> bool:
    return _answers(read) == (recipe.claims, question_of(recipe))


def _answers(read: Result) -> tuple[list[Claim], str]:
    """Which claims, of which runs."""
    return [finding.claim for finding in read.findings], read.asked


def packaged(recipe: Recipe) -> Result | None:
    """The result that comes with the package."""
    file = files("grokkit.reproduce") / "results" / recipe.paper / f"{recipe.item}.json"
    return _parsed(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else None


def _in_folder(path: Path) -> Result | None:
    return _parsed(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else None


def _parsed(text: str, path: str) -> Result:
    try:
        content: Any = json.loads(text)
        return Result.model_validate(content)
    except (ValueError, ValidationError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is damaged ({why}); remove it, and the same command makes it again") from None
