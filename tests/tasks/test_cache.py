"""Prepared data: made once, made again when anything they depend on has changed, never a wrong file's."""

import pytest
import torch

from grokkit.errors import InputError
from grokkit.files import cache_folder
from grokkit.tasks.cache import cached


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Call ``cached``; gives what it returns and how often it has made it."""
    monkeypatch.setenv("GROKKIT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.write_text("3")
    made = []

    def call(kind="test-1", **settings):
        def make():
            made.append(settings)
            return {"a": torch.full((2, 3), int(source.read_text())), "none": torch.zeros(0), "one": torch.tensor(True)}

        return cached(kind, settings, [source], make)

    call.source, call.made, call.folder = source, made, tmp_path / "cache"
    return call


def test_it_is_made_once(kept):
    first, second = kept(rows=5), kept(rows=5)
    assert len(kept.made) == 1
    assert first.keys() == second.keys() == {"a", "none", "one"}
    assert all(torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first)
    assert [path.suffix for path in kept.folder.iterdir()] == [".safetensors"]


def test_settings_kind_and_source_are_told_apart(kept):
    kept(rows=5)
    kept(rows=6)
    kept("test-2", rows=5)
    kept.source.write_text("47")
    assert kept(rows=5)["a"][0, 0] == 47
    assert len(kept.made) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_a_damaged_file_is_made_again(kept, damage):
    whole = kept()
    (path,) = kept.folder.iterdir()
    data = path.read_bytes()
    at = data.index(bytes([3, 0, 0, 0, 0, 0, 0, 0]))
    changed = {"cut": data[:-9], "flipped": data[:at] + b"\x04" + data[at + 1 :], "foreign": b"hello", "empty": b""}
    path.write_bytes(changed[damage])
    assert torch.equal(kept()["a"], whole["a"])
    assert torch.equal(kept()["a"], whole["a"])
    assert len(kept.made) == 2, "and kept whole"


def test_another_s_file_of_that_name_is_not_taken(kept):
    kept(rows=5)
    (mine,) = kept.folder.iterdir()
    kept(rows=6)
    (other,) = set(kept.folder.iterdir()) - {mine}
    mine.write_bytes(other.read_bytes())
    kept(rows=5)
    assert len(kept.made) == 3


def test_without_a_place_to_write_it_is_made_every_time(kept, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert torch.equal(kept()["a"], kept()["a"])
    assert len(kept.made) == 2


def test_a_source_that_cannot_be_read(kept):
    kept.source.unlink()
    with pytest.raises(InputError, match="cannot read .*source"):
        kept()


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("GROKKIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GROKKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "grokkit"
