"""What ``grokkit reproduce`` prints: all items with their state, and one item's numbers beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grokkit.reproduce.recipe import PAPERS, Claim, Recipe
from grokkit.reproduce.result import Finding, Result, standing

WORDS = ("reproduced", "in part", "not reproduced", "undecided", "not run", "cannot run")
"""How an item may stand."""

_BESIDE = 80
"""Columns of the terminal from which on a title stands beside the item, and not below it."""


def print_list(recipes: Sequence[Recipe], out: Path, console: Console) -> None:
    """A line for every item, paper after paper, and how many are reproduced."""
    words: list[str] = []
    for paper, title in PAPERS.items():
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        if console.width >= _BESIDE:
            table.add_column(overflow="fold")
        for recipe in recipes:
            if recipe.paper == paper:
                stands = standing(recipe, out)
                words.append(stands.word)
                about = recipe.title if not recipe.beyond else f"{recipe.title}: {recipe.beyond}"
                state = f"{stands.word}{_count(stands.result)}"
                cells = [state, about] if console.width >= _BESIDE else [f"{state}\n{about}"]
                table.add_row(Text(recipe.name), *map(Text, cells))
        console.print(Text(f"\n{title}", style="bold"))
        console.print(table)
    brief = (recipe for recipe in recipes if not (recipe.beyond or recipe.studies))  # without trainings, of seconds
    one = next(brief, recipes[0])
    console.print(f"\n{summary(words)}\nOne of them: grokkit reproduce {one.name}; all, briefly: --all --quick")


def summary(words: Sequence[str]) -> str:
    """The states counted; "in part" does not count as reproduced."""
    counts = [f"{words.count(word)} {word}" for word in WORDS[1:]]
    told = [count for count in counts if not count.startswith("0 ")]
    return f"{words.count('reproduced')} of {len(words)} reproduced; {', '.join(told)}" if told else "all reproduced"


def print_item(recipe: Recipe, found: Result, folder: Path, console: Console) -> None:
    """Every claim with the published number, ours, and the answer; then what may make them differ."""
    console.print(Text(f"\n{recipe.title} ({recipe.source})", style="bold"))
    console.print(Text(recipe.published))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("claim", "published", "ours", "runs", "answer"):
        table.add_column(name, justify="right" if name in ("published", "ours", "runs") else "left")
    for finding in found.findings:
        table.add_row(
            Text(finding.claim.says),
            Text(published(finding.claim)),
            Text(ours(finding)),
            str(finding.runs),
            finding.answer,
        )
    console.print(table)
    if recipe.note:
        console.print(Text(f"Why ours may differ: {recipe.note}"))
    word = "smoke test, which says nothing" if found.quick else found.state
    console.print(f"\n{recipe.name}: {word}. Runs and result: {folder}", soft_wrap=True, markup=False)


def published(claim: Claim) -> str:
    """The published number, with the side that a claim of direction is on, or the share within which ours has to lie;
    and that the number is ours, where the paper has none."""
    side = {"below": "< ", "above": "> "}.get(claim.holds, "")
    share = "" if claim.tolerance is None else f" ± {number(100 * claim.tolerance)} %"
    return f"{side}{number(claim.published)}{share}{', ours' if claim.bound else ''}"


def ours(finding: Finding) -> str:
    """Our number with its interval, or the bound that is all there is."""
    low, high = finding.low, finding.high
    if finding.value is None:
        return f"≥ {number(low)}" if low is not None else f"≤ {number(high)}" if high is not None else "–"
    if low is None and high is None:
        return number(finding.value)
    return f"{number(finding.value)} [{number(low)}–{number(high)}]"


def number(value: float | None) -> str:
    """Whole numbers from a hundred on with separators, others with three digits; "?" for an open limit."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count(found: Result | None) -> str:
    if found is None:
        return ""
    return f", {sum(finding.answer == 'holds' for finding in found.findings)}/{len(found.findings)}"
