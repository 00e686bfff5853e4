import json
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from cards import CARDS
from interrupted import Interrupted, curves, interrupt_after
from probed import PROBED

from grokkit.probe.contract import Probe
from grokkit.registry import Part, parts
from grokkit.rng import stream
from grokkit.testing.runs import small_run
from grokkit.train import identity
from grokkit.train.batches import Batches
from grokkit.train.columns import CURVES, QUICK_CHECKS
from grokkit.train.config import EvaluationConfig
from grokkit.train.events import EVENTS_VERSION, find_events
from grokkit.train.loop import begin_alone, train
from grokkit.train.optimizers import build_optimizer, warmup
from grokkit.train.problem import build_batches, build_problem
from grokkit.train.record import Run
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_model

OFTEN = EvaluationConfig(every=5, share=100.0)  # at every step of the grid


EMBEDDING = ("fourier", "circle", "pca")  # tables of every modular task
MECHANISM = ("logits", "spectra", "path")  # tables of every network


def test_same_configuration_same_curves(tiny):
    torch.manual_seed(1)
    first = train(tiny())
    torch.manual_seed(2)  # the global generator plays no part
    assert curves(train(tiny())) == curves(first)
    assert curves(train(tiny(seed=1))) != curves(first)


# The first method of each code: the others differ in settings only.
CODES = {
    (card.factory, card.bilevel, card.start, card.loss, card.optimizer, card.weights): name
    for name, card in reversed(CARDS.items())
}.values()


@pytest.mark.parametrize(
    ("method", "batch_size"), [*((name, 16) for name in CODES), ("adamw", None), ("neuralgrok", None)]
)
def test_interrupted_and_resumed_is_bit_for_bit_the_same(tiny, tmp_path, method, batch_size):
    card = CARDS[method]
    settings = ",".join(f"{k}={v}" for k, v in card.smallest.items())
    config = tiny(f"{method}({settings})" if settings else method, batch_size=batch_size)
    whole = train(config)
    checkpoint = tmp_path / "checkpoint.safetensors"
    for evaluations in (2, 3):
        with pytest.raises(Interrupted):
            train(config, report=interrupt_after(evaluations), checkpoint=checkpoint, checkpoint_seconds=0)
    reports = []
    resumed = train(config, report=reports.append, checkpoint=checkpoint, checkpoint_seconds=1e9)
    assert curves(resumed) == curves(whole)
    for run in (whole, resumed):  # how long a weak model took is all that may differ
        run.tables.get("attempts", {}).pop("seconds", None)
    assert resumed.tables == whole.tables
    assert (resumed.outer_steps, resumed.kept.keys()) == (whole.outer_steps, whole.kept.keys())
    assert all((resumed.kept[name] == tensor).all() for name, tensor in whole.kept.items())
    assert len(reports) == 9 - 2 - 3, "it went on, and did not start again"
    assert resumed.curves["train_seconds"] == sorted(resumed.curves["train_seconds"])


@pytest.fixture
def probed(monkeypatch):
    monkeypatch.setitem(parts("methods"), "probed", PROBED)


def test_what_probes_found_before_an_interruption_is_kept(tiny, tmp_path, probed):
    config = tiny("probed", evaluation=OFTEN)
    whole = train(config)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        train(config, report=interrupt_after(4), checkpoint=checkpoint, checkpoint_seconds=0)
    resumed = train(config, checkpoint=checkpoint)
    assert resumed.tables == whole.tables
    assert resumed.tables["counter"]["steps"] == [5, 10, 15, 20, 25, 30, 35, 40]


@pytest.mark.parametrize("damage", ["cut", "foreign", "other run"])
def test_a_checkpoint_that_is_not_this_run_s_is_not_used(tiny, tmp_path, damage):
    checkpoint = tmp_path / "checkpoint.safetensors"
    config = tiny(seed=1) if damage == "other run" else tiny()
    with pytest.raises(Interrupted):
        train(config, report=interrupt_after(3), checkpoint=checkpoint, checkpoint_seconds=0)
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    if damage == "foreign":
        checkpoint.write_bytes(b"something else")
    assert curves(train(tiny(), checkpoint=checkpoint)) == curves(train(tiny()))


