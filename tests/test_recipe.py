"""The recipe for anybody's model: the same rule as the lab's arm, and what a training loop does with its optimizer."""

import copy
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

import grokkit
from grokkit.attach import attached
from grokkit.errors import InputError
from grokkit.methods.recommended import recommended_optimizer, start_tensors
from grokkit.models.classes import classes_of
from grokkit.testing.runs import small_run
from grokkit.train.loop import begin_alone


class Network(nn.Module):
    """A matrix of each class, a convolution and vectors; tied, the head is the embedding's table."""

    def __init__(self, tied=False):
        super().__init__()
        self.table = nn.Embedding(7, 6)
        self.conv = nn.Conv1d(6, 6, 3, padding=1)
        self.hidden = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 7, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.conv(self.table(tokens).mT).mT.mean(1)
        return self.head(self.norm(x + torch.relu(self.hidden(x))))


def network(**settings):
    torch.manual_seed(0)
    return Network(**settings)


def batch(step, rows=8):
    generator = torch.Generator().manual_seed(step)
    return torch.randint(7, (rows, 3), generator=generator), torch.randint(7, (rows,), generator=generator)


def gradient_of(model, step, loss=F.cross_entropy):
    tokens, targets = batch(step)
    model.zero_grad()
    loss(model(tokens), targets).backward()


def train(model, optimizer, steps):
    for step in steps:
        gradient_of(model, step)
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def trained_beside(method, model, **settings):
    """A recipe, and the parameters that a loop as anybody writes it has trained with it; after six steps on the same
    rows they are those that the lab's ``method`` has trained."""
    lab = begin_alone(small_run(method, model=model))
    bare = begin_alone(small_run("adamw", model=model))
    r = grokkit.recipe(bare.model, **settings)
    loss = r.loss(bare._task.loss)
    for _ in range(6):
        rows = lab.members[0].batches.next()
        lab.take_step(rows)
        inputs, targets = bare._task.batch(rows)
        r.optimizer.zero_grad()
        loss(bare._task.forward(bare.model, inputs), targets).backward()
        r.optimizer.step()
    for ours, theirs in zip(bare.model.parameters(), lab.model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-7)
    return r, list(bare.model.parameters())


@pytest.mark.parametrize("model", ["decoder(width=8,heads=2)", "fnn(dim=4,width=8,bias=true)", "fnn(init_scale=5)"])
def test_the_arm_recommended_and_the_recipe_are_the_same_rule(model):
    """Value for value over steps of the lab's loop, and of a loop as anybody writes it."""
    _, trained = trained_beside("recommended", model)
    plain = begin_alone(small_run("adamw", model=model)).model
    for ours, start in zip(trained, plain.parameters(), strict=True):
        assert float((ours - start).detach().norm()) > 1e-3


def test_another_transform_is_attached_with_it_as_the_lab_composes_them():
    model = "decoder(width=8,heads=2)"
    r, _ = trained_beside("grokfast-ema+recommended", model, transform=grokkit.grokfast_ema())
    with pytest.raises(InputError, match=r"pass yours to recipe\(model, transform=...\)"):
        grokkit.attach(r.optimizer, grokkit.grokfast_ema())


def test_a_transform_that_cannot_be_attached_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    nn.init.normal_(model[0].weight, std=10)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(InputError, match="call it: grokfast_ema"):
        grokkit.recipe(model, transform=grokkit.grokfast_ema)
    assert same(model.parameters(), before)


def test_it_says_which_parameters_are_treated_how():
    model = network()
    model.norm.requires_grad_(False)
    text = str(grokkit.recipe(model))
    assert text.splitlines() == [
        "grokkit's recipe for Network",
        "  starts smaller       none",
        "  Muon, norm held      conv.weight, hidden.weight",
        "  AdamW, the embedding table.weight",
        "  AdamW, the head      head.weight",
        "  AdamW, vectors       conv.bias, hidden.bias",
        "  frozen, left alone   norm.weight, norm.bias",
        "  loss                 as it is",
    ]


def rates(optimizer):
    return {
        name: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for name in group["param_names"]
    }


