"""What a person waits for: the table is of the committed numbers, and the demonstration's command is the Makefile's."""

from pieces.waits import waits_table
from typer.main import get_command
from waits import demo_command

from grokkit.cli import app


def test_a_row_is_a_command():
    measured = {"waits": {"`grokkit --help`": {"seconds": 0.5, "processor": 0.21, "aim": 0.4}}}
    assert waits_table(measured).splitlines()[2:] == ["| `grokkit --help` | 0.500 | 0.210 | ≤ 0.4, missed |"]


def test_the_demonstration_is_what_the_makefile_says(tmp_path):
    name, *words = demo_command(tmp_path / "out")
    assert words[-2:] == ["--out", str(tmp_path / "out")]
    command = get_command(app).commands[name]
    assert command.make_context(name, list(words), resilient_parsing=True).params["task"] == "mul:47"
