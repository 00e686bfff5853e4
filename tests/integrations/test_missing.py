"""Without the framework an integration says which extra brings it."""

import importlib
import sys

import pytest

from grokkit import InputError


@pytest.mark.parametrize(("module", "package"), [("hf", "transformers"), ("lightning", "lightning")])
def test_the_extra_is_named(monkeypatch, module, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"grokkit.integrations.{module}", raising=False)
    with pytest.raises(
        ImportError, match=rf"{package} is not installed; .*pip install 'grokkit\[{module}\]'"
    ) as caught:
        importlib.import_module(f"grokkit.integrations.{module}")
    assert isinstance(caught.value, InputError)
