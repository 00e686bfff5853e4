"""Checkpoints that are damaged: nothing is taken from them, the run begins anew, says so, and ends as undisturbed."""

import json
import os

import pytest
import torch
from interrupted import Interrupted, curves, interrupt_after
from safetensors.torch import load_file, save_file

from grokkit.tensor_files import load_tensors, save_tensors
from grokkit.train.checkpoint import steps_saved
from grokkit.train.loop import train, train_group


@pytest.fixture
def interrupted(tiny, tmp_path):
    """A run that was ended after three stops, its checkpoint, and what it is undisturbed."""
    checkpoint, config = tmp_path / "checkpoint.safetensors", tiny("grokfast-ema", model="fnn(dim=4,width=8)")
    with pytest.raises(Interrupted):
        train(config, report=interrupt_after(3), checkpoint=checkpoint, checkpoint_seconds=0)
    return config, checkpoint, curves(train(config))


def flipped(data, place, bit=0):
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def rewritten(change):
    """The same file with its tensors changed: a whole safetensors file, but for the digest."""

    def damage(path):
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"grokkit": "11", "digest": "0" * 64})

    return damage


def resealed(change):
    """The same with the digest of what is in it."""

    def damage(path):
        found = load_tensors(path)
        assert found is not None
        change(*found)
        save_tensors(path, *found)

    return damage


def moments(tensors, about=None):
    next(tensor for name, tensor in tensors.items() if name.endswith("exp_avg")).fill_(torch.nan)


def without(part):
    def change(tensors, about=None):
        for name in [name for name in tensors if part in name]:
            del tensors[name]

    return change


def in_a_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("nowhere")


def in_a_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def in_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def other_step(tensors, about):
    for progress in about["progress"].values():
        progress["curves"] = {}


DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("something else"),
    "another format's": lambda path: save_file({"w": torch.zeros(1)}, path),
    "a link to nowhere": in_a_link,
    "a link to itself": in_a_loop,
    "a pipe": in_a_pipe,
    "moments that are NaN": rewritten(moments),
    "moments that are NaN, with their digest": resealed(moments),
    "no moments": rewritten(without("exp_avg")),
    "no weights, with their digest": resealed(without("model/")),
    "no batches, with their digest": resealed(without("batches/")),
    "no generators, with their digest": resealed(without("generators/")),
    "books that say nothing, with their digest": resealed(other_step),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_from_a_damaged_checkpoint_the_run_begins_anew_and_says_so(interrupted, damage):
    config, checkpoint, whole = interrupted
    DAMAGE[damage](checkpoint)
    notes = []
    assert curves(train(config, notice=notes.append, checkpoint=checkpoint)) == whole
    (note,) = notes
    assert (note["run_id"], note["step"]) == (config.run_id(), 0)
    assert note["note"].startswith("its checkpoint ")
    assert note["note"].endswith("; the run begins anew")
    assert "\n" not in note["note"]


