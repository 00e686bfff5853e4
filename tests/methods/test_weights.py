"""What is done to the weights after a step: one step of each by hand, and on which parameters it acts."""

import copy

import pytest
import torch

from grokkit.attach import attach
from grokkit.combine import among, masked
from grokkit.errors import InputError
from grokkit.methods.cautious_decay import cautious_decay
from grokkit.methods.clip_to_grok import clip_rows, start_rows
from grokkit.methods.ema_nesterov import ema_nesterov
from grokkit.methods.embedding_rate import embedding_rate
from grokkit.methods.freeze import freeze
from grokkit.methods.hyperball import hyperball
from grokkit.methods.norm_clamp import norm_clamp
from grokkit.methods.norm_held import norm_held
from grokkit.models.classes import classes_of
from grokkit.testing.runs import check_stacking, small_run
from grokkit.train.loop import begin_alone, train
from grokkit.weight_transform import change_in_place


def trained(method, steps=20):
    engine = begin_alone(small_run(method))
    start = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    for _ in range(steps):
        engine.take_step(engine.members[0].batches.next())
    return start, {name: p.detach() for name, p in engine.model.named_parameters()}, classes_of(engine.model)


@pytest.mark.parametrize(("ratio", "share", "expected"), [(1.0, 1.0, 10.0), (0.5, 1.0, 5.0), (1.0, 0.25, 6.25)])
def test_a_held_matrix_gets_its_first_norm_and_keeps_its_direction(ratio, share, expected):
    held = norm_held(ratio, share)
    state = held.init({"w": torch.tensor([[6.0, 8.0]])})
    new, _ = held.update({"w": torch.tensor([[3.0], [4.0]])}, state)
    torch.testing.assert_close(new["w"], torch.tensor([[0.6], [0.8]]) * expected)
    zero, _ = held.update({"w": torch.zeros(1, 2)}, state)
    assert torch.equal(zero["w"], torch.zeros(1, 2))


@pytest.mark.parametrize(("ratio", "share", "expected"), [(1.0, 1.0, 2.0), (0.5, 1.0, 1.0), (1.0, 0.25, 4.25)])
def test_a_matrix_that_starts_at_zero_grows_up_to_the_norm_of_pytorch_s_start(ratio, share, expected):
    """√(12/3) = 2 for twelve rows of any length; below that it is left alone, bit for bit, and a vector always is."""
    held = norm_held(ratio, share)
    direction = torch.randn(12, 5, 3)
    direction /= direction.norm()
    state = held.init({"w": torch.zeros(12, 5, 3), "v": torch.zeros(4)})
    for length, after in ((0.9, 0.9), (5.0, expected)):
        params = {"w": length * direction, "v": torch.full((4,), 9.0)}
        new, _ = held.update(params, state)
        torch.testing.assert_close(new["w"], after * direction)
        assert torch.equal(new["v"], params["v"])
        assert torch.equal(new["w"], params["w"]) is (length == after)
        change_in_place(held, params, state)
        assert torch.equal(params["w"], new["w"])
    starts = torch.stack([torch.nn.Linear(500, 300).weight.detach().norm() for _ in range(9)])
    assert starts.mean().item() == pytest.approx((300 / 3) ** 0.5, rel=0.01)


def test_norms_of_hidden_matrices_are_held_in_a_run_and_no_others():
    start, end, classes = trained("norm-held")
    for name in start:
        is_held = name in classes["hidden"]
        assert (float(end[name].norm() / start[name].norm().clamp(min=1e-9)) == pytest.approx(1.0, rel=1e-5)) is is_held