def test_rates_fall_with_a_matrix_s_inputs_and_a_table_s_row_is_one():
    hidden, vector = (0.02, 0.0), (0.003, 1.0)
    vectors = dict.fromkeys(["conv.bias", "hidden.bias", "norm.weight", "norm.bias"], vector)
    matrices = {"conv.weight": hidden, "hidden.weight": hidden} | vectors
    untied = {"table.weight": (0.03, 0.1), "head.weight": (0.03, 1.0)}  # 1/6 is more than 0.03
    assert rates(grokkit.recipe(network()).optimizer) == untied | matrices
    assert rates(grokkit.recipe(network(tied=True)).optimizer) == {"table.weight": (0.03, 1.0)} | matrices
    wide = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    biases = dict.fromkeys(["0.bias", "2.bias", "4.bias"], vector)
    expected = {"0.weight": (1 / 40, 1.0), "2.weight": hidden, "4.weight": (1 / 64, 1.0)} | biases
    assert rates(grokkit.recipe(wide).optimizer) == expected
    slower = recommended_optimizer(per_input=0.4, table_lr=0.009)(classes_of(wide))
    assert rates(slower) == expected | {"0.weight": (0.009, 1.0), "4.weight": (0.4 / 64, 1.0)}


def test_what_is_looked_up_is_no_matrix_unless_it_is_a_tied_head_as_well():
    assert classes_of(network()).looked_up == {"table.weight"}
    assert classes_of(network(tied=True)).looked_up == set()
    model = network()
    model.table.requires_grad_(False)
    trained = classes_of(model).trained()
    assert trained["embedding"] == {}
    assert trained["head"].keys() == {"head.weight"}


def test_norms_of_hidden_matrices_stay_and_no_others():
    model = network()
    before = {name: float(p.detach().norm()) for name, p in model.named_parameters()}
    r = grokkit.recipe(model)
    assert r.started == ()
    train(model, r.optimizer, range(5))
    for name, p in model.named_parameters():
        assert (float(p.detach().norm()) == pytest.approx(before[name], rel=1e-5)) is (name in r.classes["hidden"])


def test_a_tied_head_is_an_embedding_and_learns():
    tied = network(tied=True)
    before = tied.head.weight.detach().clone()
    r = grokkit.recipe(tied)
    assert r.classes["head"] == ()
    assert r.classes["embedding"] == ("table.weight",)
    train(tied, r.optimizer, range(2))
    assert not torch.equal(tied.head.weight, before)


def test_frozen_layers_stay_and_a_matrix_that_starts_at_zero_learns_up_to_the_norm_of_pytorch_s_start():
    """As the second factor of a low-rank adapter does. Six rows: √(6/3)."""
    model = network()
    model.conv.requires_grad_(False)
    nn.init.zeros_(model.hidden.weight)
    before = model.conv.weight.clone()
    r = grokkit.recipe(model)
    assert str(r).splitlines()[2:4] == [
        "  Muon, norm held      none",
        "  Muon, grows from 0   hidden.weight",
    ]
    norms = []
    for steps in (range(4), range(4, 200), range(200, 210)):
        train(model, r.optimizer, steps)
        norms.append(float(model.hidden.weight.detach().norm()))
    assert torch.equal(model.conv.weight, before)
    assert 0.01 < norms[0] < 1.0
    assert norms[1:] == pytest.approx([2**0.5] * 2, rel=1e-5)


def test_what_starts_at_zero_is_bounded_after_it_is_resumed_too():
    """The state says what it started with, not the weights that are there."""
    model = network()
    nn.init.zeros_(model.hidden.weight)
    r = grokkit.recipe(model)
    train(model, r.optimizer, range(3))
    kept = copy.deepcopy({"model": model.state_dict(), "optimizer": r.optimizer.state_dict()})
    again = network()
    again.load_state_dict(kept["model"])
    resumed = grokkit.recipe(again)
    resumed.optimizer.load_state_dict(kept["optimizer"])
    assert same(train(again, resumed.optimizer, range(3, 6)), train(model, r.optimizer, range(3, 6)))


