"""The command in surroundings that its makers do not have: other encodings, terminals, users, paths and pipes."""

import io
import math
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import tomllib
import unicodedata
from pathlib import Path

import pytest

import grokkit.printed  # noqa: F401
from grokkit.extras import LAB
from grokkit.progress import Progress
from grokkit.registry import parts
from grokkit.study.plan import make_plan
from grokkit.study.pool import Event
from grokkit.terminal import terminal
from grokkit.train.resolve import model_config, task_config

TINY = ["add:5", "--model", "fnn(width=8)", "--methods", "adamw,grokfast-ema", "--seeds", "2", "--budget", "60"]

COMMANDS = {
    **{name: [name] for name in ("methods", "models", "optimizers", "tasks")},
    **{f"{name} --help": [name, "--help"] for name in ("compare", "report", "bench", "check", "card", "cite")},
    "--help": ["--help"],
    **{f"card {name}": ["card", name] for name in ("grokfast-ema", "neuralgrok", "groktransfer", "adamw")},
    "cite": ["cite", "neuralgrok"],
}
REFUSED = {
    "a task": ["compare", "mült:97"],
    "a setting": ["compare", "mul:7", "--methods", "grokfast-ema(λ=1)"],
    "a folder": ["report", "ö × ∞"],
    "a card": ["card", "漢字"],
}
ENCODINGS = ["ascii", "latin-1", "cp1252", "cp437", "utf-8"]


@pytest.fixture(scope="session")
def study(commands, tmp_path_factory):
    """A small study that is finished, to be copied."""
    folder = tmp_path_factory.mktemp("study")
    ended = commands("compare", *TINY, "--out", "out", cwd=folder, seconds=600)
    assert ended.status == 0, ended
    return folder / "out"


