"""A recipe: one published figure, table or claim, the studies that measure it again, and what would count as the same.

Each is a file ``recipes/PAPER/ITEM.toml``, written before its first run. It says what is published and where, what is
run in answer, and a list of claims: a published number, the same number as we measure it, and the rule that decides.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from grokkit.errors import InputError, unknown

PAPERS = {
    "grokfast": "Grokfast (arXiv 2405.20233)",
    "neuralgrok": "NeuralGrok (arXiv 2504.17243)",
    "groktransfer": "GrokTransfer (arXiv 2504.13292)",
}

Rule = Literal["interval", "within", "below", "above"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(_Part):
    """A published number and how we measure it.

    Attributes:
        says: the claim as a sentence of the paper's content.
        study: the study or the experiment of the recipe that measures it.
        measure: what is measured there, see :mod:`grokkit.reproduce.measures`; of an experiment one of its numbers.
        arm: the method, one of the study's ``methods`` as written there; left out for an experiment.
        beside: the method that ``arm`` is divided by, seed by seed, or the time of an experiment by which another one
            is; None for the arm's own number.
        published: the paper's number.
        holds: when ours agrees. ``interval``: our 95 % interval holds the published number. ``within``: our value lies
            within the share ``tolerance`` of it. ``below``, ``above``: our whole interval lies on that side of it,
            for claims of direction.
        tolerance: the share, for ``within`` only.
        bound: the number is ours, drawn for what the paper says in words or shows in a picture.
        within_steps: that something never happened was published of runs so long; shorter ones do not show it.
        kind: of an experiment's number, ``level``, ``ratio`` where it is one number over another, ``share`` where a
            seed has it or has it not, or ``time``, which stands beside another.
    """

    says: str
    study: str = "main"
    measure: str = "first steps"
    arm: str = ""
    beside: str | None = None
    published: float
    holds: Rule = "interval"
    tolerance: float | None = Field(None, gt=0)
    bound: bool = False
    within_steps: int | None = Field(None, ge=1)
    kind: Literal["level", "ratio", "share", "time"] = "level"

    @model_validator(mode="after")
    def _a_tolerance_where_one_is_needed(self) -> Claim:
        if (self.tolerance is not None) != (self.holds == "within"):
            raise ValueError("tolerance= belongs to holds='within', and to nothing else")
        return self


class Quick(_Part):
    """What is other in the smoke test: minutes, and no word on the claims."""

    budget: Annotated[int, Field(ge=1)] | None = None
    options: dict[str, Any] = {}


class StudyRecipe(_Part):
    """A study: what ``grokkit compare`` is asked. ``options`` are its other options, by name."""

    task: str
    methods: list[str]
    seeds: int = 5
    budget: int
    options: dict[str, Any] = {}
    quick: Quick = Quick()

    def asked(self, *, quick: bool, seeds: int | None) -> dict[str, Any]:
        """Arguments of :func:`grokkit.reproduce.asked_runs.carried_out`."""
        budget = self.quick.budget or min(self.budget, 60) if quick else self.budget
        number = seeds or (1 if quick else self.seeds)
        options = {**self.options, **(self.quick.options if quick else {})}
        return {"task": self.task, "methods": self.methods, "seeds": number, "budget": budget, **options}


class ExperimentRecipe(_Part):
    """A measurement that is no comparison of trainings: a function of :mod:`grokkit.reproduce.experiments`."""

    run: str
    seeds: int = 5
    settings: dict[str, Any] = {}
    quick: dict[str, Any] = {}


class Recipe(_Part):
    """One item of a paper.

    Attributes:
        paper, item: its name is ``paper:item``.
        title: what the figure or table shows.
        published: what it says, in our words, and under what setting.
        source: where in the paper.
        cpu: what of it a processor can do, and ``gpu`` what takes a GPU.
        beyond: the reason why it cannot be run by anybody here, e.g. a file that nobody publishes; then nothing is run.
        needs: what somebody has to have for it, beside the package: data in a folder, named by ``--data-dir``.
        note: why ours may differ.
    """

    paper: str
    item: str
    title: str
    published: str
    source: str
    cpu: str = "all of it"
    gpu: str = ""
    beyond: str = ""
    needs: str = ""
    note: str = ""
    studies: dict[str, StudyRecipe] = {}
    experiments: dict[str, ExperimentRecipe] = {}
    claims: list[Claim] = []

    @property
    def name(self) -> str:
        return f"{self.paper}:{self.item}"

    @property
    def takes(self) -> str:
        """What a CPU can do of it, and what a GPU."""
        return f"On a CPU: {self.cpu}{f'; on a GPU: {self.gpu}' if self.gpu else ''}"

    @model_validator(mode="after")
    def _every_claim_has_its_study(self) -> Recipe:
        known = {*self.studies, *self.experiments}
        if bool(self.beyond) == bool(self.claims):
            raise ValueError("a recipe has claims, or says in beyond= why it can have none")
        for claim in self.claims:
            if claim.study not in known:
                raise ValueError(f"a claim is measured in {claim.study!r}, and the recipe has {sorted(known)}")
            if claim.study in self.experiments:
                if (claim.kind == "time") != (claim.beside is not None) or claim.arm:
                    raise ValueError("a claim on an experiment has no arm, and a time, and no other, stands beside one")
                continue
            arms, methods = {claim.arm, claim.beside} - {None, ""}, self.studies[claim.study].methods
            if strange := arms - {*methods}:
                raise ValueError(f"a claim is about {sorted(map(str, strange))}, and {claim.study!r} has {[*methods]}")
        return self


@cache
def all_recipes() -> Mapping[str, Recipe]:
    """Every recipe by its name, paper after paper, in the order of the papers, and after a paper what others asked."""
    found: dict[str, Recipe] = {}
    for paper in PAPERS:
        folder = files("grokkit.reproduce") / "recipes" / paper
        texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
        recipes = [parse(paper, name[:-5], text) for name, text in texts.items() if name.endswith(".toml")]
        found |= {recipe.name: recipe for recipe in sorted(recipes, key=_place)}
    return found


def _place(recipe: Recipe) -> tuple[bool, float, str, list[tuple[int, str]]]:
    """Where in its paper an item stands: at the first figure that its source names, or else the first table, and after
    all of those if it names none; last, if its source is another one than the paper."""
    arxiv = PAPERS[recipe.paper].partition("(")[2].rstrip(")")
    named = re.search(r"Figures? (\d+)([a-z]?)", recipe.source) or re.search(r"Table (\d+)()", recipe.source)
    number, letter = (int(named[1]), named[2]) if named else (math.inf, "")
    return not recipe.source.startswith(arxiv), number, letter, _natural(recipe.item)


def find_recipe(name: str) -> Recipe:
    """The recipe called ``name``, e.g. ``grokfast:fig-4``.

    Raises:
        InputError: if there is none.
    """
    recipes = all_recipes()
    if name not in recipes:
        raise unknown("item", name, recipes, listed_by="grokkit reproduce")
    return recipes[name]


def parse(paper: str, item: str, text: str) -> Recipe:
    """A recipe from its file's text.

    Raises:
        InputError: if it is not one.
    """
    try:
        return Recipe(paper=paper, item=item, **tomllib.loads(text))
    except (ValidationError, tomllib.TOMLDecodeError, TypeError) as error:
        raise InputError(f"the recipe {paper}:{item} is not one: {' '.join(str(error).split())}") from None


def _natural(name: str) -> list[tuple[int, str]]:
    """``fig-4`` before ``fig-10``: a number counts as one, and text as text."""
    words: list[tuple[int, str]] = []
    for word in name.replace(".", "-").split("-"):
        words.append((int(word), "") if word.isdecimal() else (0, word))
    return words