def test_all_weights_together_get_the_norm_that_they_had():
    clamp = norm_clamp(ratio=0.5)
    state = clamp.init({"a": torch.tensor([[6.0]]), "b": torch.tensor([0.0, 8.0])})
    new, _ = clamp.update({"a": torch.tensor([[2.0]]), "b": torch.tensor([1.0, 2.0])}, state)
    torch.testing.assert_close(new["a"], torch.tensor([[10.0 / 3]]))
    torch.testing.assert_close(new["b"], torch.tensor([5.0 / 3, 10.0 / 3]))
    placed = {"a": torch.tensor([[2.0]]), "b": torch.tensor([1.0, 2.0])}
    change_in_place(clamp, placed, state)
    assert all(torch.equal(placed[name], new[name]) for name in new)
    start, end, _ = trained("norm-clamp")
    whole = [torch.cat([p.flatten() for p in weights.values()]).norm() for weights in (start, end)]
    torch.testing.assert_close(whole[1], whole[0], rtol=1e-5, atol=0.0)


def test_a_step_on_the_hyperball_has_its_length_and_stays_at_the_radius():
    ball = hyperball(rate=1.0)
    start = {"w": torch.tensor([[5.0, 0.0]]), "zero": torch.zeros(1, 2)}
    state = ball.init(start)
    new, state = ball.update({"w": torch.tensor([[5.0, 0.1]]), "zero": torch.tensor([[0.0, 3.0]])}, state)
    torch.testing.assert_close(new["w"], torch.tensor([[12.5**0.5, 12.5**0.5]]))  # (5, 0) + (0, 5), brought to 5
    torch.testing.assert_close(new["zero"], torch.tensor([[0.0, 3.0]]))  # which has no sphere
    back, _ = ball.update({"w": new["w"] - torch.tensor([[0.0, 7.0]]), "zero": new["zero"]}, state)
    expected = new["w"] + torch.tensor([[0.0, -5.0]])
    torch.testing.assert_close(back["w"], 5.0 * expected / expected.norm())
    placed, own = {name: p.clone() for name, p in start.items()}, ball.init(start)
    placed["w"] += torch.tensor([[0.0, 0.1]])
    placed["zero"] += torch.tensor([[0.0, 3.0]])
    own = change_in_place(ball, placed, own)
    for name in new:
        torch.testing.assert_close(placed[name], new[name])
        torch.testing.assert_close(own.weights[name], new[name])


def test_a_gradient_is_taken_ahead_where_the_slow_part_of_the_way_leads():
    """The published recursion, written as it stands: θ, a step of SGD from θ + βm, and m the average of increments."""
    beta, gamma, rate = 0.6, 0.9, 0.1
    scale = torch.tensor([0.1, 1.0, 9.0])
    theta, slow, ahead = torch.ones(3), torch.zeros(3), []
    for _ in range(30):
        point = theta + beta * slow
        ahead.append(point)
        new = point - rate * scale * point
        theta, slow = new, gamma * slow + (1 - gamma) * (new - theta)
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=rate)
    attach(optimizer, ema_nesterov(beta, gamma))
    for expected in ahead:
        torch.testing.assert_close(p.detach(), expected)
        optimizer.zero_grad()
        (0.5 * scale * p.square()).sum().backward()
        optimizer.step()


def test_a_steady_step_becomes_as_much_larger_as_grokfast_would_make_it():
    lookahead = ema_nesterov(beta=0.6, gamma=0.9)
    w = {"w": torch.zeros(1, dtype=torch.float64)}
    state = lookahead.init(w)
    for _ in range(400):
        before = state.weights["w"].clone()
        w, state = lookahead.update({"w": w["w"] + 1.0}, state)
    torch.testing.assert_close(state.weights["w"] - before, torch.tensor([1.0 / (1.0 - 0.6)], dtype=torch.float64))


def test_a_head_that_starts_at_zero_learns_where_norms_are_held():
    start, end, classes = trained("norm-held+zero-head")
    (head,) = classes["head"]
    assert float(start[head].norm()) == 0.0
    assert float(end[head].norm()) > 0.1