@pytest.fixture
def anybody(tmp_path_factory):
    """A folder in which every user may write, and which every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", COMMANDS)
def test_lists_and_helps_in_every_encoding(grokkit, command, encoding):
    ended = grokkit(*COMMANDS[command], encoding=encoding)
    assert (ended.status, ended.err) == (0, "")
    shown = ended.out.encode("latin-1").decode(encoding)
    assert "\\u" not in shown
    assert "\ufffd" not in shown
    assert len(shown) > 100


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", REFUSED)
def test_errors_in_every_encoding(grokkit, command, encoding):
    ended = grokkit(*REFUSED[command], encoding=encoding)
    assert (ended.status, ended.out) == (2, "")
    assert "Traceback" not in ended.err
    ended.err.encode("latin-1").decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_report_in_every_encoding(grokkit, study, encoding):
    shutil.copytree(study, grokkit.folder / "out")
    ended = grokkit("report", "out", encoding=encoding)
    assert (ended.status, ended.err) == (0, "")
    shown = ended.out.encode("latin-1").decode(encoding)
    assert "report: out/report.html" in shown
    assert "\\u" not in shown


def test_every_card_can_be_written_in_ascii():
    """No sign of a card ends as a number in a code chart; ``grokkit.printed`` registers how signs are written."""
    for kind in ("methods", "models", "tasks"):
        for part in parts(kind).values():
            text = " ".join(
                str(getattr(part.value, name, "")) for name in ("summary", "equations", "cost", "departures")
            )
            assert "\\" not in text.encode("ascii", "grokkit").decode().replace("\\n", "")


def test_every_greek_sign_can_be_written_in_ascii():
    greek = [sign for sign in map(chr, range(0x370, 0x400)) if unicodedata.name(sign, "")]
    for sign in greek:
        sign.encode("ascii", "grokkit")
    assert "ϑ, ϕ, λόγος".encode("ascii", "grokkit") == b"theta, phi, lambdaomicrongammaomicronsigma"


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_lists_are_whole_on_a_terminal_of_any_width(grokkit, command, columns):
    ended = grokkit(*COMMANDS[command], columns=columns, environment={"TERM": "xterm", "COLUMNS": None})
    assert (ended.status, ended.err) == (0, "")
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", ended.out.encode("latin-1").decode())
    assert not re.search(r"\w…", plain), "a word is cut"
    if "help" not in command and command != "cite":
        table = plain.split("\n\n")[command.startswith("card")]  # sentences are the terminal's to wrap
        assert max(len(line.rstrip()) for line in table.splitlines()) <= columns


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_report_is_whole_on_a_terminal_of_any_width(grokkit, study, columns):
    shutil.copytree(study, grokkit.folder / "out")
    ended = grokkit("report", "out", columns=columns, environment={"TERM": "xterm", "COLUMNS": None})
    assert ended.status == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", ended.out.encode("latin-1").decode())
    assert "…" not in plain.partition("report:")[0].replace("drawing the report…", "")
    assert "grokfast-ema" in plain
    assert "baseline" in plain


@pytest.mark.parametrize("tasks", [["add:5"], ["add:5", "a*b + c*d - e mod 3"]])
@pytest.mark.parametrize("columns", [60, 70, 80, 90, 200])
def test_the_view_of_runs_is_whole_on_a_terminal_of_any_width(columns, tasks):
    methods = ["adamw", "grokfast-ema(alpha=0.98,lamb=2,wd=0.01)"]
    runs = []
    for task in tasks:
        shared = {"task": task_config(task), "model": model_config("fnn"), "budget": 100_000, "batch_size": None}
        runs += make_plan(methods=methods, seeds=2, baseline=None, command="", **shared).runs
    console = terminal(file=io.StringIO(), width=columns)
    progress = Progress(console, runs, set(), 2)
    first = runs[0].run_id()
    progress.on_event(Event("started", first))
    seen = {"step": 99_990, "train_accuracy": 1.0, "test_accuracy": 1.0}
    progress.on_event(Event("progress", first, seen))
    console.print(progress._picture())
    lines = console.file.getvalue().splitlines()
    several = len(tasks) > 1 and columns >= 70
    free = columns - 18 * several
    heads = ["run", *["task"] * several, "seed", "step", "test", "time"]
    heads[-3:-3] = ["of budget"] * (free >= 84)
    heads[-2:-2] = ["train"] * (free >= 68)
    assert re.split("  +", lines[0].strip()) == heads
    row = next(line for line in lines if line.startswith("adamw"))
    assert "99,990" in row
    assert "100%" in row
    assert ("a + b mod 5" in row) is several
    assert max(map(len, lines)) <= columns
    named = re.sub(r"wd=0.01\)|a\*b.*?…", "", "".join(lines))
    assert not re.search("…(?! )", named), "only a method's name and a task's may be cut"


@pytest.mark.parametrize("term", ["dumb", "", "vt52", "no-such-terminal"])
def test_terminals_that_can_do_little(grokkit, study, term):
    shutil.copytree(study, grokkit.folder / "out")
    for args in (["methods"], ["report", "out"]):
        ended = grokkit(*args, columns=80, environment={"TERM": term, "COLUMNS": None})
        assert ended.status == 0
        assert "Traceback" not in ended.out
        if term == "dumb":
            assert "\x1b" not in ended.out


NAMES = {
    "markup": "[bold]out[/bold]",
    "markup that closes nothing": "[/]",
    "a link": "[link=x]",
    "a sign by its name": ":smiley:",
    "blanks": " a  b ",
    "quotes": "'a\"b`",
    "a new line": "a\nb",
    "a sequence for the terminal": "a\x1b[31mb",
    "no UTF-8": os.fsdecode(b"\xff\xfe"),
    "another script": "漢字 é",
    "what a shell reads": "$HOME;*?&|<>",
    "what looks like an option": "./-rf",
    "percent": "100 %(s)s {} %d",
    "the longest there can be": "x" * 255,
}
# A report takes two seconds; a few kinds of names are enough for every day.
OFTEN = ("markup", "a new line", "no UTF-8", "what looks like an option")
SOME_OFTEN = [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.long) for name in NAMES]


@pytest.mark.parametrize("name", SOME_OFTEN)
def test_a_report_in_a_folder_of_any_name(grokkit, study, name):
    shutil.copytree(study, grokkit.folder / NAMES[name])
    ended = grokkit("report", NAMES[name])
    assert (ended.status, ended.err) == (0, "")
    last = ended.out.splitlines()[-1]
    assert last.startswith("report: "), "the path is one line"
    assert last.endswith("/report.html")
    assert (grokkit.folder / NAMES[name] / "report.html").is_file()
    if name.startswith("markup"):
        assert NAMES[name] in last


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_that_is_not_there_is_named_in_one_line(grokkit, name):
    grokkit("report", NAMES[name]).assert_refused("no study.json")


def test_a_name_that_is_too_long(grokkit):
    for args in (["report", "x" * 256], ["compare", *TINY, "--out", "x" * 256], ["report", "x/" * 5000]):
        ended = grokkit(*args)
        assert (ended.status > 0, ended.err.count("\n")) == (True, 1), ended
        assert "Traceback" not in ended.err


@pytest.mark.long
@pytest.mark.parametrize("name", ["no UTF-8", "a new line", "markup"])
def test_a_study_in_a_folder_of_any_name(grokkit, name):
    ended = grokkit("compare", *TINY[:-1], "10", "--out", NAMES[name], seconds=600)
    assert (ended.status, ended.err) == (0, "")
    again = grokkit("compare", *TINY[:-1], "10", "--out", NAMES[name])
    assert "4 of them done before" in again.out


@pytest.mark.parametrize("name", SOME_OFTEN)
def test_data_in_a_folder_of_any_name(grokkit, name):
    folder = grokkit.folder / NAMES[name]
    folder.mkdir(parents=True)
    for part, shape in (("images-idx3", (40, 28, 28)), ("labels-idx1", (40,))):
        head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        (folder / f"train-{part}-ubyte").write_bytes(head + bytes(math.prod(shape)))
    args = ["compare", "mnist:40", "--train-size", "20", "--data-dir", NAMES[name]]
    grokkit(*args, "--only", "nobody").assert_refused("nobody")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"")
    grokkit(*args).assert_refused("get the file again")


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user that nobody knows")


everybody_has_python = pytest.mark.skipif(
    not all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(os.__file__).parents),
    reason="Python's own modules lie where no other user can read them",
)


@pytest.mark.long
@needs_root
@everybody_has_python
def test_a_user_without_a_name_and_without_a_home(commands, anybody):
    nobody = {"uid": 54321, "environment": {"HOME": None, "USER": None, "LOGNAME": None, "GROKKIT_CACHE": None}}
    for args in COMMANDS.values():
        assert commands(*args, cwd=anybody, **nobody).status == 0
    ended = commands("compare", *TINY, "--out", "out", cwd=anybody, seconds=600, **nobody)
    assert (ended.status, ended.err) == (0, "")
    assert (anybody / "out" / "report.html").stat().st_uid == 54321
    ended = commands("compare", "mnist:50", "--train-size", "20", "--only", "nobody", cwd=anybody, **nobody)
    ended.assert_refused("nobody")


@pytest.mark.parametrize("name", ["HOME", "USER", "LOGNAME", "GROKKIT_CACHE", "PATH", "LANG", "TMPDIR"])
def test_a_variable_that_is_not_set(grokkit, name):
    ended = grokkit("compare", "mnist:50", "--train-size", "20", "--only", "nobody", environment={name: None})
    ended.assert_refused("nobody")


@needs_root
def test_a_home_and_caches_that_cannot_be_written(commands, anybody, tmp_path_factory):
    shut = anybody / "shut"
    shut.mkdir(mode=0o555)
    environment = {"HOME": str(shut), "XDG_CACHE_HOME": None, "GROKKIT_CACHE": None}
    user = {"uid": 54321, "environment": environment}
    ended = commands("compare", "mnist:50", "--train-size", "20", "--only", "nobody", cwd=anybody, **user)
    ended.assert_refused("nobody")
    assert not list(shut.iterdir())
    for args in (["compare", *TINY, "--out", "shut/out"], ["bench", "--rows", "overhead-ema", "--json", "shut/x.json"]):
        commands(*args, cwd=anybody, **user).assert_refused("shut", "cannot")


@needs_root
def test_a_study_that_may_be_read_only(commands, anybody, study):
    shutil.copytree(study, anybody / "out")
    for path in [anybody / "out", *(anybody / "out").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    commands("report", "out", cwd=anybody, uid=54321).assert_refused("cannot write to out")
    (anybody / "out" / "study.json").chmod(stat.S_IRUSR)
    commands("report", "out", cwd=anybody, uid=54321).assert_refused("study.json", "cannot read")


@pytest.mark.parametrize("command", [*COMMANDS, "report"])
def test_output_that_nobody_reads(grokkit, study, command):
    shutil.copytree(study, grokkit.folder / "out")
    ended = grokkit(*COMMANDS.get(command, ["report", "out"]), stdout="nobody")
    assert (ended.status, ended.err) == (1, ""), "as `| head` ends it"


@pytest.mark.parametrize("command", [*COMMANDS, "report"])
def test_output_that_is_closed(grokkit, study, command):
    shutil.copytree(study, grokkit.folder / "out")
    ended = grokkit(*COMMANDS.get(command, ["report", "out"]), stdout="closed")
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("command", [*COMMANDS, "report"])
def test_output_on_a_disk_that_is_full(grokkit, study, command):
    shutil.copytree(study, grokkit.folder / "out")
    ended = grokkit(*COMMANDS.get(command, ["report", "out"]), stdout="/dev/full")
    ended.assert_refused("No space left on device", status=1)


@pytest.mark.long
@pytest.mark.parametrize("largest", [500, 3000, 8000, 20_000, 60_000])
def test_a_disk_that_is_full_ends_a_study_in_one_line_and_the_same_command_goes_on(grokkit, largest):
    """No file may be larger, so that of the study, of a run or of the page cannot be written, and smaller ones can."""
    ended = grokkit("compare", *TINY, "--out", "out", "--jobs", "1", largest=largest, stdout="/dev/null", seconds=600)
    ended.assert_refused("File too large", "make room", status=1)
    kept = {path: path.read_bytes() for path in grokkit.folder.glob("out/runs/*/run.json")}
    assert not list(grokkit.folder.rglob("*.tmp")), "nothing is left that is not whole"
    again = grokkit("compare", *TINY, "--out", "out", seconds=600)
    assert (again.status, again.err) == (0, "")
    assert (f"{len(kept)} of them done before" in again.out) == bool(kept)
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(list(grokkit.folder.glob("out/runs/*/run.json"))) == 4


FULL = """
import errno, os, sys
import grokkit.files
from grokkit.cli import main

