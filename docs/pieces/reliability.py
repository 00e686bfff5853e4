"""What was tried to break the lab, how often, and whether it held: the suites, their counts and a table."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

USAGE = """Run the suites of docs/reliability.md, and write docs/results/reliability.json and the page.

    python docs/reliability.py                  all of them
    python docs/reliability.py data anywhere    those whose names begin so; the others' numbers stay
"""


class Suite(NamedTuple):
    """``name`` for the command; what is ``tried``, what ``held`` means; ``tests``, the beginnings of their ids."""

    name: str
    tried: str
    held: str
    tests: tuple[str, ...]


_DATA, _ANYWHERE = "tests/reliability/test_hostile_data.py", "tests/reliability/test_anywhere.py"
_REFUSED = "one line, status 2, memory bounded"

SUITES = (
    Suite(
        "records-damaged",
        "every file of a small study damaged in every way: cut short, emptied, a bit flipped, another's in its place",
        "named, neither used nor trained over; after what the line says the study is whole again",
        ("tests/study/test_damage.py",),
    ),
    Suite(
        "kills",
        "a study killed at random moments, and the same command given again",
        "every run ends as in a study that nobody disturbed",
        ("tests/study/test_kills.py", "tests/study/test_stopping.py", "tests/study/test_compare.py::test_killed"),
    ),
    Suite(
        "cluster",
        "on real Ray clusters of two and three nodes: workers, nodes, the driver killed, another version, a full store",
        "nothing lost or counted twice, the results those of a local study; or one line",
        ("tests/study/test_ray.py",),
    ),
    Suite(
        "lines",
        "command lines that cannot be meant, by a table and by random values of every option",
        "one line that names the option, status 2, before anything runs",
        ("tests/test_hostile_lines.py",),
    ),
    Suite(
        "labels",
        "labels with percent signs, markup and quotes",
        "the page has its pictures, and no markup of theirs",
        ("tests/report/test_labels.py",),
    ),
    Suite(
        "data-no-file",
        "in the place of a file: a folder, pipe, socket, device, a link in a circle or to nothing, 100 TiB of nothing",
        _REFUSED + ", nothing waits",
        (f"{_DATA}::test_what_is_no_file",),
    ),
    Suite(
        "data-bombs",
        "10 MB that unpack to 10 GiB: `.gz` of one stream and of many, archives of arrays, other packings",
        _REFUSED,
        (f"{_DATA}::test_packed", f"{_DATA}::test_a_header_that", f"{_DATA}::test_archives"),
    ),
    Suite(
        "data-lies",
        "headers that lie in both directions, sizes that are negative or wrap around, no rows, complex or empty arrays",
        _REFUSED,
        tuple(f"{_DATA}::test_{name}" for name in ("images", "labels", "embeddings", "amplifiers")),
    ),
    Suite(
        "data-texts",
        "tables and texts that are no UTF-8, have no end of a row or a quote, hold code, or are too much together",
        _REFUSED,
        tuple(f"{_DATA}::test_{name}" for name in ("tables", "reviews", "the_files_are_good")),
    ),
    Suite(
        "data-bench",
        "`bench --json` on devices, pipes, sockets, folders and links",
        "refused, and what was there is there",
        (f"{_DATA}::test_bench",),
    ),
    Suite(
        "anywhere-encodings",
        "lists, helps, cards, errors and reports in ASCII, Latin-1, cp1252, cp437 and UTF-8",
        "printed in that encoding, no sign lost, no traceback",
        tuple(f"{_ANYWHERE}::test_{name}" for name in ("lists_and", "errors_in", "a_report_in_every", "every_card")),
    ),
    Suite(
        "anywhere-terminals",
        "terminals of 60, 80 and 200 columns, and of kinds that can do little",
        "columns are dropped and none is cut",
        tuple(f"{_ANYWHERE}::test_{name}" for name in ("lists_are_whole", "a_report_is_whole", "terminals_that")),
    ),
    Suite(
        "anywhere-paths",
        "folders called markup, quotes, blanks, a new line, bytes that are no UTF-8, names too long",
        "read and written like any other, or one line",
        tuple(
            f"{_ANYWHERE}::test_{name}"
            for name in ("a_report_in_a_folder", "a_folder_of", "a_name_that", "a_study_in", "data_in")
        ),
    ),
    Suite(
        "anywhere-users",
        "a user without a name, a home that is not there or cannot be written, a study that may only be read",
        "it works, or one line",
        tuple(f"{_ANYWHERE}::test_{name}" for name in ("a_user", "a_variable", "a_home", "a_study_that_may")),
    ),
    Suite(
        "anywhere-pipes",
        "output that nobody reads, that is closed, on a disk that is full",
        "no traceback; what cannot be printed is one line, status 1",
        (f"{_ANYWHERE}::test_output",),
    ),
    Suite(
        "anywhere-full-disk",
        "a disk that is full at the study's, a run's, a checkpoint's or the page's file",
        "one line, status 1; finished runs are kept, and the same command goes on",
        (f"{_ANYWHERE}::test_a_disk",),
    ),
    Suite(
        "anywhere-packages",
        "each package of the extra missing, for the command and for Python",
        "one line before anything runs, which names the extra",
        (f"{_ANYWHERE}::test_the_packages", f"{_ANYWHERE}::test_a_package"),
    ),
    Suite(
        "anywhere-scripts",
        "scripts without a main guard, as a file, a text and from standard input",
        "they work, or the line says what is missing",
        (f"{_ANYWHERE}::test_a_script", f"{_ANYWHERE}::test_code"),
    ),
)


class _Count:
    """A plugin of pytest that counts cases by suite. A test of many says so: ``record_property("tried", 9)``."""

    def __init__(self) -> None:
        self.cases: dict[str, Counter[str]] = {suite.name: Counter() for suite in SUITES}
        self.errors: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        said = dict(report.user_properties)
        number = said.get("tried", said.get("kills", 1))
        for suite in SUITES:
            if report.nodeid.startswith(suite.tests):
                self.cases[suite.name][report.outcome] += number
        if report.outcome == "failed":
            self.errors.append(report.nodeid)


def counted(root: Path, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Run the suites whose names begin with one of ``names``, all if there is none: the cases by outcome."""
    import pytest  # the pages are written without it

    chosen = [suite for suite in SUITES if not names or suite.name.startswith(tuple(names))]
    files = list(dict.fromkeys(test.partition("::")[0] for suite in chosen for test in suite.tests))
    words = {Path(test.rpartition("::")[2]).stem for suite in chosen for test in suite.tests}  # names, or whole files
    there = [name for name in files if (root / name).is_file()]
    only = ["-k", " or ".join(sorted(words))]
    count = _Count()
    os.chdir(root)
    pytest.main(["-q", "-m", "", "-p", "no:cacheprovider", *only, *there], plugins=[count])
    return {suite.name: dict(sorted(count.cases[suite.name].items())) for suite in chosen}


