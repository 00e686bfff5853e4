"""What stands for the code of an object that only this process has: another code, another digest."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from grokkit.lab.named import source_digest

MODULE = """
FACTOR = {factor}
table = {{"one": lambda x: x + 1, "two": lambda x: x + 2}}
first = lambda x: x * 2
second = lambda x: x * 3

def scaled(x):
    return helped(x) * FACTOR

def helped(x):
    return x

def make(strength):
    return lambda x: x * strength
"""


@pytest.fixture
def loaded(tmp_path):
    """A module that nobody can import: it was run from a file that is on no path."""
    names = []

    def load(name, factor=2):
        path = tmp_path / f"{name}.py"
        path.write_text(MODULE.format(factor=factor))
        spec = spec_from_file_location(name, path)
        module = sys.modules[name] = module_from_spec(spec)
        names.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in names:
        del sys.modules[name]


def test_two_lambdas_of_one_module_have_two_digests(loaded):
    module = loaded("nowhere_a")
    functions = [module.first, module.second, *module.table.values(), module.make(1), module.make(2)]
    assert len({source_digest(function) for function in functions}) == len(functions)
    again = [module.first, module.second, *module.table.values(), module.make(1), module.make(2)]
    assert [source_digest(function) for function in functions] == [source_digest(function) for function in again]


def test_what_a_function_of_such_a_module_names_counts(loaded):
    one, same, other = loaded("nowhere_b"), loaded("nowhere_c"), loaded("nowhere_d", factor=3)
    assert source_digest(one.scaled) == source_digest(same.scaled) != source_digest(other.scaled)


def test_lambdas_of_a_module_that_can_be_imported_are_told_apart_too(tmp_path, monkeypatch):
    (tmp_path / "somewhere_else.py").write_text(MODULE.format(factor=2))
    monkeypatch.syspath_prepend(tmp_path)
    import somewhere_else

    assert source_digest(somewhere_else.first) != source_digest(somewhere_else.second)
    assert source_digest(somewhere_else.table["one"]) != source_digest(somewhere_else.table["two"])
    del sys.modules["somewhere_else"]