whole, left = os.fsync, [{writes}]

def fsync(file):
    left[0] -= 1
    if left[0] < 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    whole(file)

os.fsync = fsync
main()
"""


@pytest.mark.parametrize("writes", range(2))
def test_a_disk_that_becomes_full_while_a_report_is_written(grokkit, study, writes):
    shutil.copytree(study, grokkit.folder / "out")
    before = {path: path.read_bytes() for path in grokkit.folder.glob("out/runs/**/*") if path.is_file()}
    ended = grokkit("report", "out", program=FULL.format(writes=writes))
    assert (ended.status, ended.err.count("\n")) == (1, 1), ended
    assert "No space left on device" in ended.err
    assert {path: path.read_bytes() for path in before} == before
    assert grokkit("report", "out").status == 0


def test_the_packages_that_are_looked_for_are_those_of_the_extra():
    with open(Path(__file__).parents[2] / "pyproject.toml", "rb") as file:
        extra = tomllib.load(file)["project"]["optional-dependencies"]["lab"]
    names = [re.split("[><=]", name)[0].removesuffix("-python").replace("-", "_") for name in extra]
    assert sorted(names) == sorted(LAB)


@pytest.mark.parametrize("package", LAB)
def test_a_package_that_is_missing_is_found_before_anything_runs(grokkit, package):
    for settings in (
        {},
        {
            "program": "from grokkit.errors import InputError\ntry:\n    import grokkit.lab\n"
            "except InputError as error:\n    import sys\n    print(error, file=sys.stderr)\n    sys.exit(2)\n"
        },
    ):
        ended = grokkit("compare", *TINY, "--out", "out", missing=[package], **settings)
        ended.assert_refused(f"{package} is not installed", "pip install 'grokkit[lab]'")
    assert not (grokkit.folder / "out").exists()


SCRIPT = """
import torch
from torch import nn
from grokkit.lab import Problem, compare

