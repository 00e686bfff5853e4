"""What mkdocs does beside its own: pages that lie outside docs/, links among them, notebooks, and markers taken out.

The README is the site's first page, so that there is one text of it. A link to a file that the site does not have, such
as a folder of runs, becomes plain text there; on GitHub it leads to the file.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

# Pages from outside docs/, and what the site calls them.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples/index.md",
}

# On the site a reader chooses light or dark, so that what the screen prefers would be the picture of the wrong one.
_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*'
    r'<img alt="([^"]*)" src="([^"]+)">\s*</picture>'
)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Bring in what lies outside docs/."""
    for path, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        page = _markdown_of(json.loads(path.read_text(encoding="utf-8")))
        files.append(File.generated(config, f"examples/{path.stem}.md", content=page))
    for path in [*sorted((ROOT / "examples").glob("*.py")), ROOT / "CITATION.cff", ROOT / "LICENSE"]:
        files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Take out what marks generated pieces, and let every link lead to a page of the site."""
    uri = page.file.src_uri
    here = next((path for path, its in OUTSIDE.items() if its == uri), None)
    folder = (ROOT / here).parent if here else ROOT / Path("docs" if _is_of_docs(uri) else "") / Path(uri).parent
    found = []
    for number, part in enumerate(re.split(r"(^```.*?^```)", markdown, flags=re.DOTALL | re.MULTILINE)):
        if number % 2 == 0:
            part = re.sub(r"<!--.*?-->", "", part, flags=re.DOTALL)
            part = re.sub(r'(src|srcset)="docs/', r'\1="', part)
            part = _PICTURE.sub(r'<img alt="\2" src="\3#only-light"><img alt="\2" src="\1#only-dark">', part)
            part = _LINK.sub(lambda link: _link(link, folder, uri, files), part)
        found.append(part)
    return "".join(found)


def _is_of_docs(uri: str) -> bool:
    return (ROOT / "docs" / uri).exists()


def _link(link: re.Match[str], folder: Path, uri: str, files: Files) -> str:
    picture, text, target, anchor = link[1], link[2], link[3], link[4] or ""
    if re.match(r"[a-z]+:", target):
        return link[0]
    path = os.path.relpath(os.path.normpath(folder / target), ROOT)
    there = OUTSIDE.get(path, path.removeprefix("docs/"))
    if there.endswith(".ipynb"):
        there = there.removesuffix("ipynb") + "md"
    if files.get_file_from_path(there) is None:
        return text
    return f"{picture}[{text}]({os.path.relpath(there, Path(uri).parent)}{anchor})"


def _markdown_of(notebook: dict[str, Any]) -> str:
    """A notebook as a page: texts, code, and what it printed, tables and pictures included."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![what it drew](data:image/png;base64,{data['image/png'].strip()})"
    text = "".join(output.get("text") or data.get("text/plain") or output.get("traceback") or [])
    lines = text.rstrip().splitlines()
    # A sentence is broken, a table is not.
    folded = [line if "│" in line else textwrap.fill(line, 88, drop_whitespace=False) for line in lines]
    return "\n".join(["```text", *folded, "```"])