def test_arms_are_paired(tiny):
    runs = [train(tiny(method)) for method in ("adamw", "grokfast-ema", "grad-norm")]
    starts = {tuple(run.curves[name][0] for name in ("train_loss", "test_loss", "weight_norm")) for run in runs}
    assert len(starts) == 1, "same split, same initial weights"
    first_gradients = {train(tiny(m, budget=1)).curves["gradient_norm"][-1] for m in ("adamw", "grokfast-ema")}
    assert len(first_gradients) == 1, "same first batch"


def test_split_does_not_depend_on_the_model(tiny):
    small = build_problem(tiny())
    large = build_problem(tiny(model="fnn(width=8)"))
    assert torch.equal(small.split.train, large.split.train)
    assert torch.equal(small.train_sample, large.train_sample)


def test_initial_weights_are_pytorch_s_and_leave_the_global_generator_alone(tiny):
    config = tiny()
    before = torch.random.get_rng_state()
    problem = build_problem(config)
    model = build_model(config.model, problem.task, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    same = build_model(config.model, problem.task, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    deeper = build_model(model_config("decoder(width=32,depth=3)"), problem.task, seed=3)
    assert torch.equal(model.token_embeddings.weight, deeper.token_embeddings.weight), "same where shapes allow"


def test_batches_pass_over_all_rows_and_can_be_restored():
    rows = torch.arange(100, 123)
    batches = Batches(rows, 10, stream(0, "batches"), "own-batch")
    passes = [[batches.next() for _ in range(3)] for _ in range(2)]
    for batch in passes:
        assert [len(b) for b in batch] == [10, 10, 3]
        assert torch.equal(torch.cat(batch).sort().values, rows)
    assert not torch.equal(passes[0][0], passes[1][0])
    batches.next()
    state = {k: v.clone() for k, v in batches.state().items()}
    expected = [batches.next() for _ in range(5)]
    other = Batches(rows, 10, stream(7, "batches"), "own-batch")
    other.restore(state)
    assert all(torch.equal(a, b) for a, b in zip(expected, (other.next() for _ in range(5)), strict=True))
    assert torch.equal(Batches(rows, 50, stream(0, "batches")).next(), rows)


def test_a_batch_does_not_take_longer_the_more_there_are():
    class Ends(list):
        def __iter__(self):
            raise AssertionError("one after the other")

    batches = Batches(torch.arange(1000), 1, stream(0, "batches"))
    batches._ends = Ends(batches._ends)
    assert torch.equal(torch.cat([batches.next() for _ in range(1000)]).sort().values, torch.arange(1000))


def test_spread_batches_differ_by_one_row_at_most():
    for rows, size in ((23, 10), (5645, 512), (24, 8), (9, 1)):
        batches = Batches(torch.arange(rows), size, stream(0, "batches"))
        one_pass = [batches.next() for _ in range(-(-rows // size))]
        assert torch.equal(torch.cat(one_pass).sort().values, torch.arange(rows))
        lengths = {len(batch) for batch in one_pass}
        assert max(lengths) <= size
        assert max(lengths) - min(lengths) <= 1


def test_costs_are_counted_apart(tiny):
    run = train(tiny(budget=20))
    flops = run.curves["flops"]
    model = build_model(tiny().model, build_problem(tiny()).task, 0)
    assert len(build_problem(tiny()).split.train) == 60
    assert flops[-1] == run.flops == 20 * model.step_flops(15, 4)
    assert run.train_seconds > 0
    assert run.eval_seconds > 0
    assert run.curves["train_seconds"][-1] == pytest.approx(run.train_seconds)
    assert run.peak_memory_bytes > 50e6


def test_at_small_batches_a_crossing_is_seen_where_it_is(tiny):
    """In batches of 16 of a parity of 2 of 20 bits, against the same run evaluated at every step."""
    config = tiny(
        model="fnn(width=64,dim=32)",
        task=task_config("parity:20,2", train_size=1000),
        budget=400,
        evaluation=EvaluationConfig(),
    )
    run = train(config)
    every_step = EvaluationConfig(every=1, growth=0, share=1e6)
    dense = train(config.model_copy(update={"budget": 150, "sustain": 80, "evaluation": every_step}))
    crossing = dense.events.generalized_at
    assert 40 < crossing < 100
    events = run.events
    assert crossing <= events.generalized_first_at <= crossing + 10
    assert events.generalized_at - events.resolution_steps < crossing, "what it says of itself is true"
    assert run.steps <= events.generalized_at + 50, "five more steps of the grid"
    checks = run.tables["quick_checks"]
    assert checks["step"][:3] == [10, 20, 30]
    places = [dense.curves["step"].index(step) for step in checks["step"]]
    exact = [dense.curves["test_accuracy"][place] for place in places]
    assert checks["test_accuracy"] == pytest.approx(exact, abs=0.15), "128 rows know it to 4.4 % at worst"
    assert checks["rows"] == [128] * len(places)


def test_evaluation_is_exact(tiny):
    config = tiny(budget=5, evaluation=tiny().evaluation.model_copy(update={"train_rows": 10**6}))
    problem = build_problem(config)
    model = build_model(config.model, problem.task, config.seed)
    run = train(config)
    for name in ("train", "validation", "test"):
        rows = getattr(problem.split, name)
        logits, targets = model(problem.task.inputs_NT[rows]), problem.task.targets_N[rows]
        assert run.curves[f"{name}_loss"][0] == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-5)
        assert run.curves[f"{name}_accuracy"][0] == pytest.approx((logits.argmax(1) == targets).float().mean().item())


def three_steps_by_hand(config):
    """Weights after three steps, and the last of the gradients, raw and filtered, by name."""
    problem = build_problem(config)
    model, batches = build_model(config.model, problem.task, config.seed), build_batches(config, problem)
    optimizer = build_optimizer(config.method.optimizer, model)
    params = dict(model.named_parameters())
    factory = CARDS[config.method.name].factory
    transform = None if factory is None else factory(**config.method.parts[0].settings)
    state = None if transform is None else transform.init(params)
    raw, filtered = {}, {}
    for step in range(3):
        rows = batches.next()
        optimizer.zero_grad()
        F.cross_entropy(model(problem.task.inputs_NT[rows]), problem.task.targets_N[rows]).backward()
        raw = filtered = {name: p.grad.clone() for name, p in params.items()}
        if transform is not None:
            filtered, state = transform.update(dict(raw), state, params)
        for name, p in params.items():
            p.grad = filtered[name].clone()
        optimizer.param_groups[0]["lr"] = config.method.optimizer.lr * warmup(config.method.optimizer, step)
        optimizer.step()
    return [{name: x.detach().flatten().double() for name, x in of.items()} for of in (params, raw, filtered)]


def entropy(x):
    return -float((x.abs() * x.abs().clamp(min=1e-300).log()).sum())


@pytest.mark.parametrize("method", ["adamw", "adam-paper", "adamw(optimizer=sgd)", "grokfast-ema", "grad-norm"])
def test_what_the_method_does_to_the_gradient(tiny, method):
    """Against the same steps by hand: over the whole model in the curves, each tensor in its table."""
    config = tiny(method, budget=3)
    run = train(config)
    weights, raw, filtered = three_steps_by_hand(config)
    last = {column: values[-len(weights) :] for column, values in run.tables["tensors"].items()}
    assert last["step"] == [3] * len(weights)
    assert last["tensor"] == list(weights)
    for row, name in enumerate(weights):
        if "in_proj_bias" not in name:  # the key's gradient is rounding alone
            assert last["weight_entropy"][row] == pytest.approx(entropy(weights[name]), rel=1e-4, abs=1e-5)
        assert last["gradient_entropy"][row] == pytest.approx(entropy(raw[name]), rel=1e-3, abs=1e-6)
        assert last["filtered_gradient_entropy"][row] == pytest.approx(entropy(filtered[name]), rel=1e-3, abs=1e-6)
        cosine = float(F.cosine_similarity(raw[name], filtered[name], dim=0))
        assert last["gradient_cosine"][row] == pytest.approx(cosine, abs=1e-4)
    g, f = (torch.cat(list(of.values())) for of in (raw, filtered))
    found = {column: values[-1] for column, values in run.curves.items()}
    assert found["gradient_norm"] == pytest.approx(float(g.norm()), rel=1e-4)
    assert found["filtered_gradient_norm"] == pytest.approx(float(f.norm()), rel=1e-4)
    assert found["filtered_gradient_entropy"] == pytest.approx(entropy(f), rel=1e-3)
    assert found["gradient_cosine"] == pytest.approx(float(F.cosine_similarity(g, f, dim=0)), abs=1e-4)
    if CARDS[config.method.name].factory is None:
        assert found["filtered_gradient_norm"] == found["gradient_norm"]
        assert found["filtered_gradient_entropy"] == found["gradient_entropy"]
        assert found["gradient_cosine"] == pytest.approx(1.0, abs=1e-12)
    else:
        assert found["gradient_cosine"] < 0.999


def test_tensors_have_a_row_an_evaluation_that_sums_to_the_curves(tiny):
    config = tiny("grokfast-ema", evaluation=OFTEN)
    run = train(config)
    names = [name for name, _ in build_model(config.model, build_problem(config).task, 0).named_parameters()]
    steps, table = run.curves["step"], run.tables["tensors"]
    assert steps == list(range(0, 41, 5))
    assert table["step"] == [step for step in steps for _ in names]
    assert table["tensor"] == names * len(steps)
    gradients = ("gradient_entropy", "filtered_gradient_entropy", "gradient_cosine")
    for column in gradients:
        assert [value is None for value in table[column]] == [step == 0 for step in table["step"]]
    for column in ("filtered_gradient_norm", "filtered_gradient_entropy", "gradient_cosine"):
        assert [value is None for value in run.curves[column]] == [step == 0 for step in steps]
    for column in ("weight_entropy", *gradients[:2]):
        for index, total in enumerate(run.curves[column]):
            if total is not None:
                own = table[column][index * len(names) : (index + 1) * len(names)]
                assert sum(own) == pytest.approx(total, rel=1e-12)


def test_the_tangent_kernel_moves_while_features_are_learned_and_not_without_steps(tiny):
    distances = {}
    for lr in (1e-12, 0.01):
        run = train(tiny(f"adamw(lr={lr},wd=0)", evaluation=OFTEN))
        assert run.tables["ntk"]["step"] == run.curves["step"]
        first, *distances[lr] = run.tables["ntk"]["kernel_distance"]
        assert first is None, "there is none to compare it with"
    assert all(0 <= distance < 1e-9 for distance in distances[1e-12])
    assert all(1e-6 < distance < 1 for distance in distances[0.01])


def test_a_method_s_own_probe_is_asked_at_every_evaluation(tiny, probed):
    run = train(tiny("probed", evaluation=OFTEN))
    evaluated = run.curves["step"][1:]
    assert len(evaluated) == 8
    assert run.tables.keys() == {"tensors", *EMBEDDING, *MECHANISM, "ntk", "sums", "counter"}
    assert run.tables["counter"] == {"step": evaluated, "steps": evaluated}
    sums, tensors = run.tables["sums"], run.tables["tensors"]
    names = tensors["tensor"][: tensors["step"].count(0)]
    assert list(sums) == ["step", "tensor", "gradient_square", "total_norm"]
    assert sums["tensor"] == names * len(evaluated)
    assert sums["step"] == [step for step in evaluated for _ in names]
    for index, norm in enumerate(run.curves["gradient_norm"][1:]):
        own = sums["gradient_square"][index * len(names) : (index + 1) * len(names)]
        assert sum(own) == pytest.approx(norm**2, rel=1e-4), "the raw gradient"


def test_without_validation_part_its_curves_are_empty(tiny):
    run = train(tiny(budget=5, task=task_config("add:11", validation_fraction=0.0)))
    assert set(run.curves["validation_loss"]) == {None}


def test_divergence_ends_the_run_and_is_recorded(tiny):
    run = train(tiny("adamw(optimizer=sgd,lr=1e30,lr_warmup=0,wd=0)", budget=50))
    assert run.status == "diverged"
    assert run.diverged_at == run.steps < 50
    record = run.record()
    json.dumps(record)
    assert (record["generalized_at"], record["below_until"]) == (None, 50), "it cannot come back within its budget"
    assert record["flops_below_until"] == pytest.approx(50 / run.steps * run.flops)
    assert record["train_seconds_below_until"] == pytest.approx(50 / run.steps * run.train_seconds)


def a_run(tiny, test, *, diverged_at=None, **counts):
    """As the trainer leaves it, with these accuracies at every tenth step of a budget of 100."""
    steps = [10 * i for i in range(len(test))]
    columns = {"step": steps, "train_seconds": [2.0 + step for step in steps], "flops": [500 + step for step in steps]}
    return Run(
        config=tiny(budget=100),
        curves={name: columns.get(name, [1.0] * len(steps)) for name in CURVES},
        tables={},
        kept={},
        outer_steps=0,
        outer_rows=0,
        start_seconds=2.0,
        start_flops=500,
        events=find_events(steps, test, test, target=0.95, sustain=5),
        diverged_at=diverged_at,
        eval_seconds=0.0,
        peak_memory_bytes=0,
        provenance={},
        **{"steps": 100, "train_seconds": 102.0, "flops": 600, **counts},
    )


BOUND = ("below_until", "train_seconds_below_until", "flops_below_until")


@pytest.mark.parametrize(
    ("test", "bound"),
    [
        ([0.9] * 11, (100, 102.0, 600)),
        ([0.9] * 8 + [0.95] * 3, (70, 72.0, 570)),  # there at the end, and not for long enough
        ([0.95] * 3, (0, 2.0, 500)),
        ([0.9] * 5 + [0.95] * 6, (None, None, None)),
    ],
)
def test_a_run_that_did_not_stay_is_bounded_by_its_last_evaluation_below(tiny, test, bound):
    record = a_run(tiny, test).record()
    assert tuple(record[key] for key in BOUND) == bound
    assert record["status"] == ("generalized" if bound[0] is None else "censored")
    assert (record["dips"], record["deepest_dip"]) == ((None, None) if max(test) < 0.95 else (0, 0.0))


@pytest.mark.parametrize(
    ("steps", "bound"),
    # Twenty steps at their pace, 0.5 s and 3 FLOPs, four more times; without a step what was spent, on the start alone.
    [(20, (100, 2.0 + 100 * 0.5, 500 + 100 * 3.0)), (0, (100, 2.0, 500))],
)
def test_a_run_that_diverged_is_charged_its_budget_at_its_own_pace_and_the_start_once(tiny, steps, bound):
    spent = {"train_seconds": 2.0 + steps * 0.5, "flops": 500 + steps * 3}
    run = a_run(tiny, [0.9, 0.95, 0.95][: 1 + steps // 10], diverged_at=steps, steps=steps, **spent)
    record = run.record()
    assert (record["status"], record["generalized_at"]) == ("diverged", None), "a window cut short is no success"
    assert tuple(record[key] for key in BOUND) == bound


def test_a_run_that_stayed_and_diverged_later_is_a_success(tiny):
    run = a_run(tiny, [0.9] + [0.95] * 6, diverged_at=65, steps=65)
    assert (run.status, run.below_until, run.record()["diverged_at"]) == ("generalized", None, 65)


def test_record_has_what_the_format_promises(tiny):
    run = train(tiny(budget=10))
    record = run.record()
    assert json.loads(json.dumps(record)) == record
    assert tuple(run.curves) == CURVES
    assert len({len(values) for values in run.curves.values()}) == 1
    assert run.tables.keys() == {"tensors", *EMBEDDING, *MECHANISM, "ntk", "quick_checks"}
    assert tuple(run.tables["quick_checks"]) == QUICK_CHECKS
    assert json.loads(json.dumps(run.tables)) == run.tables
    assert (record["status"], record["generalized_at"], record["steps"]) == ("censored", None, 10)
    assert record["provenance"]["threads"] == torch.get_num_threads()


def test_hash_changes_with_what_changes_the_run_and_not_with_its_name(tiny):
    base = tiny().hash()
    assert tiny(method=method_config("adamw(lr=0.003)")).hash() == base, "the default, spelled out"
    for change in ({"seed": 1}, {"budget": 41}, {"batch_size": None}, {"task": task_config("sub:11")}):
        assert tiny(**change).hash() != base
    assert tiny("grokfast-ema").run_id().startswith("grokfast-ema--seed0--")


def test_hash_changes_with_what_the_events_mean(tiny, monkeypatch):
    now = tiny().hash()
    monkeypatch.setattr(identity, "EVENTS_VERSION", EVENTS_VERSION + 1)
    assert tiny().hash() != now


def test_warmup_is_the_papers_first_step_does_not_move(tiny):
    run = train(tiny("adamw(wd=0)", budget=1))
    assert run.curves["weight_norm"][0] == run.curves["weight_norm"][1]
    moved = train(tiny("adamw(wd=0,lr_warmup=0)", budget=1))
    assert not math.isclose(moved.curves["weight_norm"][0], moved.curves["weight_norm"][1], rel_tol=1e-9)


def test_a_run_goes_on_until_it_is_stable(tiny):
    easy = {"target": 0.01, "sustain": 1, "budget": 400}
    stopped, longer = train(tiny(**easy)), train(tiny(**easy, after=60))
    at = stopped.events.generalized_at
    assert at is not None
    assert longer.events.generalized_at == at
    stable = longer.events.stable_at
    assert stopped.steps < stable + 60 <= longer.steps < 400
    assert longer.steps == min(step for step in longer.curves["step"] if step >= stable + 60), "not longer than needed"
    watched = [step for step in longer.curves["step"] if step >= longer.events.generalized_first_at]
    assert {after - before for before, after in pairwise(watched)} == {5}, "no dip between two steps of the grid"
    assert stopped.events.stable_at is None, "nobody asked"


def test_norms_are_held_where_they_were_when_an_embedding_is_merged():
    method = "groktransfer(weak=random(dim=4),merge=10)+norm-held(ratio=0.5)"
    engine, norms = begin_alone(small_run(method, "add:11", "fnn(dim=4,width=8)")), []
    for step in (10, 11, 20):
        engine.train_to(step)
        weights = dict(engine.model.named_parameters())
        norms.append([float(weights[f"layers.{place}.weight"].detach().norm()) for place in (0, 1)])
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    assert norms[2] == pytest.approx(norms[0], rel=1e-4)


def test_a_freeze_waits_no_longer_where_an_embedding_is_merged():
    stands_still = []
    for merge in ("none", 10):
        config = small_run(
            f"groktransfer(weak=random(dim=4),merge={merge})+freeze(at=0,wait=12)", "add:11", "fnn(dim=4,width=8)"
        )
        engine, before = begin_alone(config), torch.empty(0)
        for step in range(1, 30):
            engine.train_to(step)
            head = dict(engine.model.named_parameters())["layers.2.weight"].detach().clone()
            if torch.equal(head, before):
                stands_still.append(step)
                break
            before = head
    assert stands_still == [13, 13]


NOISY = """
import torch
from torch import nn
from grokkit.models import ModelCard

class Noisy(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.embedding, self.head = nn.Embedding(task.words, 8), nn.Linear(8, task.classes)

    def forward(self, tokens):
        x = self.embedding(tokens).sum(1)
        return self.head(x + 0.1 * torch.randn_like(x))

CARD = ModelCard(name="noisy", build=lambda task: Noisy(task), reads=("expressions",))
"""


def test_what_draws_at_random_is_trained_alike_however_often_and_by_what_it_is_looked_at(tmp_path, monkeypatch):
    def drawing(view):
        return {"drawn": {"number": [float(torch.randn(()))]}}

    (tmp_path / "nets.py").write_text(NOISY)

    def weights(every):
        config = small_run("adamw", model=f"{tmp_path / 'nets.py'}:CARD", evaluation=EvaluationConfig(every=every))
        return dict(zip(*map(train(config).curves.get, ("step", "weight_norm")), strict=True))

    often, seldom = weights(5), weights(10)
    card = Probe("drawing", drawing, "draws")
    monkeypatch.setitem(parts("probes"), "drawing", Part("probes", "drawing", card, "a test", "", "drawing"))
    probed = weights(10)
    assert len(seldom) > 3
    assert seldom.items() <= often.items()
    assert probed == seldom