x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))

def accuracy(outputs, targets):
    return (outputs[:, 0] > 0) == (targets > 0)

def squared(outputs, targets):
    return ((outputs[:, 0] - targets) ** 2).mean()

problem = Problem(
    name="mine", data=(x, x.sum(1).sign()), model=lambda: nn.Linear(3, 1), loss=squared, score=accuracy{more}
)
study = compare({what}, methods=["adamw"], seeds=1, budget=20, out="out")
print("runs:", len(study.runs))
"""
WAYS = {"a file": "script.py", "a text": "-c", "standard input": "-"}


@pytest.mark.long
@pytest.mark.parametrize("what", ["'add:5'", "problem"])
@pytest.mark.parametrize("way", WAYS)
def test_a_script_needs_no_main_guard_wherever_it_comes_from(tmp_path, way, what):
    text = SCRIPT.format(what=what, more="" if way == "a file" else ', version="1"')
    (tmp_path / "script.py").write_text(text)
    args = [WAYS[way], *([text] if way == "a text" else [])]
    ended = subprocess.run(
        [sys.executable, *args], input=text, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "runs: 1" in ended.stdout


@pytest.mark.parametrize("way", ["a text", "standard input"])
def test_code_whose_source_cannot_be_read_says_what_is_missing(tmp_path, way):
    text = SCRIPT.format(what="problem", more="")
    args = [WAYS[way], *([text] if way == "a text" else [])]
    ended = subprocess.run(
        [sys.executable, *args], input=text, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    if ended.returncode:  # from Python 3.13 on the text of -c can be read
        assert 'give the problem a version, e.g. version="1"' in ended.stderr.splitlines()[-1]
        assert not (tmp_path / "out").exists()
