"""All pages: rewritten from docs/results, or compared with it."""

from __future__ import annotations

import sys
from pathlib import Path

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


def build(root: Path, *, write: bool) -> tuple[list[Difference], list[Finding]]:
    """Rewrite all pages of ``root`` (or only look); returns what differs, and the measured numbers outside pieces."""
    results = Results(root / "docs" / "results")
    blocks = Blocks(results).table()
    differences: list[Difference] = []
    findings: list[Finding] = []
    for path in pages(root):
        name, source = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        new, changed = rebuilt(name, source, Inline(results, path).table(), blocks)
        if write and changed:
            path.write_text(new, encoding="utf-8")
        differences += changed
        findings += unmarked(name, new)
    return differences, findings


def main(arguments: list[str], root: Path) -> int:
    """The command; 1 if with --check something differs, and in any case if a measured number stands outside a piece."""
    if arguments not in ([], ["--check"]):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        differences, findings = build(root, write=not arguments)
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    for finding in findings:
        print(finding)
    if not arguments:
        print(f"{len(differences)} pieces rewritten")
        return 1 if findings else 0
    for difference in differences:
        print(difference)
    return 1 if differences or findings else 0
