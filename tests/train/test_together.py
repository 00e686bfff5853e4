"""Every member of a batched program is the run it would be alone.

In float32 a run amplifies rounding, so that after some hundred steps two correct ways of computing it need not
agree in any digit. In float64 the same amplification starts at 1e-16 and leaves most digits: there the comparison
is sharp over whole runs, and it shows a wrong batch, setting or step just as well.
"""

import time

import numpy as np
import pytest
import torch
from groups import METHODS, MODELS, assert_same_run, group_of
from interrupted import Interrupted, curves, interrupt_at
from probed import PROBED
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grokkit.errors import InputError
from grokkit.registry import parts
from grokkit.state import leaves
from grokkit.testing.runs import small_run
from grokkit.train import loop, together
from grokkit.train.config import EvaluationConfig
from grokkit.train.groups import plan_groups
from grokkit.train.loop import begin_alone, begin_together, train, train_group
from grokkit.train.resolve import method_config, task_config
from grokkit.train.together import Together

SHARP = 1e-6  # amplified from 1e-16


@pytest.fixture(autouse=True)
def no_slow_path():
    """An operation that vmap would run member by member is an error."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_same_runs(configs, rtol, members=None):
    members = train_group(configs, device="cpu") if members is None else members
    for member, config in zip(members, configs, strict=True):
        assert_same_run(member, train(config), rtol)
    return members


@pytest.mark.parametrize(
    ("method", "batch_size"), [*((name, 16) for name in METHODS), ("grokfast-ma", None), ("neuralgrok", None)]
)
def test_members_equal_runs_alone_feed_forward(float64, method, batch_size):
    assert_same_runs(group_of(method, "fnn", batch_size=batch_size, budget=70), SHARP)


@pytest.mark.parametrize("method", ["adamw", "grokfast-ma", "grad-norm", "neuralgrok"])
def test_members_equal_runs_alone_decoder(float64, method):
    assert_same_runs(group_of(method, "decoder", budget=70), SHARP)


def test_members_equal_runs_alone_decoder_full_batch(float64):
    assert_same_runs(group_of("grokfast-ema", "decoder", batch_size=None, budget=70), SHARP)


FROZEN = """
from torch import nn
from grokkit.models.card import ModelCard