@pytest.mark.parametrize("init", [nn.init.xavier_normal_, nn.init.kaiming_uniform_, nn.init.orthogonal_, None])
def test_usual_starts_are_kept_and_others_brought_to_pytorch_s_size(init):
    layer = nn.Sequential(nn.Linear(40, 50), nn.Linear(50, 30), nn.Linear(30, 4))
    if init is not None:
        for part in layer:
            init(part.weight)
    assert start_tensors(layer) == {}
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(8.0)
    layer[2].requires_grad_(False)
    found = start_tensors(layer)
    assert found.keys() == {"0.weight", "1.weight"}
    assert float(found["1.weight"].square().mean()) == pytest.approx(1 / (3 * 50), rel=1e-5)
    direction = F.normalize(layer[1].weight.detach().flatten(), dim=0)
    torch.testing.assert_close(F.normalize(found["1.weight"].flatten(), dim=0), direction)


def test_a_checkpoint_resumes_bit_for_bit(tmp_path):
    model = network()
    r = grokkit.recipe(model)
    train(model, r.optimizer, range(3))
    torch.save({"model": model.state_dict(), "optimizer": r.optimizer.state_dict()}, tmp_path / "checkpoint.pt")
    whole = train(model, r.optimizer, range(3, 6))
    again = network()
    resumed = grokkit.recipe(again)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    again.load_state_dict(kept["model"])
    resumed.optimizer.load_state_dict(kept["optimizer"])
    assert same(train(again, resumed.optimizer, range(3, 6)), whole)


def kept_of_large_weights(steps):
    """A model of which training has made the matrices large, and what was saved of it."""
    model = network()
    r = grokkit.recipe(model)
    train(model, r.optimizer, range(steps))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(20.0)
    return model, copy.deepcopy({"model": model.state_dict(), "optimizer": r.optimizer.state_dict()})


