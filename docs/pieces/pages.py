"""All pages: rewritten from docs/results, or compared with it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pieces.growth import growth_picture
from pieces.hero import SCHEMES, STUDY, hero_picture
from pieces.inline import Inline
from pieces.lint import Finding, unmarked
from pieces.markers import Difference, PageError, rebuilt
from pieces.studies import Results
from pieces.tables import Blocks

USAGE = """Write the generated pieces of README.md and docs/*.md from docs/results.

    python docs/build.py             rewrite the pages
    python docs/build.py --check     change nothing; say what differs
"""


def pages(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


@dataclass
class Report:
    """What differs, measured numbers outside pieces, and what is wrong with pieces."""

    differences: list[Difference]
    findings: list[Finding]
    errors: list[str]


def build(root: Path, *, write: bool) -> Report:
    """Rewrite all pages of ``root``, or only look. Where some piece is wrong nothing is written."""
    results = Results(root / "docs" / "results")
    blocks = Blocks(results).table()
    report = Report([], [], [])
    changed: dict[Path, str] = {}
    for path in pages(root):
        name, source = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        new = rebuilt(name, source, Inline(results, path).table(), blocks)
        if new.differences:
            changed[path] = new.text
        report.differences += new.differences
        report.errors += new.errors
        report.findings += unmarked(name, new.text)
    # Pictures are no pieces of a page, but they must be of the same numbers as the tables beside them.
    for picture, drawn in _pictures(results).items():
        is_new = not picture.exists() or picture.read_text(encoding="utf-8") != drawn
        if is_new:
            name = str(picture.relative_to(root))
            report.differences.append(Difference(name, 1, "another picture", "that of the committed numbers"))
        if is_new and write:
            picture.write_text(drawn, encoding="utf-8")
    if write and not report.errors:
        for path, text in changed.items():
            path.write_text(text, encoding="utf-8")
    return report


def _pictures(results: Results) -> dict[Path, str]:
    """What the committed pictures should be, by their paths."""
    found: dict[Path, str] = {}
    if (results.root / "growth.json").exists():
        found[results.root / "growth.svg"] = growth_picture(results.growth)
    if (results.root / STUDY / "curves.parquet").exists():
        for scheme in SCHEMES:
            found[results.root / STUDY / f"first-look-{scheme}.svg"] = hero_picture(results.study(STUDY), scheme)
    return found


def main(arguments: list[str], root: Path) -> int:
    """The command; 1 if with --check something differs, and in any case if a piece is wrong or a number outside one."""
    if arguments not in ([], ["--check"]):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        report = build(root, write=not arguments)
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in [*report.errors, *report.findings]:
        print(problem, file=sys.stderr)
    wrong = bool(report.errors or report.findings)
    if arguments:
        for difference in report.differences:
            print(difference)
        return 1 if wrong or report.differences else 0
    print("nothing written" if report.errors else f"{len(report.differences)} pieces rewritten")
    return 1 if wrong else 0
