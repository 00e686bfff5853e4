"""On a CUDA device everything is as on the CPU: attached methods, graphs, groups of runs, studies."""

import gc
import warnings

import pytest
import torch
from cards import CARDS
from groups import METHODS, assert_same_run, group_of
from interrupted import Interrupted, interrupt_at

from grokkit import InputError, attach, grokfast_ema, recipe
from grokkit.methods import grokfast
from grokkit.study.execute import execute
from grokkit.study.machines import Processes
from grokkit.study.plan import make_plan
from grokkit.study.store import Store
from grokkit.testing.excitation import gradients, parameters
from grokkit.train import together
from grokkit.train.config import EvaluationConfig
from grokkit.train.graph import Graphed
from grokkit.train.loop import begin_together, train, train_group
from grokkit.train.resolve import method_config, model_config, task_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SIZES = {"matrix": (1030, 517), "vector": (517,), "scalar": ()}
SHARP = 1e-6  # relative, in float64: rounding, amplified by training


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Eager(Graphed):
    """Never records."""

    def __call__(self, length):
        return self._function(length)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.factory])
def test_attached_on_cuda_equals_cpu(name):
    card = CARDS[name]
    results = []
    for device in ("cpu", "cuda"):
        params = {n: torch.nn.Parameter(p.to(device)) for n, p in parameters().items()}
        optimizer = torch.optim.AdamW(params.values(), lr=1e-2)
        attach(optimizer, card.factory(**card.smallest))
        for grads in gradients():
            for n, p in params.items():
                p.grad = grads[n].to(device, copy=True)
            optimizer.step()
        results.append({n: (p.detach().cpu(), p.grad.cpu()) for n, p in params.items()})
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_average_of_a_large_model_in_one_pass_is_the_cpu_s(monkeypatch, dtype):
    """The kernel is given the gradients as its parameters, too: each entry is read before it is written."""
    monkeypatch.setattr(grokfast, "_LARGE", 1)
    results, calls, kernel = [], [], torch._fused_sgd_
    monkeypatch.setattr(torch, "_fused_sgd_", lambda *args, **settings: (calls.append(1), kernel(*args, **settings)))
    for device in ("cpu", "cuda"):
        generator = torch.Generator().manual_seed(0)
        params = {n: torch.nn.Parameter(torch.zeros(s, dtype=dtype, device=device)) for n, s in SIZES.items()}
        optimizer = torch.optim.SGD(params.values(), lr=1e-2)
        attach(optimizer, grokfast_ema())
        for _ in range(8):
            for n, p in params.items():
                p.grad = torch.randn(SIZES[n], generator=generator, dtype=dtype).to(device)
            optimizer.step()
        results.append({n: (p.detach().cpu(), p.grad.cpu()) for n, p in params.items()})
    assert len(calls) == 2 * 7
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.factory])
def test_a_captured_step_goes_on_at_every_replay(name):
    card, ends, given = CARDS[name], [], gradients()
    for captured in (True, False):
        params = {n: torch.nn.Parameter(p.cuda()) for n, p in parameters().items()}
        for p in params.values():
            p.grad = torch.zeros_like(p)
        optimizer = torch.optim.AdamW(params.values(), lr=1e-2, capturable=True)
        attach(optimizer, card.factory(**card.smallest))
        graph, step = torch.cuda.CUDAGraph(), optimizer.step
        for number, grads in enumerate(given):
            for n, p in params.items():
                p.grad.copy_(grads[n])
            if captured and number == 3:  # after some steps, on a stream of their own
                with torch.cuda.graph(graph):
                    optimizer.step()
                step = graph.replay  # recording has not run it
            if number < 3:
                stream = torch.cuda.Stream()
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    step()
                torch.cuda.current_stream().wait_stream(stream)
            else:
                step()
        torch.cuda.synchronize()
        ends.append(({n: p.detach().cpu() for n, p in params.items()}, optimizer.state_dict()["state"]))
    torch.testing.assert_close(ends[0][0], ends[1][0], rtol=1e-5, atol=1e-7)
    for index, entry in ends[0][1].items():
        assert {k: v for k, v in entry.items() if k == "grokkit/step"} == {
            k: v for k, v in ends[1][1][index].items() if k == "grokkit/step"
        }


def test_a_capture_without_capturable_is_refused():
    p = torch.nn.Parameter(torch.zeros(3, device="cuda"))
    p.grad = torch.ones_like(p)
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, grokfast_ema())
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that the graph, whose recording was refused, is empty
        with pytest.raises(InputError, match="capturable=True"), torch.cuda.graph(torch.cuda.CUDAGraph()):
            optimizer.step()