@pytest.mark.parametrize("between", [lambda both: both, copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
@pytest.mark.parametrize("load_model_first", [True, False])
def test_weights_that_are_resumed_are_those_that_were_saved_in_either_order(load_model_first, between):
    """Also in a copy that is made between the two."""
    model, kept = kept_of_large_weights(3)
    again = network()
    if load_model_first:
        again.load_state_dict(kept["model"])
    r = grokkit.recipe(again)
    assert (len(r.started) > 2) is load_model_first
    assert not (load_model_first and same(again.parameters(), model.parameters()))
    again, r = between((again, r))
    if not load_model_first:
        again.load_state_dict(kept["model"])
    r.optimizer.load_state_dict(kept["optimizer"])
    assert same(again.parameters(), model.parameters())


def test_weights_are_put_back_after_pytorch_has_made_the_state_to_load_into():
    """As distributed checkpoints do, by a step with rates of zero, which is none of training."""
    model, kept = kept_of_large_weights(3)
    again = network()
    again.load_state_dict(kept["model"])
    r = grokkit.recipe(again)
    state = get_optimizer_state_dict(again, r.optimizer)
    whole = network()
    loaded = grokkit.recipe(whole).optimizer
    loaded.load_state_dict(kept["optimizer"])
    set_optimizer_state_dict(again, r.optimizer, {**state, **get_optimizer_state_dict(whole, loaded)})
    assert same(again.parameters(), model.parameters())


@pytest.mark.parametrize("made_by", ["the first step", "PyTorch's checkpoints"])
def test_what_was_saved_before_the_first_step_stays_as_it_starts(made_by):
    """The same seed draws it again, so that what is loaded is what the start has made just now."""
    model, again = network(), network()
    with torch.no_grad():
        for p in [*model.parameters(), *again.parameters()]:
            p.mul_(20.0)
    r, resumed = grokkit.recipe(model), grokkit.recipe(again)
    assert r.started
    if made_by == "PyTorch's checkpoints":
        get_optimizer_state_dict(model, r.optimizer)
        assert all(r.optimizer.state[p] for p in model.parameters())
    again.load_state_dict(model.state_dict())
    resumed.optimizer.load_state_dict(r.optimizer.state_dict())
    assert same(again.parameters(), model.parameters())


def test_after_a_step_nothing_is_put_back():
    _, kept = kept_of_large_weights(3)
    model = network()
    model.load_state_dict(kept["model"])
    r = grokkit.recipe(model)
    for group in r.optimizer.param_groups:
        group["lr"] = 0.0
    start = train(model, r.optimizer, range(1))
    r.optimizer.load_state_dict(kept["optimizer"])
    assert same(model.parameters(), start)


def test_the_start_can_be_left_out():
    model, kept = kept_of_large_weights(0)
    again = network()
    again.load_state_dict(kept["model"])
    assert grokkit.recipe(again, start=False).started == ()
    assert same(again.parameters(), model.parameters())
    with pytest.raises(InputError, match="start"):
        grokkit.recipe(again, start=None)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_goes_on_as_the_original_does(copied):
    model = network()
    r = grokkit.recipe(model)
    train(model, r.optimizer, range(3))
    other, theirs = copied((model, r))
    assert attached(theirs.optimizer) is not attached(r.optimizer)
    assert same(train(other, theirs.optimizer, range(3, 6)), train(model, r.optimizer, range(3, 6)))


def test_scaled_gradients_and_steps_that_are_left_out_change_nothing():
    """Under autocast; the scale is a power of two, so that it is taken out exactly."""
    ends = []
    for scaled in (False, True):
        model = network()
        r, scaler = grokkit.recipe(model), torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
        for step in range(5):
            with torch.autocast("cpu", torch.bfloat16):
                tokens, targets = batch(step)
                loss = r.loss(F.cross_entropy)(model(tokens).float(), targets)
            r.optimizer.zero_grad()
            scaler.scale(loss).backward()
            if step == 2 and not scaled:
                continue
            if step == 2:
                model.hidden.weight.grad[0, 0] = float("inf")
            scaler.step(r.optimizer)
            scaler.update()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert same(*ends)


def test_accumulated_gradients_are_one_step():
    ends = []
    for parts in (1, 2):
        model = network()
        r = grokkit.recipe(model)
        for step in range(3):
            tokens, targets = batch(step)
            r.optimizer.zero_grad()
            for x, y in zip(tokens.chunk(parts), targets.chunk(parts), strict=True):
                (F.cross_entropy(model(x), y) / parts).backward()
            r.optimizer.step()
        ends.append([p.detach() for p in model.parameters()])
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_compiled_model_has_the_recipe_of_what_was_compiled():
    plain, inner = network(), network()
    compiled = torch.compile(inner, backend="eager")
    expected, r = grokkit.recipe(plain), grokkit.recipe(compiled)
    assert r.classes == expected.classes
    assert same(train(compiled, r.optimizer, range(3)), train(plain, expected.optimizer, range(3)))


def test_weights_in_bfloat16_and_matrices_without_entries_are_no_trouble():
    model = nn.Sequential(nn.Linear(7, 8), nn.Linear(8, 8), nn.Linear(8, 7)).bfloat16()
    model.none = nn.Parameter(torch.empty(0, 3, dtype=torch.bfloat16), requires_grad=False)
    before = model[1].weight.detach().clone()
    r = grokkit.recipe(model)
    for _ in range(3):
        r.optimizer.zero_grad()
        model[2](model[1](model[0](torch.ones(2, 7, dtype=torch.bfloat16)))).square().mean().backward()
        r.optimizer.step()
    assert not torch.equal(model[1].weight, before)
    assert all(p.isfinite().all() for p in model.parameters())
    assert float(model[1].weight.detach().norm()) == pytest.approx(float(before.norm()), rel=0.02)


def test_a_schedule_of_rates_acts_on_all_groups():
    model = network()
    r = grokkit.recipe(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(r.optimizer, lambda step: 0.0 if step else 1.0)
    gradient_of(model, 0)
    r.optimizer.step()
    schedule.step()
    stopped = [p.detach().clone() for p in model.parameters()]
    train(model, r.optimizer, range(2))
    for p, before in zip(model.parameters(), stopped, strict=True):
        torch.testing.assert_close(p.detach(), before, rtol=1e-6, atol=1e-7)


def test_a_layer_that_was_frozen_is_added_later_and_trained_by_adamw():
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    model[1].requires_grad_(False)
    optimizer = grokkit.recipe(model).optimizer
    start = {name: p.detach().clone() for name, p in model.named_parameters()}

    def step():
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().mean().backward()
        optimizer.step()

    step()
    model[1].requires_grad_(True)
    optimizer.add_param_group({"params": list(model[1].named_parameters(prefix="1")), "lr": 1e-3, "weight_decay": 0.0})
    step()
    # The first step of Adam is the learning rate long, wherever a gradient is far above its eps of 1e-8.
    assert (model[1].weight - start["1.weight"]).abs().max().item() == pytest.approx(1e-3, rel=1e-3)
    assert model[2].weight.detach().norm().item() == pytest.approx(start["2.weight"].norm().item(), rel=1e-5)


def test_a_model_says_itself_what_its_parameters_are():
    model = network()
    model.parameter_classes = lambda: {"hidden.weight": "vector", "head.weight": "hidden"}
    r = grokkit.recipe(model)
    assert r.classes["hidden"] == ("conv.weight", "head.weight")
    assert r.started == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"hidden.weight": "head"}, "parameter_classes is {'hidden.weight': 'head'}; let it be a function"),
        (lambda: ["hidden.weight"], "parameter_classes returned ['hidden.weight']; let it be a function"),
        (lambda: {"hidden.bias": "hidden"}, "hidden.bias of shape (6,) cannot be hidden, which is for matrices"),
        (lambda: {"experts": "hidden"}, "experts of shape (4, 8, 8) cannot be hidden, which is for matrices"),
        (lambda: {1: "hidden"}, "unknown parameter '1'"),
        (lambda: {"hidden.weight": 1}, "unknown class of hidden.weight '1'"),
    ],
)
def test_what_a_model_says_wrongly_is_refused_in_one_line(said, message):
    model = network()
    model.experts = nn.Parameter(torch.randn(4, 8, 8))
    model.parameter_classes = said
    with pytest.raises(InputError) as caught:
        grokkit.recipe(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stack_that_is_called_a_head_has_a_vector_s_rate_and_starts_as_it_is():
    """What its inputs are is not known. A gain over two dimensions is hidden where the model says so."""
    model = network()
    model.experts, model.norm = nn.Parameter(torch.randn(4, 8, 8)), nn.LayerNorm((3, 6))
    model.parameter_classes = lambda: {"experts": "head", "norm.weight": "hidden"}
    r = grokkit.recipe(model)
    assert r.started == ("norm.weight",)
    assert "norm.weight" in r.classes["hidden"]
    assert rates(r.optimizer)["experts"] == (0.003, 1.0)


@pytest.mark.parametrize(("size", "stride", "inputs"), [(4, 2, 6 * 4), (3, 1, 6 * 9), (2, 3, 6)])
def test_a_transposed_convolution_has_the_inputs_that_reach_one_output(size, stride, inputs):
    """Counted by a gradient in the middle; with a stride above the kernel's size some outputs have none at all."""
    layer = nn.ConvTranspose2d(6, 2, size, stride)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), layer)
    assert classes_of(model).inputs["1.weight"] == inputs
    assert rates(grokkit.recipe(model).optimizer)["1.weight"] == (min(0.03, 1 / inputs), 1.0)
    x = torch.ones(1, 6, 7, 7, requires_grad=True)
    middle = 3 * stride + 1
    (gradient,) = torch.autograd.grad(layer(x)[0, 0, middle, middle], x)
    assert int((gradient != 0).sum()) == inputs
    assert layer.weight.detach().square().mean().item() == pytest.approx(1 / (3 * 2 * size**2), rel=0.5)
    assert start_tensors(model) == {}


