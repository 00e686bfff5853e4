"""Published items and what we measured of them: from the recipes and results that come with the package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from grokkit.analyse.format import count, listed
from grokkit.reproduce.recipe import PAPERS, Recipe, all_recipes
from grokkit.reproduce.result import Result, standing
from grokkit.reproduce.show import WORDS, ours, published, summary

_NO_FOLDER = Path(__file__).resolve().parent / "no-results-of-a-reader"

TableText = Callable[[Sequence[Sequence[str]]], str]


def reproduced_sum(*papers: str) -> str:
    """How many items are reproduced, in part, and so on, of these papers, or of all."""
    return summary(_words(papers or tuple(PAPERS)))


def reproduced_sums(table_text: TableText) -> str:
    """The same as a table, a row for each paper, which leads to its page."""
    rows = [["", "items", *WORDS]]
    for paper, title in PAPERS.items():
        rows.append([f"[{title}](reproduced-{paper}.md)", *_counts([paper])])
    rows.append(["**all**", *_counts(list(PAPERS))])
    return table_text(rows)


def reproduced_items(paper: str, table_text: TableText) -> str:
    """A section for every item of a paper, in the order of the paper."""
    assert paper in PAPERS
    return "\n\n".join(_section(recipe, table_text) for recipe in _of(paper))


def _experiments(recipe: Recipe) -> list[str]:
    """Each experiment once, with the names of its settings where there are several."""
    named: dict[tuple[str, int], list[str]] = {}
    for name, one in recipe.experiments.items():
        named.setdefault((one.run, one.seeds), []).append(name)
    return [
        f"the experiment `{run}`, {count(seeds, 'seed')}"
        + (f" of each of {count(len(names), 'setting')}: {listed(names)}" if len(names) > 1 else "")
        for (run, seeds), names in named.items()
    ]


def _section(recipe: Recipe, table_text: TableText) -> str:
    stands = standing(recipe, _NO_FOLDER)
    lines = [f"### {recipe.title}", f"**{stands.word}** · `{recipe.name}` · {recipe.source}", recipe.published]
    if recipe.beyond:
        return "\n\n".join([*lines, f"Cannot run: {recipe.beyond}."])
    run = [
        f"`{study.task}`, {count(len(study.methods), 'method')} × {count(study.seeds, 'seed')}, up to "
        f"{count(study.budget, 'step')}"
        for study in recipe.studies.values()
    ]
    run += _experiments(recipe)
    lines.append(f"{'Run in answer' if stands.result else 'To be run'}: {'; '.join(run)}. {recipe.takes}.")
    if stands.result is not None:
        lines.append(_table(stands.result, table_text))
    if recipe.note:
        lines.append(f"{'Note' if stands.word in ('reproduced', 'not run') else 'Why ours may differ'}: {recipe.note}")
    return "\n\n".join(lines)


def _table(result: Result, table_text: TableText) -> str:
    rows = [["claim", "published", "ours", "runs", "it"]]
    for finding in result.findings:
        rows.append([finding.claim.says, published(finding.claim), ours(finding), str(finding.runs), finding.answer])
    return table_text(rows)


def _counts(papers: Sequence[str]) -> list[str]:
    """How many items there are, and how many of them stand in each way."""
    words = _words(papers)
    return [str(len(words)), *(str(words.count(word)) for word in WORDS)]


def _words(papers: Sequence[str]) -> list[str]:
    return [standing(recipe, _NO_FOLDER).word for paper in papers for recipe in _of(paper)]


def _of(paper: str) -> list[Recipe]:
    return [recipe for recipe in all_recipes().values() if recipe.paper == paper]
