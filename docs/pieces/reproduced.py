"""Published items and what we measured of them: from the recipes and results that come with the package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from grokkit.analyse.format import count
from grokkit.reproduce.recipe import PAPERS, all_recipes
from grokkit.reproduce.result import standing
from grokkit.reproduce.show import ours, published, summary

_NO_FOLDER = Path(__file__).resolve().parent / "no-results-of-a-reader"


def reproduced_sum() -> str:
    """How many items are reproduced, in part, and so on, over all papers."""
    return summary([standing(recipe, _NO_FOLDER).word for recipe in all_recipes().values()])


def reproduced_table(paper: str, table_text: Callable[[Sequence[Sequence[str]]], str]) -> str:
    """A row for every claim of a paper's items, in the order of the paper; one for an item that was not run."""
    rows = [["item", "claim", "published", "ours", "runs", "it"]]
    for recipe in all_recipes().values():
        if recipe.paper != paper:
            continue
        name = f"`{recipe.name}` {recipe.title}"
        stands = standing(recipe, _NO_FOLDER)
        if stands.result is None:
            to_come = f"{count(len(recipe.claims), 'claim')}. {recipe.takes}"
            rows.append([name, recipe.beyond or to_come, "", "", "", stands.word])
            continue
        for place, finding in enumerate(stands.result.findings):
            own = name if not place else ""
            said = finding.claim.says, published(finding.claim), ours(finding)
            rows.append([own, *said, str(finding.runs), finding.answer])
    assert paper in PAPERS
    return table_text(rows)