@pytest.mark.parametrize("channels", [(5, 9), (9, 5)])
def test_a_transposed_convolution_is_trained_as_the_convolution_with_its_kernel_turned(channels):
    plain = nn.Sequential(nn.Linear(3, 3), nn.Conv1d(*channels, 3, bias=False), nn.Linear(3, 2))
    turned = nn.Sequential(nn.Linear(3, 3), nn.ConvTranspose1d(*channels, 3, bias=False), nn.Linear(3, 2))
    with torch.no_grad():
        turned[1].weight.copy_(plain[1].weight.transpose(0, 1))
    optimizers = [grokkit.recipe(model).optimizer for model in (plain, turned)]
    for step in range(3):
        gradient = torch.linspace(-1.0, 1.0 + step, plain[1].weight.numel()).sin().view(plain[1].weight.shape)
        plain[1].weight.grad, turned[1].weight.grad = gradient, gradient.transpose(0, 1).contiguous()
        for optimizer in optimizers:
            optimizer.step()
    # The same sums in another order.
    torch.testing.assert_close(turned[1].weight.transpose(0, 1), plain[1].weight, rtol=1e-4, atol=1e-6)
    shapes = classes_of(turned).shapes()["hidden"]
    assert shapes == {"1.weight": plain[1].weight.shape}


