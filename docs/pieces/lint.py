"""Measured numbers that stand in a page's prose and not in a generated piece."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pieces.allowed import ALLOWED, NOT_MEASURED, SETTINGS

_COUNT = r"(?:\d+|no|none|one|two|three|four|five|six|seven|eight|nine|ten|all)"

PATTERNS = {
    "a ratio": r"\d×",
    "an interval": r"\[\d[\d.,]*–(?:\d[\d.,]*|∞)\]",
    "a share": r"\d %",
    "a count of runs": rf"\b\d+/\d+\b|\b{_COUNT} (?:runs? )?(?:of|in) (?:the )?{_COUNT}\b",
    "steps": r"\d steps\b|\bmedian\b[^.|]*?\d",
    "a cost": r"\d (?:s|ms|µs|seconds|minutes|hours|MiB|GiB|FLOPs?|GFLOP/s)\b",
    "a comparison": r"\b(?:half|third|quarter|fifth|sixth|seventh|tenth|twice|times) (?:of |as |the |that |its )",
    "a claim": r"\b(?:faster|slower|fewer steps|more steps|beats?|outperforms?)\b",
}
"""What is taken for a measured number, or for a word that follows from one."""

_HIDDEN = re.compile(r"<!--=.*?-->.*?<!--/-->|^```.*?^```|`[^`\n]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """Something in a page that belongs into a generated piece, or into the list of what is allowed."""

    page: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.what} outside a generated piece: {self.text!r}"


def unmarked(page: str, source: str) -> list[Finding]:
    """The findings of one page. Pieces, code and links are left out, and what ALLOWED names for it."""
    if page in NOT_MEASURED:
        return []
    prose = _HIDDEN.sub(_blank, source)
    for text in ALLOWED.get(page, {}):
        prose = prose.replace(text, _blank_text(text))
    for pattern in SETTINGS:
        prose = re.sub(pattern, _blank, prose)
    found = []
    for what, pattern in PATTERNS.items():
        for match in re.finditer(pattern, prose, re.IGNORECASE):
            line = prose.count("\n", 0, match.start()) + 1
            around = source.splitlines()[line - 1]
            start = match.start() - (prose.rfind("\n", 0, match.start()) + 1)
            found.append(Finding(page, line, what, around[max(start - 30, 0) : start + 40].strip()))
    return sorted(found, key=lambda finding: finding.line)


def _blank(match: re.Match[str]) -> str:
    return _blank_text(match.group())


def _blank_text(text: str) -> str:
    """As long, and with as many lines, so that places stay right."""
    return re.sub(r"[^\n]", " ", text)