def test_n_calls_are_n_executions_recorded_or_not():
    device = torch.device("cuda:0")
    total, by_length = torch.zeros((), device=device), torch.zeros(8, device=device)

    def add(length):
        total.add_(length)
        by_length[length].add_(1)
        return total * 2

    step = Graphed(add, device)
    order = [5, 5, 6, 5, 5, 6, 5, 6, 6, 5, 6, 5, 6]
    for taken, length in enumerate(order, 1):
        assert step(length).item() == 2 * sum(order[:taken])
    assert by_length.tolist() == [order.count(length) for length in range(8)]


@pytest.mark.parametrize("model", ["fnn", "decoder"])
@pytest.mark.parametrize("method", METHODS)
def test_recorded_equals_eager(float64, monkeypatch, method, model):
    configs = group_of(method, model, budget=60)
    recorded = train_group(configs, device="cuda:0")
    monkeypatch.setattr(together, "Graphed", Eager)
    for run, expected in zip(recorded, train_group(configs, device="cuda:0"), strict=True):
        assert_same_run(run, expected, SHARP)


@pytest.mark.parametrize("batch_size", [16, None])
@pytest.mark.parametrize("model", ["fnn", "decoder"])
@pytest.mark.parametrize("method", METHODS)
def test_members_on_cuda_equal_runs_alone_on_the_cpu(float64, method, model, batch_size):
    configs = group_of(method, model, budget=100, batch_size=batch_size)
    members = train_group(configs, device="cuda:0")
    for member, config in zip(members, configs, strict=True):
        assert_same_run(member, train(config), SHARP)
        assert member.provenance["device"] == "cuda:0"
        assert member.peak_memory_bytes > 0


def test_in_float32_members_equal_runs_alone_for_a_while():
    configs = group_of("grokfast-ema", "decoder", budget=50)
    for member, config in zip(train_group(configs, device="cuda:0"), configs, strict=True):
        assert_same_run(member, train(config), 1e-3)


def test_more_rows_than_an_embedding_s_gradient_takes_without_sorting(float64):
    """Above 3072 indices PyTorch sorts them, which must not wait for the device while a graph is recorded."""
    task = task_config("add:61")
    (config, *_) = group_of("adamw", "decoder", task=task, batch_size=None, budget=20)
    configs = [config.model_copy(update={"seed": seed}) for seed in range(3)]
    for member, seed in zip(train_group(configs, device="cuda:0"), configs, strict=True):
        assert_same_run(member, train(seed), SHARP)


def test_the_finished_are_retired_and_the_graph_recorded_again(float64):
    every = EvaluationConfig(every=5, share=100.0)
    configs = group_of("grokfast-ema", "decoder", target=0.06, sustain=1, evaluation=every)
    for member, config in zip(train_group(configs, device="cuda:0"), configs, strict=True):
        assert_same_run(member, train(config), SHARP)


def test_interrupted_and_resumed(float64, tmp_path):
    configs, checkpoint = group_of("grokfast-ma", "fnn", budget=40), tmp_path / "group.safetensors"
    with pytest.raises(Interrupted):
        train_group(configs, device="cuda:0", report=interrupt_at(20), checkpoint=checkpoint, checkpoint_seconds=0)
    steps = []
    resumed = train_group(
        configs, device="cuda:0", checkpoint=checkpoint, report=lambda progress: steps.append(progress["step"])
    )
    assert min(steps) > 0
    for run, expected in zip(resumed, train_group(configs, device="cuda:0"), strict=True):
        assert_same_run(run, expected, SHARP)


def test_memory_is_given_back():
    configs = group_of("grokfast-ma", "fnn", budget=20)
    train_group(configs, device="cuda:0")
    before = torch.cuda.memory_allocated()
    train_group(configs, device="cuda:0")
    assert torch.cuda.memory_allocated() <= before


@pytest.mark.parametrize(
    "methods",
    [["adamw", "grokfast-ema"], ["adamw", "groktransfer(weak=fnn(dim=4,width=8),weak_steps=20)", "muon"]],
    ids=["stacked", "with arms that cannot be"],
)
def test_a_study_on_the_gpu(tmp_path, methods):
    plan = make_plan(
        methods=methods,
        seeds=2,
        baseline=None,
        command="test",
        task=task_config("add:11(layout=operands)"),
        model=model_config("fnn(width=16,dim=8,depth=2)"),
        budget=40,
        batch_size=16,
    )
    store = Store(tmp_path)
    with store.lock():
        assert execute(plan.runs, store, set(), on=Processes(2), on_event=lambda event: None, device="cuda:0") == {}
    runs, _ = store.load(plan.study["run_ids"])
    assert len(runs) == 2 * len(methods)
    assert all('"device": "cuda:0"' in about for about in runs["provenance"])


