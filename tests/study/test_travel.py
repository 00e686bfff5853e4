"""What of somebody's own code travels to another machine, and how it is found there."""

import subprocess
import sys
from pathlib import Path

import pytest

from grokkit.errors import InputError
from grokkit.files import pinned
from grokkit.study.question import Question
from grokkit.study.travel import NAME, luggage, pack

METHOD = """
from grokkit import MethodCard
CARD = MethodCard(name="mine", base={"optimizer": "sgd", "lr": 0.1})
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    folder = tmp_path / "theirs"
    for path in ("sub/mine.py", ".venv/lib/x.py", "env/pyvenv.cfg", "env/lib/y.py", ".git/z", "__pycache__/mine.pyc"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(METHOD)
    for path in ("data/rows.csv", "out/a/study.json", "out/a/runs/r/run.json", "fresh/runs/r/run.json", "logs/big.log"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("{}")
    monkeypatch.chdir(folder)
    return folder


def runs_of(method):
    return Question(task="add:11", methods=[method], seeds=1, budget=20).plan().runs


def packed(bag, to, leave_out=Path("fresh"), **limit):
    there = to / "arrived" / NAME
    pack(bag, there, leave_out, **limit)
    return {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}


def test_nothing_of_ours_travels(theirs):
    assert luggage(runs_of("grokfast-ema"), travels=True).places == ()


def test_the_folder_travels_without_studies_environments_and_what_is_hidden(theirs, tmp_path):
    bag = luggage(runs_of("sub/mine.py:CARD"), travels=True)
    assert bag.places == (str(theirs),)
    assert packed(bag, tmp_path) == {"0/sub/mine.py", "0/data/rows.csv", "0/logs/big.log"}


def test_a_rayignore_leaves_more_out(theirs, tmp_path):
    (theirs / ".rayignore").write_text("logs/\n*.csv\n")
    assert packed(luggage(runs_of("sub/mine.py:CARD"), travels=True), tmp_path) == {"0/sub/mine.py"}


def test_a_rayignore_has_a_pattern_a_line_and_lines_that_say_nothing(theirs, tmp_path):
    (theirs / "data sub").mkdir()
    (theirs / "data sub" / "large.bin").write_text("x")
    (theirs / ".rayignore").write_text("# large data and sub folders\n\ndata sub\n  logs/  \n")
    bag = luggage(runs_of("sub/mine.py:CARD"), travels=True)
    assert packed(bag, tmp_path) == {"0/sub/mine.py", "0/data/rows.csv"}


def test_a_search_stays_as_a_study_does_and_a_file_of_ones_own_that_is_called_so_travels(theirs, tmp_path):
    for path in ("out/tuned/tune.json", "out/tuned/runs/r/run.json", "out/large/study.json", "out/large/packs/p/x"):
        (theirs / path).parent.mkdir(parents=True, exist_ok=True)
        (theirs / path).write_text("{}")
    (theirs / "study.json").write_text("{}")
    found = packed(luggage(runs_of("sub/mine.py:CARD"), travels=True), tmp_path)
    assert found == {"0/study.json", "0/sub/mine.py", "0/data/rows.csv", "0/logs/big.log"}


def test_a_file_elsewhere_travels_with_its_folder(theirs, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.py").write_text(METHOD)
    bag = luggage(runs_of("../elsewhere/other.py:CARD"), travels=True)
    assert bag.places == (str(theirs), str(tmp_path / "elsewhere"))
    assert "1/other.py" in packed(bag, tmp_path)


def test_within_one_machine_nothing_travels(theirs):
    assert luggage(runs_of("sub/mine.py:CARD"), travels=False).places == ()


def test_what_is_too_large_is_refused_with_the_remedy(theirs, tmp_path):
    (theirs / "data" / "rows.bin").write_bytes(bytes(1000))
    bag = luggage(runs_of("sub/mine.py:CARD"), travels=True)
    with pytest.raises(
        InputError, match=r"data is the largest of it\); name what to leave out in .*\.rayignore"
    ) as why:
        packed(bag, tmp_path, most_bytes=500)
    assert "\n" not in str(why.value)


def test_where_it_has_arrived_the_file_is_found_by_the_path_that_it_had(theirs, tmp_path):
    (run,) = runs_of("sub/mine.py:CARD")
    bag = luggage([run], travels=True)
    packed(bag, tmp_path)
    there = tmp_path / "gone"
    theirs.rename(there)  # as on another machine
    script = f"""
import os, sys
sys.path.append({str(tmp_path / "arrived")!r})
from grokkit.study.travel import Luggage
from grokkit.train.config import RunConfig
{bag!r}.arrive()
run = RunConfig(**{run.model_dump()!r})
print(run.method.cards[0].name, run.run_id(), os.getcwd())
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["mine", run.run_id(), str(tmp_path / "arrived" / NAME / "0")]


def test_a_file_that_a_setting_names_travels_alone(theirs, tmp_path):
    amplifier = tmp_path / "elsewhere" / "amplifier.npz"
    amplifier.parent.mkdir()
    amplifier.write_bytes(b"numbers")
    (run,) = runs_of("sub/mine.py:CARD")
    part = run.method.parts[0].model_copy(update={"settings": {"amplifier": pinned(str(amplifier))}})
    run = run.model_copy(update={"method": run.method.model_copy(update={"parts": (part,)})})
    bag = luggage([run], travels=True)
    assert bag.places == (str(theirs), str(amplifier))
    assert "1" in packed(bag, tmp_path)
    assert (tmp_path / "arrived" / NAME / "1").read_bytes() == b"numbers"
