"""Somebody's own code on another machine: what has to travel there, and where it is once it has arrived.

What is installed is expected there, and compared. What lies in files of one's own travels, with the folder in which the
command was given and the data beside it; the file's own path then stands for another one there. To Ray the whole is a
module, and not a working directory, which is unpacked anew under the feet of those who work there when another node of
the same machine joins.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from grokkit import files
from grokkit.errors import InputError
from grokkit.outside import own_place
from grokkit.registry import carried
from grokkit.train.config import RunConfig

NAME = "grokkit_luggage"
"""Of the folder with all that travels; where it has arrived, the folder that it is in is on `sys.path`."""

MOST_BYTES = 500 * 2**20
"""Ray sends no larger package to its nodes."""


@dataclass(frozen=True)
class Luggage:
    """What another process needs to find our code.

    Attributes:
        folder: in which the command was given.
        places: folders and files that travel, where each is called by its number here.
        search: the entries of `sys.path` that are among them; all of them where nothing travels.
    """

    folder: str
    places: tuple[str, ...]
    search: tuple[str, ...]

    def arrive(self) -> None:
        """Make this process find the code: where it has travelled to, or else where it is on the machine that sent
        it, which may be this one."""
        if self.folder in files.MOVED:  # a worker has many jobs
            return
        files.MOVED[self.folder] = self.folder
        for arrived in [Path(entry, NAME) for entry in sys.path if Path(entry, NAME).is_dir()][:1]:
            files.MOVED |= {place: str(arrived / str(number)) for number, place in enumerate(self.places)}
        search = [str(files.here(entry)) for entry in self.search]
        sys.path[:] = list(dict.fromkeys([*search, *sys.path]))
        if (folder := files.here(self.folder)).is_dir():
            os.chdir(folder)


def given_parts(runs: Iterable[RunConfig]) -> bytes:
    """What ``runs`` need of the parts that only this process has: by a part's name, or by a setting such as
    ``weak=here:network``."""
    parts = (part for run in runs for part in run.parts())
    texts = (text for part in parts for text in (part.text or part.name, *part.settings.values()))
    return carried(text for text in texts if isinstance(text, str))


def luggage(runs: Sequence[RunConfig], *, travels: bool) -> Luggage:
    """Of the code that ``runs`` need. Nothing has to travel within one machine."""
    folder = Path.cwd()
    search = [str(Path(entry).resolve()) for entry in sys.path]
    if not travels:
        return Luggage(str(folder), (), tuple(search))
    places = list(dict.fromkeys(place for run in runs for place in _places(run)))
    if places or given_parts(runs):
        # The data of a problem often lie beside it, and what a notebook has given may import its neighbours.
        places = [folder, *(place for place in places if not place.is_relative_to(folder))]
    # An environment inside the folder stays here, and is no place to look in there.
    search = [entry for entry in search if any(Path(entry).is_relative_to(place) for place in places)]
    search = [entry for entry in search if "site-packages" not in Path(entry).parts]
    return Luggage(str(folder), tuple(map(str, places)), tuple(search))


def pack(bag: Luggage, to: Path, leave_out: Path, most_bytes: int = MOST_BYTES) -> None:
    """Gather what travels in the new folder ``to``. The study's folder, other studies and searches, virtual
    environments, what begins with a dot, and what a ``.rayignore`` in its folder names is left out.

    Raises:
        InputError: if it is larger than ``most_bytes``.
    """
    sizes: Counter[str] = Counter()
    for number, place in enumerate(map(Path, bag.places)):
        for file in _files(place, leave_out.resolve()):
            inside = file.relative_to(place)
            sizes[str(place.joinpath(*inside.parts[:1]))] += file.stat().st_size
            if sizes.total() > most_bytes:
                raise InputError(
                    f"your code and the data beside it are more than the {most_bytes // 2**20} MiB that Ray sends "
                    f"to other machines ({sizes.most_common(1)[0][0]} is the largest of it); name what to leave "
                    f"out in {bag.folder}/.rayignore, give the command in a smaller folder, or install your code "
                    "as a package on every machine"
                )
            target = to / str(number) / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:  # on another file system, or one without links
                shutil.copy(file, target)


def _places(run: RunConfig) -> Iterator[Path]:
    """The folders and files of somebody's own that the run needs."""
    for part in run.parts():
        if (place := own_place(part.text)) is not None:
            yield place
        for value in part.settings.values():
            if files.content_of(value) != value:  # a file's name, pinned
                yield Path(value.rpartition("@")[0]).resolve()


def _files(place: Path, leave_out: Path) -> Iterator[Path]:
    """All that travels of a folder; a file travels as it is."""
    if place.is_file():
        yield place
        return
    ignored = place / ".rayignore"
    patterns = _patterns(ignored.read_text()) if ignored.is_file() else []
    for folder, folders, names in os.walk(place):
        at = Path(folder)
        if at == leave_out or "pyvenv.cfg" in names or _holds_runs(names, folders):
            folders.clear()
            continue
        inside = at.relative_to(place)
        folders[:] = [name for name in folders if _travels(inside / name, patterns)]
        for name in names:
            if _travels(inside / name, patterns) and (at / name).is_file():
                yield at / name


def _holds_runs(names: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether a folder is that of a study or a search. A file of such a name may also be somebody's own."""
    return not {"study.json", "tune.json"}.isdisjoint(names) and not {"runs", "packs"}.isdisjoint(folders)


def _patterns(text: str) -> list[str]:
    """Those of a ``.rayignore``: one a line, with the blanks within it; a line that begins with # says nothing."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _travels(inside: Path, patterns: Sequence[str]) -> bool:
    if inside.name.startswith(".") or inside.name == "__pycache__":
        return False
    return not any(fnmatch(text, pattern.strip("/")) for pattern in patterns for text in (inside.name, str(inside)))
