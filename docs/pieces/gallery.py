"""The gallery: the report's page of committed studies, and a picture of each, for the site.

``docs/gallery.md`` says which, by ``<!-- page: NAME shows FIGURE: what it is -->`` below the command of a study; no
list is kept elsewhere. As a hook of mkdocs, before site.py, which takes comments out, this puts them there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE, MADE = ROOT / "docs" / "gallery.md", ROOT / "out" / "gallery"

MARK = re.compile(r"<!-- page: (\S+) shows (\S+): (.*?) -->")
NOT_COMMITTED = {"norms-and-entropy"}  # the figures whose columns of the curves are not


def make() -> int:
    """Write the pages and pictures that the gallery names."""
    import polars as pl

    from grokkit.analyse import verdict
    from grokkit.files import atomic_write
    from grokkit.report import View, all_figures
    from grokkit.report.figure import completed
    from grokkit.report.images import images
    from grokkit.report.page import build_page
    from grokkit.study.records import CURVES
    from pieces.studies import Results

    results = Results(ROOT / "docs" / "results")
    figures = [figure for figure in all_figures() if figure.name not in NOT_COMMITTED]
    for name, shown, _ in MARK.findall(PAGE.read_text(encoding="utf-8")):
        study, failures = results.study(name), {}
        assert study.curves is not None, f"{name} has no curves"
        curves = pl.concat([pl.DataFrame(schema=CURVES), study.curves], how="diagonal")
        tables, rows = completed(figures, {}), list(study.board().values())
        views = [View(study.about, study.runs, curves, tables, target) for target in ("page", "image")]
        page = build_page(figures, views[0], rows, verdict(rows, study.about), failures)
        atomic_write(MADE / name / "report.html", page.encode())
        picture = images([figure for figure in figures if figure.name == shown], views[1], failures)
        assert not failures, f"{name}: {failures}"
        atomic_write(MADE / name / "picture.png", picture[f"{shown}.png"])
        print(f"gallery: {MADE / name / 'report.html'}")
    return 0


def on_files(files: Any, config: Any) -> Any:
    """Bring in what was made."""
    from mkdocs.structure.files import File

    for path in [*MADE.glob("**/report.html"), *MADE.glob("**/picture.png")]:
        uri = f"gallery/{path.relative_to(MADE).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A picture that leads to its page in the place of each mark; of a page that was not made, nothing."""

    def picture(found: re.Match[str]) -> str:
        there = f"gallery/{found[1]}"
        if files.get_file_from_path(f"{there}/report.html") is None:
            return ""
        image = f'<img src="{there}/picture.png" alt="{found[3]}" width="640" loading="lazy">'
        return f'<a href="{there}/report.html">{image}<br>Open the page</a>'

    return MARK.sub(picture, markdown) if page.file.src_uri == PAGE.name else markdown
