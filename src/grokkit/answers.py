"""What the command says about itself is kept, so that asking again need not load torch, which takes 1.5 s of CPU.

These are help texts and the lists of methods, tasks, suites, models and optimizers. An answer is kept
in the cache folder (:func:`grokkit.files.cache_folder`), one file a question, with a digest of all that it depends on:
every file of this package, and of each that registers a part, by size and time of change, the folders that Python
imports from, hence what is installed there, and the terminal. An answer is given again only under the same digest. What
ends in an error, or warns, is not kept.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from grokkit import __version__
from grokkit.files import keep_text, kept_text
from grokkit.printed import readable, unwritable_in_one_line

_LISTS = {"methods", "tasks", "models", "optimizers", "suites"}
_HELP = {"-h", "--help"}
_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERMINAL_WIDTH", "TTY_COMPATIBLE")


def main() -> None:
    """Run the command; see :func:`grokkit.cli.main`."""
    question = sys.argv[1:]
    if question == ["--version"]:  # which needs neither the lab nor PyTorch
        print(f"grokkit {__version__}")
        return
    if not is_about_itself(question):
        _run()
        return
    name = f"answer-{'-'.join(word.strip('-') for word in question)}.txt"
    about = repr(_depends_on(question))
    if (answer := kept_text(name, about)) is not None:
        _print(answer)
        return
    out, err = _Heard(sys.stdout), _Heard(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):  # pyright: ignore[reportArgumentType]
        try:
            _run()
        except SystemExit as end:
            if not end.code and out.text and not err.text:
                keep_text(name, about, out.text)
            raise


def _run() -> None:
    # It is imported only now, because torch comes with it.
    from grokkit.cli import main as command

    command()


def _print(answer: str) -> None:
    """As the command would: whatever the terminal's encoding lacks, and whoever has stopped to read."""
    with readable(), unwritable_in_one_line():
        sys.stdout.write(answer)
        sys.stdout.flush()


def is_about_itself(question: list[str]) -> bool:
    """Whether the answer to these arguments depends on the program alone.

    >>> [is_about_itself(text.split()) for text in ("compare --help", "methods", "compare mul:97", "card adamw")]
    [True, True, False, False]
    """
    words = [word for word in question if word not in _HELP]
    if len(words) < len(question):
        return len(question) <= 2 and all(word.isidentifier() for word in words)
    return len(question) == 1 and question[0] in _LISTS


def _depends_on(question: list[str]) -> list[object]:
    depends_on: list[object] = [question, Path(sys.argv[0]).name, sys.version]
    depends_on += [os.environ.get(name) for name in _TERMINAL]
    depends_on += [shutil.get_terminal_size(), sys.stdout.isatty(), sys.stdout.encoding]
    for place in [str(Path(__file__).parent), *sorted(_strangers())]:
        for path in sorted(Path(place).rglob("*.py")) if os.path.isdir(place) else [Path(place)]:
            found = path.stat()
            depends_on.append((str(path), found.st_size, found.st_mtime_ns))
    for folder in sys.path:
        with suppress(OSError):
            depends_on.append((folder, os.stat(folder or ".").st_mtime_ns))
    return depends_on


def _strangers() -> set[str]:
    """The folders and files of the packages that register parts. An editable one changes, and no folder of those that
    Python imports from does."""
    points, found = entry_points(), set[str]()
    groups = [group for group in points.groups if group.startswith("grokkit.")]
    for top in {point.module.partition(".")[0] for group in groups for point in points.select(group=group)}:
        with suppress(ImportError, ValueError):  # it is not there, or is no package that can be imported
            spec = find_spec(top)
            if spec is not None and top != "grokkit":
                found.update(spec.submodule_search_locations or filter(None, [spec.origin]))
    return {place for place in found if os.path.exists(place)}


class _Heard:
    """A stream that also keeps what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.text = stream, ""

    def write(self, text: str) -> int:
        self.text += text
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
