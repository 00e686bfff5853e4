"""What the command says about itself, kept: the same text again, without PyTorch, and only while nothing changed."""

import io
import os
import subprocess
import sys
from contextlib import suppress

import pytest

import grokkit
from grokkit.answers import main
from grokkit.printed import readable

PROGRAM = """
import sys
sys.argv = ["grokkit", *sys.argv[1:]]
from grokkit.answers import main
try:
    main()
finally:
    print(*(name in sys.modules for name in ("grokkit.cli", "torch")), file=sys.stderr)
"""


@pytest.fixture
def grokkit_in_a_process(tmp_path, monkeypatch):
    """Run ``grokkit ARGS`` in a process of its own; gives stdout, and whether the command and PyTorch were loaded."""
    monkeypatch.setenv("GROKKIT_CACHE", str(tmp_path / "cache"))

    def run(*args, status=0):
        done = subprocess.run([sys.executable, "-c", PROGRAM, *args], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout, [word == "True" for word in done.stderr.splitlines()[-1].split()]

    return run


@pytest.mark.parametrize("question", [["--help"], ["methods"], ["compare", "-h"]], ids=" ".join)
def test_an_answer_is_given_again_without_the_command_and_help_at_first_without_pytorch(grokkit_in_a_process, question):
    first, loaded_at_first = grokkit_in_a_process(*question)
    again, loaded_again = grokkit_in_a_process(*question)
    assert loaded_at_first == [True, question in (["methods"], ["compare", "-h"])]
    assert loaded_again == [False, False]
    assert first == again != ""


def test_the_version_is_said_without_pytorch(grokkit_in_a_process):
    assert grokkit_in_a_process("--version") == (f"grokkit {grokkit.__version__}\n", [False, False])


def test_the_list_of_published_items_needs_no_pytorch(grokkit_in_a_process):
    listed, loaded = grokkit_in_a_process("reproduce")
    assert "reproduced" in listed
    assert loaded == [True, False]


def test_an_error_is_no_answer(grokkit_in_a_process):
    for _ in range(2):
        _, loaded = grokkit_in_a_process("reprot", "--help", status=2)
        assert loaded == [True, False]


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    """Ask a question in this process whose answer would be what is in the list."""
    monkeypatch.setenv("GROKKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["grokkit", "tasks"])

    def ask(answer):
        def command():
            print(answer)
            raise SystemExit(0)

        monkeypatch.setattr("grokkit.cli.main", command)
        with suppress(SystemExit):
            main()
        return capsys.readouterr().out.strip()

    return ask


def test_an_answer_is_forgotten_when_a_package_is_installed_or_the_terminal_is_another(asked, tmp_path, monkeypatch):
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    assert asked("old") == "old"
    assert asked("new") == "old"
    (folder / "stranger.dist-info").mkdir()
    os.utime(folder, ns=(1, 1))
    assert asked("new") == "new"
    monkeypatch.setenv("COLUMNS", "47")
    assert asked("narrow") == "narrow"
    assert asked("wide") == "narrow"


def test_an_answer_is_forgotten_when_a_file_of_the_package_changes(asked, tmp_path, monkeypatch):
    copy = tmp_path / "package"
    copy.mkdir()
    (copy / "cards.py").write_text("A = 1\n")
    monkeypatch.setattr("grokkit.answers.__file__", str(copy / "answers.py"))
    assert [asked("old"), asked("new")] == ["old", "old"]
    (copy / "cards.py").write_text("A = 12\n")
    assert asked("new") == "new"


def test_an_answer_is_forgotten_when_an_editable_package_changes_that_registers_a_part(asked, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "site")
    info, package = tmp_path / "site" / "stranger-1.0.dist-info", tmp_path / "site" / "stranger_answered"
    info.mkdir(parents=True)
    package.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[grokkit.methods]\nstrange = stranger_answered.cards:CARD\n")
    (package / "cards.py").write_text("CARD = 1\n")
    assert [asked("old"), asked("new")] == ["old", "old"]
    (package / "cards.py").write_text("CARD = 12\n")
    assert asked("new") == "new"


def test_an_answer_can_be_read_in_any_encoding_at_first_and_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GROKKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["grokkit", "tasks"])

    def command():
        with readable():
            print("λ × 2")
        raise SystemExit(0)

    monkeypatch.setattr("grokkit.cli.main", command)
    for _ in range(2):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        with suppress(SystemExit):
            main()
        sys.stdout.flush()
        assert sys.stdout.buffer.getvalue() == b"lambda x 2\n"
        assert sys.stdout.errors == "strict"
    assert (tmp_path / "answer-tasks.txt").is_file()


def test_a_kept_answer_that_nobody_reads_any_more_is_status_1_and_no_traceback(grokkit_in_a_process, tmp_path):
    grokkit_in_a_process("--help")
    program = PROGRAM.replace("finally:\n    print", "finally:\n    0 and print")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", program, "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_damaged_or_unwritable_cache_is_no_obstacle(asked, tmp_path, monkeypatch):
    assert asked("old") == "old"
    (tmp_path / "answer-tasks.txt").write_bytes(b"\xff\xfe\x00")
    assert asked("new") == "new"
    monkeypatch.setenv("GROKKIT_CACHE", str(tmp_path / "answer-tasks.txt"))  # a file where the folder should be
    assert [asked("first"), asked("second")] == ["first", "second"]


def test_the_package_s_names_are_there_at_first_use_and_attach_is_the_function():
    assert set(grokkit.__all__) <= set(dir(grokkit))
    assert all(getattr(grokkit, name) is not None for name in grokkit.__all__)
    assert callable(grokkit.attach)
    with pytest.raises(AttributeError, match="no attribute 'atach'"):
        _ = grokkit.atach
    program = (
        "import grokkit.lab.export, grokkit.lab.report, grokkit.report, sys; grokkit.report.all_figures(); "
        "assert 'torch' not in sys.modules, 'a report needs none'; "
        "import grokkit.attach; grokkit.attach.__call__; import grokkit.lab.compare; grokkit.lab.compare.__call__"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