class Stack(nn.Module):
    """Three matrices in one parameter, and a grouped convolution, which are none; and a late table that is no head."""

    def __init__(self):
        super().__init__()
        self.experts = nn.Parameter(torch.randn(3, 4, 4))
        self.first, self.grouped = nn.Linear(4, 4), nn.Conv1d(4, 4, 3, groups=2)
        self.last, self.distances = nn.Linear(4, 2), nn.Embedding(5, 4)


def test_what_is_a_matrix_and_which_is_the_head():
    found = {kind: list(own) for kind, own in classes_of(Stack()).items()}
    assert found["embedding"] == ["distances.weight"]
    assert found["hidden"] == ["first.weight"]
    assert found["head"] == ["last.weight"]
    assert found["vector"][:2] == ["experts", "first.bias"]
    assert "grouped.weight" in found["vector"]


@pytest.mark.parametrize(
    "norm",
    [
        *(nn.LayerNorm((4, 6)), nn.RMSNorm((4, 6)), nn.GroupNorm(2, 4)),
        *(nn.BatchNorm1d(4), nn.InstanceNorm1d(4, affine=True)),
        nn.utils.parametrizations.weight_norm(nn.LayerNorm((4, 6))),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_what_a_norm_scales_by_is_a_vector_over_however_many_dimensions(norm):
    """First, last or between, it starts as it is."""
    for place in range(3):
        layers = [nn.Linear(6, 6), nn.Linear(6, 6)]
        layers.insert(place, norm)
        model = nn.Sequential(*layers)
        start = [p.detach().clone() for p in norm.parameters()]
        r = grokkit.recipe(model)
        assert {name for name, _ in model[place].named_parameters(prefix=str(place))} <= set(r.classes["vector"])
        assert same(norm.parameters(), start)
        assert len(r.classes["embedding"]) == len(r.classes["head"]) == 1


def weights_normed(linear):
    """As PyTorch did before its parametrizations, with a warning that it is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(linear)


class LowRank(nn.Module):
    """A parametrization with a matrix in a module of its own: W + BA."""

    def __init__(self):
        super().__init__()
        self.b, self.a = nn.Linear(2, 6, bias=False), nn.Linear(6, 2, bias=False)

    def forward(self, w):
        return w + self.b.weight @ self.a.weight


def adapted(linear):
    nn.utils.parametrize.register_parametrization(linear, "weight", LowRank())
    return linear


@pytest.mark.parametrize(
    ("make", "matrices", "magnitudes"),
    [
        (nn.utils.parametrizations.weight_norm, ["parametrizations.weight.original1"], True),
        (weights_normed, ["weight_v"], True),
        (nn.utils.parametrizations.orthogonal, ["parametrizations.weight.original"], False),
        (adapted, [f"parametrizations.weight.{n}" for n in ("original", "0.b.weight", "0.a.weight")], False),
    ],
)
def test_all_matrices_of_a_parametrized_weight_are_of_its_class_and_magnitudes_are_vectors(make, matrices, magnitudes):
    layers = [make(nn.Linear(6, 6, bias=False)) for _ in range(3)]
    classes = {kind: list(own) for kind, own in classes_of(nn.Sequential(*layers)).items()}
    for place, kind in enumerate(("embedding", "hidden", "head")):
        assert classes[kind] == [f"{place}.{name}" for name in matrices]
    assert len(classes["vector"]) == (3 if magnitudes else 0)


@pytest.mark.parametrize("make", [nn.utils.parametrizations.weight_norm, weights_normed])
def test_the_magnitudes_of_a_layer_with_one_input_are_as_large_as_its_directions(make):
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 1), make(nn.Linear(1, 6)), nn.Linear(6, 3))
    of_layer = {kind: [name for name in own if name[0] == "2"] for kind, own in classes_of(model).items()}
    magnitudes, directions = (name for name, p in model[2].named_parameters(prefix="2") if p.ndim == 2)
    assert of_layer == {"embedding": [], "hidden": [directions], "head": [], "vector": ["2.bias", magnitudes]}
    assert magnitudes.endswith(("_g", "original0"))


def test_a_tensor_that_is_made_of_buffers_has_no_class():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].register_buffer("scale", torch.ones(3))
    nn.utils.parametrize.register_parametrization(model[0], "scale", nn.ReLU())
    classes = {kind: list(own) for kind, own in classes_of(model).items()}
    assert classes == {"embedding": ["0.weight"], "hidden": [], "head": ["1.weight"], "vector": ["0.bias", "1.bias"]}


def test_magnitudes_of_a_table_are_vectors_and_a_convolution_s_directions_a_matrix():
    norm = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(norm(nn.Embedding(9, 64)), norm(nn.Conv1d(6, 6, 3)), norm(nn.Linear(6, 1)))
    classes = {kind: list(own) for kind, own in classes_of(model).items()}
    first, second = (f"parametrizations.weight.original{k}" for k in (0, 1))
    assert classes == {
        "embedding": [f"0.{second}"],
        "hidden": [f"1.{second}"],
        "head": [f"2.{second}"],
        "vector": [f"0.{first}", "1.bias", f"1.{first}", "2.bias", f"2.{first}"],
    }
    assert not start_tensors(model)  # the rows of such a table are 8 long, which is its usual start


def test_the_norm_of_a_weight_normed_head_is_not_held():
    """Magnitudes take AdamW's steps, which at a constant gradient are the learning rate long, and decay."""
    head = nn.utils.parametrizations.weight_norm(nn.Linear(8, 5))
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), head)
    optimizer = grokkit.recipe(model).optimizer
    magnitudes = head.parametrizations.weight.original0
    expected = magnitudes.detach().clone()
    for _ in range(5):
        for p in model.parameters():
            p.grad = -torch.ones_like(p)
        optimizer.step()
        expected = (1 - 0.003 * 1.0) * expected + 0.003
    torch.testing.assert_close(magnitudes.detach(), expected, rtol=1e-5, atol=0.0)  # Adam's eps, and rounding