def reliability_table(found: Mapping[str, Mapping[str, int]]) -> str:
    """A row a suite: what was tried, how many cases, in how many it held, by which command."""
    lines = ["| what was tried | it held if | cases | held | `python docs/reliability.py` |", "|---|---|---|---|---|"]
    for suite in SUITES:
        cases = found.get(suite.name, {})
        tried, held = cases.get("passed", 0) + cases.get("failed", 0), cases.get("passed", 0)
        skipped = f" ({cases['skipped']} skipped)" if cases.get("skipped") else ""
        shown = f"{tried:,}{skipped} | {held:,}" if tried else "none yet | –"
        lines.append(f"| {suite.tried} | {suite.held} | {shown} | `{suite.name}` |")
    return "\n".join(lines)


def reliability_sum(found: Mapping[str, Mapping[str, Any]]) -> str:
    """All cases, in words."""
    held = sum(cases.get("passed", 0) for cases in found.values())
    tried = held + sum(cases.get("failed", 0) for cases in found.values())
    return f"{held:,} of {tried:,} cases held"


def main(arguments: list[str], root: Path) -> int:
    """The command; 1 if a case did not hold."""
    from pieces.pages import main as build

    unknown = [name for name in arguments if not any(suite.name.startswith(name) for suite in SUITES)]
    if unknown:
        print(USAGE, file=sys.stderr)
        print(f"there is no suite {unknown[0]}; there are {', '.join(suite.name for suite in SUITES)}", file=sys.stderr)
        return 2
    path = root / "docs" / "results" / "reliability.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = {**before, **counted(root, arguments)}
    ordered = {suite.name: found[suite.name] for suite in SUITES if suite.name in found}
    path.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
    wrong = any(cases.get("failed", 0) for cases in ordered.values())
    return build([], root) or int(wrong)