def test_embedding_rate_is_a_group_of_adamw_with_that_rate():
    start, end, classes = trained("embedding-rate(c=4,lr=0.003,wd=1,lr_warmup=0)")
    engine = begin_alone(small_run("adamw(lr_warmup=0)"))
    rates = {"embedding": 0.012, "hidden": 0.003, "head": 0.003, "vector": 0.003}
    own = classes_of(engine.model)
    groups = [{"params": list(own[kind].values()), "lr": rate} for kind, rate in rates.items()]
    engine.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=1.0)
    for _ in range(20):
        engine.take_step(engine.members[0].batches.next())
    for name, p in engine.model.named_parameters():
        torch.testing.assert_close(end[name], p.detach(), rtol=1e-4, atol=1e-5)
    assert any(float((end[name] - start[name]).norm()) > 0.1 for name in classes["embedding"])


def test_clip_to_grok_starts_all_rows_at_c_and_clips_between_embedding_and_head():
    start, end, classes = trained("clip-to-grok(c=1,lr=0.03)")
    for p in start.values():
        norms = p.norm(dim=-1)
        assert all(norm == pytest.approx(1.0, rel=1e-5) or norm == 0.0 for norm in norms.flatten().tolist())
    clipped = {name for kind in ("hidden", "vector") for name in classes[kind]}
    for name, p in end.items():
        longest = float(p.norm(dim=-1).max())
        assert longest <= 1.0 + 1e-5 if name in clipped else longest > 1.0


def test_a_vector_is_one_row_and_zero_stays_zero():
    clip = clip_rows(2.0)
    new, _ = clip.update({"v": torch.tensor([3.0, 4.0]), "w": torch.tensor([[0.0, 0.0], [0.3, 0.4]])}, ())
    torch.testing.assert_close(new["v"], torch.tensor([1.2, 1.6]))
    torch.testing.assert_close(new["w"], torch.tensor([[0.0, 0.0], [0.3, 0.4]]))
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], [0.3, 0.4]]))
    found = start_rows(2.0)(layer, None, 0).tensors["weight"]
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [1.2, 1.6]]))


def test_a_transform_for_a_class_changes_no_other_parameter_in_either_form():
    params = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[2.0]])}
    classes = {"embedding": ["b"], "hidden": ["a"], "head": [], "vector": []}
    for make in (lambda: norm_held(ratio=0.5), lambda: clip_rows(c=1.0)):
        own = among(make(), classes)
        new, _ = own.update(params, own.init(params))
        assert {name: float(p) for name, p in new.items()} == {"a": 1.0, "b": 2.0}
        placed = {name: p.clone() for name, p in params.items()}
        change_in_place(own, placed, own.init(placed))
        assert {name: float(p) for name, p in placed.items()} == {"a": 1.0, "b": 2.0}


def test_each_composes_with_muon():
    for parts in ("muon(wd=0)+hyperball", "muon+norm-held+zero-head", "embedding-rate(c=3)+muon", "muon+row-clip"):
        run = train(small_run(parts))
        assert run.diverged_at is None


def test_only_what_the_step_brought_nearer_to_zero_decays():
    decay = cautious_decay(rate=0.5)
    state = decay.init({"w": torch.tensor([2.0, -2.0, 1.0, -1.0, 1.0])})
    new, state = decay.update({"w": torch.tensor([1.0, -1.0, 2.0, -2.0, 1.0])}, state)
    torch.testing.assert_close(new["w"], torch.tensor([0.5, -0.5, 2.0, -2.0, 1.0]))
    assert torch.equal(state["w"], new["w"]), "the next step is the optimizer's alone"


def test_embedding_and_head_freeze_some_steps_after_the_rows_are_fitted():
    frozen = freeze(at=0.9, wait=2)
    state, seen = frozen.init({"e": torch.zeros(1)}), []
    for step, share in enumerate([0.5, 0.95, 0.1, 0.1, 0.1, 0.1]):
        state = frozen.see(state, torch.tensor(share))
        new, state = frozen.update({"e": torch.tensor([step + 1.0])}, state)
        seen.append(new["e"].item())
    assert seen == [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]