def test_a_frozen_embedding_may_be_sparse():
    model = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    r = grokkit.recipe(model)
    model(torch.tensor([1, 2])).square().mean().backward()
    r.optimizer.step()
    assert r.frozen == ("0.weight",)


@pytest.mark.filterwarnings("error")  # PyTorch's, of an imaginary part that is lost
@pytest.mark.parametrize("frozen", [{"device": "meta"}, {"dtype": torch.complex64}], ids=["no data yet", "complex"])
def test_what_is_frozen_is_not_even_read(frozen):
    model = nn.Sequential(nn.Linear(3, 4, **frozen).requires_grad_(False), nn.Linear(4, 4), nn.Linear(4, 2))
    r = grokkit.recipe(model)
    assert r.frozen == ("0.weight", "0.bias")
    assert r.classes["hidden"] == ("1.weight",)


def test_what_a_model_says_holds_within_what_spreads_it_over_devices():
    model = network()
    model.parameter_classes = lambda: {"hidden.weight": "vector"}
    for wrapped in (model, nn.DataParallel(model)):
        r = grokkit.recipe(wrapped)
        assert r.model == "Network"
        assert r.classes["hidden"] == ("conv.weight",)


@pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`:UserWarning")  # one process is enough here
@pytest.mark.parametrize("use_orig_params", [False, True])
@pytest.mark.parametrize("which", ["the model", "a layer"])
def test_matrices_that_fsdp1_takes_apart_are_not_taken_for_vectors(which, use_orig_params, tmp_path):
    from torch.distributed.fsdp import FullyShardedDataParallel

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        options = {"use_orig_params": use_orig_params, "device_id": torch.device("cpu")}
        model = network()
        if which == "a layer":
            model.hidden = FullyShardedDataParallel(model.hidden, **options)
        else:
            model = FullyShardedDataParallel(model, **options)
        with pytest.raises(InputError, match=r"within FullyShardedDataParallel, .* by torch.*fully_shard\(model\)"):
            grokkit.recipe(model)
    finally:
        torch.distributed.destroy_process_group()


def test_hugging_face_s_conv1d_is_trained_as_the_linear_layer_that_it_is():
    Conv1D = pytest.importorskip("transformers.pytorch_utils").Conv1D

    def turned(linear):
        made = Conv1D(linear.out_features, linear.in_features)
        made.load_state_dict({"weight": linear.weight.detach().mT, "bias": linear.bias.detach()})
        return made

    torch.manual_seed(0)
    linears = [nn.Linear(6, 24), nn.Linear(24, 6), nn.Linear(6, 40)]
    with torch.no_grad():
        linears[0].weight.mul_(9.0)  # which is brought to the size that it should have
    plain = nn.Sequential(nn.Embedding(7, 6), *linears)
    theirs = nn.Sequential(nn.Embedding(7, 6), *map(turned, linears))
    theirs[0].load_state_dict(plain[0].state_dict())
    recipes = [grokkit.recipe(model) for model in (plain, theirs)]
    assert recipes[0].started == recipes[1].started == ("1.weight",)
    for _ in range(4):
        tokens, targets = torch.randint(7, (8,)), torch.randint(40, (8,))
        for model, r in zip((plain, theirs), recipes, strict=True):
            model.zero_grad()
            F.cross_entropy(model(tokens), targets).backward()
            r.optimizer.step()
    for place in (1, 2, 3):
        torch.testing.assert_close(theirs[place].weight.mT, plain[place].weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "a model", "needs a torch.nn.Module, got str"),
        (nn.ReLU, "ReLU has no parameter that is trained"),
        (lambda: nn.Linear(2, 2).requires_grad_(False), "Linear has no parameter that is trained"),
        (lambda: nn.LayerNorm(3), "LayerNorm has no matrix that is trained"),
        (lambda: nn.LazyLinear(3), "weight, which has no shape yet"),
        (lambda: nn.Linear(2, 2, device="meta"), "weight, which has no data yet"),
        (lambda: nn.Linear(2, 2, dtype=torch.complex64), "weight, which is complex"),
        (lambda: nn.Sequential(nn.Embedding(3, 2, sparse=True)), "an embedding whose gradients are sparse"),
    ],
)
def test_what_it_cannot_serve_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        grokkit.recipe(make())
    assert "\n" not in str(caught.value)


def test_the_loss_stays_as_it_is_and_must_be_one():
    r = grokkit.recipe(network())
    assert r.loss(F.cross_entropy) is F.cross_entropy
    with pytest.raises(InputError, match="is not possible: a function"):
        r.loss(0.5)


def test_a_step_within_autocast_is_the_one_without():
    """Directions keep the dtype of the weights, though autocast takes a model's products in half precision."""
    ends = []
    for within in (False, True):
        model = network()
        r = grokkit.recipe(model)
        for step in range(3):
            gradient_of(model, step)
            with torch.autocast("cpu", torch.bfloat16, enabled=within):
                r.optimizer.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert same(*ends)