def smallest(card):
    """What is typed for the method with the settings under which it acts within a few steps."""
    return f"{card.name}({','.join(f'{name}={value}' for name, value in card.smallest.items())})"


ALONE = [
    *(smallest(card) for card in CARDS.values()),
    "neuralgrok(hidden=(6,5),every=3)",
    "lowrank-random(weak=random(dim=2),merge=7)",
    "zero-head+grokfast-ema+logit-temperature+row-clip(c=0.5)",
]

# By how much the losses of two runs on the CPU differ after 40 steps, relatively, whose starts differ by 1e-15 of
# themselves: these methods bring gradients that are rounding alone, or directions among which rounding chooses, to the
# size of any other. Those of all the other methods differ by at most 1e-15.
AMPLIFIED = {"egd-columns": 2e-5, "soap": 2e-4, "orthograd": 2e-7}


@pytest.mark.parametrize("model", ["fnn", "decoder"])
@pytest.mark.parametrize("method", ALONE)
def test_a_run_alone_on_cuda_equals_the_cpu_s(float64, method, model):
    (config, *_) = group_of("adamw", model, method=method_config(method), budget=40)
    run, expected = train(config, device="cuda:0"), train(config)
    for table in (run.tables, expected.tables):
        table.get("attempts", {}).pop("seconds", None)
    assert_same_run(run, expected, max(SHARP, 100 * AMPLIFIED.get(config.method.parts[0].name, 0.0)))
    assert run.provenance["device"] == "cuda:0"
    assert run.peak_memory_bytes > 0


@pytest.mark.parametrize("method", ["groktransfer(weak=fnn(dim=4,width=8),weak_steps=20)", "muon"])
def test_a_run_alone_on_cuda_is_resumed_bit_for_bit(tmp_path, method):
    (config, *_) = group_of("adamw", "fnn", method=method_config(method), budget=40)
    with pytest.raises(Interrupted):
        train(config, device="cuda:0", report=interrupt_at(16), checkpoint=tmp_path / "run", checkpoint_seconds=-1.0)
    steps = []
    resumed = train(
        config, device="cuda:0", checkpoint=tmp_path / "run", report=lambda progress: steps.append(progress["step"])
    )
    assert steps[0] > 10
    assert resumed.curves["train_loss"] == pytest.approx(train(config, device="cuda:0").curves["train_loss"], rel=1e-6)


def test_groups_one_after_the_other_keep_no_more_memory_than_one(float64):
    """A side stream for each would leave a workspace of cuBLAS for each."""
    configs, left = group_of("adamw", "decoder", budget=20), []
    for _ in range(4):
        train_group(configs, device="cuda:0")
        left.append(torch.cuda.memory_allocated())
    assert left[1:] == left[:1] * 3


def test_graphs_that_only_the_collector_would_free_harm_no_capture(float64):
    """Groups are left in circles of references, and the collector is due at every allocation of the next capture."""
    configs, before, circles = group_of("neuralgrok", "decoder", budget=20), gc.get_threshold(), []
    gc.set_threshold(1)
    try:
        for _ in range(3):
            engine = begin_together(configs, "cuda:0")
            engine.train_to(10)
            circles.append(engine)
            engine.itself = engine
            del circles[:], engine  # no release(): an error may have come between
    finally:
        gc.set_threshold(*before)
    torch.cuda.synchronize()


def test_the_recipe_trains_on_cuda_as_on_the_cpu(float64):
    ends = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        layers = torch.nn.Embedding(11, 8), torch.nn.Flatten(), torch.nn.Linear(16, 12), torch.nn.ReLU()
        model = torch.nn.Sequential(*layers, torch.nn.Linear(12, 11)).to(device)
        made = recipe(model)
        loss = made.loss(torch.nn.functional.cross_entropy)
        rows = torch.cartesian_prod(torch.arange(11), torch.arange(11)).to(device)
        for _ in range(30):
            made.optimizer.zero_grad()
            loss(model(rows), rows.sum(1) % 11).backward()
            made.optimizer.step()
        ends.append({name: p.detach().cpu() for name, p in model.named_parameters()})
    torch.testing.assert_close(ends[1], ends[0], rtol=SHARP, atol=1e-9)