def test_in_a_run_they_stop_and_the_layers_between_go_on():
    engine = begin_alone(small_run("freeze(at=0,wait=3)+row-clip"))
    classes = classes_of(engine.model)
    ends = []
    for _ in range(6):
        engine.take_step(engine.members[0].batches.next())
        ends.append({name: p.detach().clone() for name, p in engine.model.named_parameters()})
    for name in ends[0]:
        is_frozen = name in classes["embedding"] or name in classes["head"]
        assert torch.equal(ends[3][name], ends[2][name]) is is_frozen, name
        assert not torch.equal(ends[2][name], ends[1][name]), name


ATTACHED = {
    "norm-held": (norm_held, ["hidden"]),
    "embedding-rate": (embedding_rate, ["embedding"]),
    "clip-to-grok": (clip_rows, ["hidden", "vector"]),
    "cautious-decay": (cautious_decay, ["embedding", "hidden", "head", "vector"]),
    "ema-nesterov": (ema_nesterov, ["embedding", "hidden", "head", "vector"]),
}


@pytest.mark.parametrize("name", ATTACHED)
def test_attached_to_anybody_s_optimizer_it_is_the_lab_s(name):
    make, kinds = ATTACHED[name]
    engine, plain = begin_alone(small_run(name)), begin_alone(small_run(name))
    plain._weights = None
    classes = classes_of(plain.model)
    own = {name for kind in kinds for name in classes[kind]}
    plain.optimizer = torch.optim.AdamW(plain.model.named_parameters(), **_adamw_of(plain), fused=True)
    attach(plain.optimizer, masked(make(), lambda name, p: name in own))
    for _ in range(5):
        rows = engine.members[0].batches.next()
        engine.take_step(rows)
        plain.take_step(rows)
    for ours, theirs in zip(plain.model.parameters(), engine.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def _adamw_of(engine):
    (group,) = engine.optimizer.param_groups
    return {"lr": group["lr"], "betas": group["betas"], "weight_decay": group["weight_decay"]}


def test_composed_in_the_lab_no_part_takes_another_s_change_for_a_step():
    """Norms are halved at the first step, the optimizer's own steps are nothing, and so nothing moves from then on."""
    configs = [small_run("embedding-rate(lr=1e-12)+norm-clamp(ratio=0.5)", seed=seed) for seed in (0, 1)]
    engine = begin_alone(configs[0])
    start = [p.detach().clone() for p in engine.model.parameters()]
    for _ in range(3):
        engine.take_step(engine.members[0].batches.next())
    for p, before in zip(engine.model.parameters(), start, strict=True):
        torch.testing.assert_close(p.detach(), 0.5 * before, rtol=1e-5, atol=1e-9)
    check_stacking(configs, "embedding-rate+norm-clamp")


def test_what_looks_at_the_rows_cannot_be_attached():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="looks at which rows the outputs were right for"):
        attach(torch.optim.SGD(layer.named_parameters(), 0.1), masked(freeze(), lambda name, p: True))


@pytest.mark.parametrize("make", [norm_held, embedding_rate, cautious_decay])
def test_saved_and_loaded_with_the_optimizer_it_goes_on_bit_for_bit(make):
    def begun(weight):
        layer = torch.nn.Linear(3, 4, bias=False)
        with torch.no_grad():
            layer.weight.copy_(weight)
        optimizer = torch.optim.AdamW(layer.named_parameters(), 0.1)
        attach(optimizer, masked(make(), lambda name, p: True))
        return layer, optimizer

    def go_on(layer, optimizer, steps):
        for step in steps:
            layer.weight.grad = torch.linspace(-1.0, 1.0, 12).view(4, 3) * (step + 1)
            optimizer.step()

    torch.manual_seed(0)
    start = torch.randn(4, 3)
    layer, optimizer = begun(start)
    go_on(layer, optimizer, range(3))
    other, loaded = begun(layer.weight.detach())
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, own in ((layer, optimizer), (other, loaded)):
        go_on(each, own, range(3, 6))
    assert torch.equal(layer.weight, other.weight)
    if make is norm_held:
        assert layer.weight.norm().item() == pytest.approx(start.norm().item(), rel=1e-5)