def test_from_a_checkpoint_with_any_bit_flipped_the_run_ends_as_undisturbed(interrupted):
    config, checkpoint, whole = interrupted
    data = checkpoint.read_bytes()
    places = [*range(0, 64, 7), *range(64, len(data), len(data) // 40), len(data) - 1]
    begun = 0
    for number, place in enumerate(places):
        checkpoint.write_bytes(flipped(data, place, number % 8))
        notes = []
        assert curves(train(config, notice=notes.append, checkpoint=checkpoint)) == whole, (
            f"bit {number % 8} of {place}"
        )
        begun += notes[0]["step"] == 0
    assert begun >= len(places) - 2, "the file's padding and the order of its header say nothing"


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tiny, interrupted):
    config, checkpoint, _ = interrupted
    other, notes = tiny("grokfast-ema", model="fnn(dim=4,width=8)", seed=1), []
    assert curves(train(other, notice=notes.append, checkpoint=checkpoint)) == curves(train(other))
    assert [note["note"] for note in notes] == ["its checkpoint is of other runs; the run begins anew"]
    assert config != other


def test_where_a_run_goes_on_is_said(interrupted):
    config, checkpoint, whole = interrupted
    saved, notes = steps_saved(checkpoint), []
    assert curves(train(config, notice=notes.append, checkpoint=checkpoint)) == whole
    assert saved == {config.hash(): 10}
    assert [note["note"] for note in notes] == ["goes on at step 10 of 40"]


def test_a_run_without_a_checkpoint_has_nothing_to_say(tiny, tmp_path):
    notes = []
    train(tiny(budget=5), notice=notes.append, checkpoint=tmp_path / "checkpoint.safetensors")
    assert notes == []
    assert steps_saved(tmp_path / "checkpoint.safetensors") == {}


@pytest.mark.parametrize("damage", ["cut in half", "moments that are NaN", "no moments", "text"])
def test_a_group_s_damaged_checkpoint_is_not_gone_on_from(tiny, tmp_path, damage):
    def change(tensors, about=None):
        name = next(name for name in tensors if "optimizer" in name and tensors[name].is_floating_point())
        tensors[name].fill_(torch.nan) if "NaN" in damage else tensors.pop(name)

    configs = [tiny(model="fnn(dim=4,width=8)", seed=seed) for seed in (0, 1)]
    checkpoint, notes = tmp_path / "group.safetensors", []
    whole = [curves(run) for run in train_group(configs, device="cpu")]
    with pytest.raises(Interrupted):
        train_group(configs, device="cpu", report=interrupt_after(5), checkpoint=checkpoint, checkpoint_seconds=0)
    (DAMAGE[damage] if damage in ("cut in half", "text") else resealed(change))(checkpoint)
    again = train_group(configs, device="cpu", notice=notes.append, checkpoint=checkpoint)
    assert [curves(run) for run in again] == whole
    assert [note["run_id"] for note in notes] == [config.run_id() for config in configs]
    assert all(note["step"] == 0 and "begins anew" in note["note"] for note in notes)


TRANSFER = "groktransfer(weak=auto,stop=0.99,weak_steps=40,weak_patience=40,weak_seeds=2)"


class Killed(BaseException):
    pass


def killed_after(keeps, monkeypatch):
    """End the run when it has kept what its start had found so often."""
    from grokkit.train.halfway import HalfwayFile

    keep, seen = HalfwayFile.keep, []

    def counting(self, tensors, others):
        keep(self, tensors, others)
        seen.append(others)
        if len(seen) == keeps:
            raise Killed

    monkeypatch.setattr(HalfwayFile, "keep", counting)
    return keep


def untimed(run):
    tables = {
        name: {key: values for key, values in table.items() if key != "seconds"} for name, table in run.tables.items()
    }
    return curves(run), tables


@pytest.mark.parametrize("keeps", [1, 3, 5, 9, 14])
def test_a_search_for_a_weak_model_goes_on_where_it_was_ended(tiny, tmp_path, monkeypatch, keeps):
    from grokkit.train.halfway import HalfwayFile

    config = tiny(TRANSFER, model="decoder(width=16)", budget=10)
    whole, checkpoint, notes = train(config), tmp_path / "checkpoint.safetensors", []
    keep = killed_after(keeps, monkeypatch)
    with pytest.raises(Killed):
        train(config, checkpoint=checkpoint, checkpoint_seconds=0)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(HalfwayFile, "keep", keep)
    again = train(config, notice=notes.append, checkpoint=checkpoint, checkpoint_seconds=0)
    assert untimed(again) == untimed(whole)
    assert [note["note"] for note in notes] == ["goes on in what its method does before the first step"]
    assert again.start_seconds > 0
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"], "the search's file is gone"


@pytest.mark.parametrize("damage", ["cut in half", "text", "moments that are NaN"])
def test_a_search_whose_file_is_damaged_begins_anew(tiny, tmp_path, monkeypatch, damage):
    config = tiny(TRANSFER, model="decoder(width=16)", budget=10)
    checkpoint, notes = tmp_path / "checkpoint.safetensors", []
    killed_after(3, monkeypatch)
    with pytest.raises(Killed):
        train(config, checkpoint=checkpoint, checkpoint_seconds=0)
    monkeypatch.undo()
    DAMAGE[damage](next(tmp_path.glob("start-*")))
    assert untimed(train(config, notice=notes.append, checkpoint=checkpoint)) == untimed(train(config))
    assert [note["note"] for note in notes] == ["what its start had kept is damaged; the start begins anew"]


def test_what_a_file_holds_comes_back(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "empty": torch.zeros(0), "one": torch.tensor(True)}
    tensors["bf16"] = torch.ones(3, dtype=torch.bfloat16)
    tensors["one of six"] = torch.arange(12.0)[3::9]
    tensors["a column of one"] = torch.arange(6.0).reshape(2, 3)[1:, 1]
    save_tensors(tmp_path / "file", tensors, {"x": [1, None]})
    found, about = load_tensors(tmp_path / "file")
    assert about == {"x": [1, None]}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert json.loads(json.dumps(about)) == about
