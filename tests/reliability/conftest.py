import pytest
from commands import Commands


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """``commands("methods", cwd=FOLDER)``: the command in a process of its own, with what it printed and took."""
    found = Commands(tmp_path_factory.mktemp("commands"))
    yield found
    found.close()


@pytest.fixture
def grokkit(commands, tmp_path):
    """The same in an empty folder, whose path is ``grokkit.folder``."""

    def run(*args):
        return commands(*args, cwd=tmp_path)

    run.folder = tmp_path
    return run
