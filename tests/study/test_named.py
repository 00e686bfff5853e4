"""What stands for the code of an object that only this process has: another code, another digest."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from grokkit.lab.code_digest import source_digest

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

    def load(name, text=MODULE, **values):
        path = tmp_path / f"{name}.py"
        path.write_text(text.format(**{"factor": 2, **values}))
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


HELD = """
from dataclasses import dataclass, field
from functools import cache, cached_property, partial, wraps
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from grokkit import MethodCard

SIZES, PAIR, KEYS = {sizes}, {pair}, frozenset({keys})
FIRST = {{"x": 10001}}
SECOND = {{"y": {second}}}
WEIGHTS = torch.tensor([1.0, {number}])
LOSS = nn.CrossEntropyLoss(label_smoothing={number})
ARRAY = np.array([{number}])

def sizes(): return SIZES
def pair(): return PAIR
def keys(): return KEYS
def tables(): return FIRST, SECOND
def weights(): return WEIGHTS
def array(): return ARRAY
def loss(): return LOSS
def helper(x): return x * {number}
def keyword(*, f=helper): return f(1)

@cache
def cached(seed): return seed * {number}

class Maker:
    held = cached_property(helper)
    def __init__(self): self.width = {number}
    @property
    def seen(self): return {number}
    def make(self): return self.width

maker = Maker()
bound = maker.make
card = MethodCard(name="mine", factory=partial(helper, x={number}))

def scaled(f):
    @wraps(f)
    def inner(*given): return f(*given) * {number}
    return inner

@scaled
def decorated(x): return x

@dataclass
class Net:
    width: float = {number}
    sizes: list = field(default_factory=lambda: [{number}])

class Pair(NamedTuple):
    width: float = {number}

Pair.zero = Pair(0)

only_an_attribute = {number}
def attribute(outputs): return outputs.only_an_attribute

def net(): return Net(3)
def two(): return Pair(3)
"""
BEFORE = {"sizes": (64, 32, 64), "pair": (1, 23), "keys": ["a"], "second": 20002, "number": 0.25}
AFTER = {"sizes": (64, 32, 32), "pair": (12, 3), "keys": ["b"], "second": 20003, "number": 0.5}


def test_whatever_the_code_of_a_notebook_holds_counts(loaded):
    of = {"held_a": BEFORE, "held_b": BEFORE, "held_c": AFTER}
    modules = [loaded(name, HELD, **values) for name, values in of.items()]
    names = "sizes pair keys tables weights array loss keyword cached Maker maker bound card decorated Net net Pair two"
    for name in names.split():
        one, same, other = (source_digest(getattr(module, name)) for module in modules)
        assert one == same, f"the digest of {name} is another each time"
        assert one != other, f"{name} has changed, and its digest has not"
    assert len({source_digest(module.attribute) for module in modules}) == 1, "its name is no global's"