class Frozen(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.table = nn.Embedding(task.vocabulary, 8)
        self.table.weight.requires_grad_(False)
        self.head = nn.Linear(8 * task.tokens, task.classes)

    def forward(self, tokens):
        return self.head(self.table(tokens).flatten(1))

CARD = ModelCard(name="frozen", build=Frozen, reads=("expressions",), stackable=True)
"""


@pytest.mark.parametrize("method", ["adamw(max_grad_norm=0.1)", "grokfast-ma(window_size=5)", "neuralgrok", "row-clip"])
def test_what_is_frozen_is_trained_in_no_member_either(float64, tmp_path, method):
    (tmp_path / "nets.py").write_text(FROZEN)
    model = f"{tmp_path / 'nets.py'}:CARD"
    configs = [small_run(method, model=model, seed=seed, budget=20) for seed in (0, 1)]
    for member in assert_same_runs(configs, SHARP):
        found = member.tables["tensors"]
        last = dict(zip(found["tensor"], found["gradient_entropy"], strict=True))
        assert last["table.weight"] == 0.0 != last["head.weight"]


@pytest.mark.parametrize(
    "method", ["row-clip(c=0.1)", "norm-clamp(ratio=0.1)", "clip-to-grok(c=0.1)", "adamw+norm-held"]
)
def test_what_is_frozen_no_transform_of_weights_changes(tmp_path, method):
    (tmp_path / "nets.py").write_text(FROZEN)
    config = small_run(method, model=f"{tmp_path / 'nets.py'}:CARD")
    alone, together = begin_alone(config), begin_together([config])
    for engine in (alone, together):
        before = engine.views([0])[0].weights["table.weight"].clone()
        engine.train_to(3)
        assert engine.views([0])[0].weights["table.weight"].equal(before)
        assert all("table" not in name for name in engine.snapshot().tensors if name.startswith("weights/"))


@pytest.fixture
def probed(monkeypatch):
    monkeypatch.setitem(parts("methods"), "probed", PROBED)
    monkeypatch.setitem(METHODS, "probed", "probed(lr={lr},wd={wd})")


def test_a_method_s_own_probe_sees_each_member_s_state(float64, probed):
    every = EvaluationConfig(every=5, share=100.0)
    members = assert_same_runs(group_of("probed", "fnn", target=0.1, sustain=1, evaluation=every), SHARP)
    assert [member.steps for member in members] == [5, 5, 200, 5], "one goes on alone"
    for member in members:
        evaluated = member.curves["step"][1:]
        assert member.tables["counter"] == {"step": evaluated, "steps": evaluated}


@pytest.mark.parametrize("model", ["fnn", "decoder"])
def test_in_float32_members_equal_runs_alone_to_rounding_for_a_while(model):
    assert_same_runs(group_of("grokfast-ema", model, budget=70), 1e-3)


def test_in_bf16_too():
    """Products of bfloat16 factors round differently by 2⁻⁸; a few steps of it stay close."""
    assert_same_runs(group_of("adamw", "decoder", budget=5, precision="bf16"), 2e-2)


def test_members_of_pairs_split_together_equal_runs_alone(float64):
    task = task_config("add:11(split=unordered)")
    groups = plan_groups(group_of("adamw", "decoder", task=task, budget=30), "cpu", batched=True)
    for group in groups:
        assert_same_runs(group, SHARP)


@pytest.fixture
def ends_at_different_times(float64):
    """Members that end after 5, 60, 15 and 5 steps."""
    every = EvaluationConfig(every=5, share=100.0)
    return group_of("grokfast-ema", "decoder", budget=60, target=0.06, sustain=1, evaluation=every)


def sizes_of_steps(monkeypatch):
    """How many members each step of the program had."""
    sizes, take_step = [], Together.take_step

    def counting(program, rows_SB, outer_rows_SO):
        sizes.append(len(rows_SB))
        return take_step(program, rows_SB, outer_rows_SO)

    monkeypatch.setattr(Together, "take_step", counting)
    return sizes


def test_the_finished_are_retired(monkeypatch, ends_at_different_times):
    sizes, kept = sizes_of_steps(monkeypatch), []
    members = train_group(ends_at_different_times, device="cpu", keep=kept.append)
    assert [member.steps for member in members] == [5, 60, 15, 5]
    assert sizes == [4] * 5 + [2] * 10 + [1] * 45
    assert_same_runs(ends_at_different_times, SHARP, members)
    assert [run.steps for run in kept] == [5, 5, 15, 60], "each as soon as it was finished"


def test_passengers_disturb_nobody(monkeypatch, ends_at_different_times):
    monkeypatch.setattr(together, "_is_worth_retiring", lambda finished, members, device: False)
    sizes, kept = sizes_of_steps(monkeypatch), []
    members = train_group(ends_at_different_times, device="cpu", keep=kept.append)
    assert sizes == [4] * 60
    assert_same_runs(ends_at_different_times, SHARP, members)
    assert len(kept) == 4


def test_on_a_gpu_a_quarter_is_worth_recording_the_graph_again():
    cpu, gpu = torch.device("cpu"), torch.device("cuda:0")
    worth = together._is_worth_retiring
    assert [worth(finished, 8, gpu) for finished in (0, 1, 2, 7)] == [False, False, True, True]
    assert [worth(finished, 8, cpu) for finished in (0, 1)] == [False, True]


def test_one_that_diverges_harms_no_other(float64):
    configs = group_of("sgd", "fnn", budget=60)
    configs[1] = configs[1].model_copy(update={"method": method_config("adamw(optimizer=sgd,lr=1e30,lr_warmup=7)")})
    members = assert_same_runs(configs, SHARP)
    assert [member.status for member in members] == ["censored", "diverged", "censored", "censored"]
    assert members[1].steps == members[1].diverged_at < 5, "between two evaluations"


def interrupted(configs, checkpoint, *, at):
    """Train until a member has taken ``at`` steps, saving at every stop, then fail."""
    with pytest.raises(Interrupted):
        train_group(configs, device="cpu", report=interrupt_at(at), checkpoint=checkpoint, checkpoint_seconds=0)


def found(run):
    return {"curves": curves(run), **run.tables}


@pytest.mark.parametrize("batch_size", [16, None])
@pytest.mark.parametrize(("method", "share"), [("adamw", 0.1), ("grokfast-ma", 0.1), ("probed", 100.0)])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(tmp_path, probed, method, share, batch_size):
    every = EvaluationConfig(every=5, share=share)
    configs = group_of(method, "fnn", budget=40, batch_size=batch_size, evaluation=every)
    whole, checkpoint, steps = train_group(configs, device="cpu"), tmp_path / "group.safetensors", []
    for at in (10, 25):
        interrupted(configs, checkpoint, at=at)
    resumed = train_group(configs, device="cpu", checkpoint=checkpoint, report=lambda p: steps.append(p["step"]))
    assert [found(run) for run in resumed] == [found(run) for run in whole]
    assert min(steps) == 25
    assert all(run.train_seconds > 0 and run.provenance["members"] == 4 for run in resumed)


def test_resumed_after_some_have_finished(tmp_path, ends_at_different_times):
    configs, checkpoint = ends_at_different_times, tmp_path / "group.safetensors"
    whole = train_group(configs, device="cpu")
    interrupted(configs, checkpoint, at=30)
    steps = []
    for left in (configs, [configs[1]]):  # as a whole, and as a study that has kept the others
        resumed = train_group(left, device="cpu", checkpoint=checkpoint, report=lambda p: steps.append(p["step"]))
        assert [found(run) for run in resumed] == [found(run) for run in whole if run.config in left]
        interrupted(configs, checkpoint, at=45)
    assert min(steps) == 30


def test_resumed_after_one_has_diverged_and_was_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(together, "_is_worth_retiring", lambda *_: True)
    configs, checkpoint = group_of("sgd", "fnn", budget=60), tmp_path / "group.safetensors"
    soon = method_config("adamw(optimizer=sgd,lr=1e30,lr_warmup=7)")  # its loss is not finite within a few steps
    configs[1] = configs[1].model_copy(update={"method": soon})
    whole = train_group(configs, device="cpu")
    interrupted(configs, checkpoint, at=30)
    resumed = train_group(configs, device="cpu", checkpoint=checkpoint)
    assert [found(run) for run in resumed] == [found(run) for run in whole]
    assert resumed[1].diverged_at is not None


def test_a_finished_member_that_is_asked_for_again_is_kept_with_what_its_method_learned(tmp_path):
    """Its record may have been deleted, or never been written because the disk was full."""
    configs, checkpoint = group_of("neuralgrok", "fnn", budget=20)[:2], tmp_path / "group.safetensors"
    soon = method_config("neuralgrok(hidden=(6,5),lr=1e30,wd=0.1,lr_warmup=0,every=3)")  # it diverges at once
    configs[1] = configs[1].model_copy(update={"method": soon})
    whole, again = [], []
    train_group(configs, device="cpu", keep=whole.append)
    interrupted(configs, checkpoint, at=15)
    train_group(configs, device="cpu", keep=again.append, checkpoint=checkpoint)
    assert [run.status for run in again] == ["diverged", "censored"]
    assert [found(run) for run in again] == [found(run) for run in whole]
    for run, expected in zip(again, whole, strict=True):
        assert run.kept.keys() == expected.kept.keys() != set()
        assert all(np.array_equal(run.kept[name], kept, equal_nan=True) for name, kept in expected.kept.items())


def test_whether_a_group_can_be_stacked_is_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(loop, "can_share", lambda config: tried.append(config) or True)
    configs = group_of("adamw", "fnn", budget=5)
    train_group(configs, device="cpu")
    assert tried == configs[:1]


def test_another_group_s_checkpoint_is_not_used(tmp_path):
    checkpoint, configs = tmp_path / "group.safetensors", group_of("adamw", "fnn", budget=20)
    interrupted(group_of("adamw", "fnn", budget=25), checkpoint, at=10)
    steps = []
    train_group(configs, device="cpu", checkpoint=checkpoint, report=lambda p: steps.append(p["step"]))
    assert min(steps) == 0


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    """By a clock that goes on by a hundredth of a second with every report, and by 0.05 s with a save."""
    saves, now = [], [0.0]

    def wait(seconds):
        now[0] += seconds

    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop._Loop, "_save", lambda self, engine, path: (saves.append(now[0]), wait(0.05)))
    train_group(
        group_of("adamw", "fnn", budget=160),
        device="cpu",
        report=lambda progress: wait(0.01),
        checkpoint=tmp_path / "group",
        checkpoint_seconds=0.001,
    )
    assert len(saves) == 2
    assert saves[1] - saves[0] == pytest.approx(0.05 + 1.0, abs=0.05), "a second later, so that it is a twentieth"


def test_what_is_charged_adds_up_to_the_program_s(tmp_path):
    start = time.perf_counter()
    members = train_group(group_of("adamw", "fnn", budget=60), device="cpu")
    whole = time.perf_counter() - start
    assert 0.5 * whole < sum(run.train_seconds + run.eval_seconds for run in members) <= whole
    for run in members:
        about = {key: run.provenance[key] for key in ("plan", "members", "device")}
        assert about == {"plan": "batched", "members": 4, "device": "cpu"}
        assert run.provenance["parameters"] > 0
        assert run.peak_memory_bytes > 50e6


def test_runs_that_differ_in_more_than_numbers_are_refused():
    configs = [*group_of("adamw", "fnn")[:1], *group_of("grad-norm", "fnn")[1:2]]
    with pytest.raises(InputError, match="cannot share a program; group them with"):
        train_group(configs, device="cpu")


class OneDevice(TorchDispatchMode):
    """Every tensor that any operation takes or makes is on this device."""

    def __init__(self, device):
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        assert {tensor.device for tensor in tensors} <= {self._device}, func
        return result


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_step_stays_on_its_device_and_reads_no_value(method, model):
    """Which a graph demands. Tensors on ``meta`` have no values: to look at one is an error."""
    configs, meta = group_of(method, model), torch.device("meta")
    program = begin_together(configs, "meta")
    (length,) = program._buffer.fill(1)
    with OneDevice(meta):
        learns = program._doors.every is not None
        outer = [program._outer_SO] if learns else []
        batches = [program._examples(rows) for rows in (program._buffer.take(length), *outer)]
        state, gradients = torch.vmap(program._step_of_one)(program.state, program._numbers, *batches)
    assert [leaf.shape for _, _, leaf in leaves(state)] == [leaf.shape for _, _, leaf in leaves(program.state)]
    assert gradients.raw.keys() == gradients.filtered.keys() == program.state.params.keys()


def test_rows_are_scored_in_portions(float64, monkeypatch):
    monkeypatch.setattr(together, "_ANSWERS_AT_ONCE", 4 * 7)
    assert_same_runs(group_of("adamw", "fnn", budget=10), SHARP)


def test_the_moving_average_s_ring_is_written_in_place_not_copied(monkeypatch):
    copied, foreach_copy_ = set(), torch._foreach_copy_

    def noting(targets, sources):
        copied.update(target.data_ptr() for target in targets)
        foreach_copy_(targets, sources)

    monkeypatch.setattr(torch, "_foreach_copy_", noting)
    configs = group_of("grokfast-ma", "fnn")
    program = begin_together(configs)
    rings, totals = program.state.transform.window.values(), program.state.transform.total.values()
    gradients, _ = program.take_step(torch.arange(16).expand(4, 16))
    assert {total.data_ptr() for total in totals} <= copied
    assert not {ring.data_ptr() for ring in rings} & copied
    for ring, gradient in zip(rings, gradients.values(), strict=True):
        assert torch.equal(ring[..., 0], gradient)
