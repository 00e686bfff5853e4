"""The plain forms compute what ours compute: a row compares two ways of doing the same work."""

import pytest
import torch
import torch.nn.functional as F

import grokkit
from grokkit.bench.plain.decoder import PlainDecoder
from grokkit.bench.plain.filters import PlainEma, PlainMa
from grokkit.bench.plain.fnn import PlainFnn
from grokkit.bench.runs import train_plainly
from grokkit.bench.settings import FNN, GROKFAST
from grokkit.bench.steps import OurStep, plain_decoder_step, plain_fnn_step, random_batches
from grokkit.models import FNN as OurFnn
from grokkit.models import Decoder
from grokkit.train.loop import train
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config


def same_weights(ours, plain):
    """Give both the same weights, all of them away from zero and one, under the same names."""
    torch.manual_seed(0)
    for p in ours.parameters():
        p.data += 0.1 * torch.randn_like(p)
    plain.load_state_dict(ours.state_dict())
    ours.load_state_dict(plain.state_dict())


def assert_same(ours_out, plain_out, ours, plain):
    torch.testing.assert_close(ours_out, plain_out, rtol=1e-5, atol=1e-5)
    targets = torch.arange(len(ours_out)) % ours_out.shape[1]
    F.cross_entropy(ours_out, targets).backward()
    F.cross_entropy(plain_out, targets).backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    for name, p in ours.named_parameters():
        scale = float(gradients[name].abs().max())
        assert scale > 0, f"{name} is not excited"
        torch.testing.assert_close(p.grad, gradients[name], rtol=1e-5, atol=1e-5 * max(scale, 1e-3), msg=name)


@pytest.mark.parametrize("rows", [12, 169])
def test_decoder(rows):
    ours, plain = Decoder(vocabulary=15, positions=5, width=16), PlainDecoder(15, 5, width=16)
    same_weights(ours, plain)
    pairs = torch.cartesian_prod(torch.arange(13), torch.arange(13))[:rows]
    signs = torch.tensor([[14, 13]]).expand(rows, 2)
    tokens_BT = torch.stack([pairs[:, 0], signs[:, 0], pairs[:, 1], signs[:, 1]], 1)
    assert_same(ours(tokens_BT), plain(tokens_BT.T)[-1], ours, plain)


@pytest.mark.parametrize("depth", [2, 3])
def test_fnn(depth):
    ours = OurFnn(vocabulary=11, tokens=2, classes=11, depth=depth, dim=4, width=16)
    plain = PlainFnn(11, 2, 11, depth=depth, dim=4, width=16)
    same_weights(ours, plain)
    tokens_BT = torch.cartesian_prod(torch.arange(11), torch.arange(11))
    assert_same(ours(tokens_BT), plain(tokens_BT), ours, plain)


@pytest.mark.parametrize(
    ("plain", "transform"),
    [
        (lambda model: PlainEma(model, alpha=0.9, lamb=2.0), grokkit.grokfast_ema(alpha=0.9, lamb=2.0)),
        (lambda model: PlainMa(model, window_size=4, lamb=5.0), grokkit.grokfast_ma(window_size=4, lamb=5.0)),
    ],
    ids=["ema", "ma"],
)
def test_filters(plain, transform):
    torch.manual_seed(0)
    theirs, ours = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    gradient_filter, optimizer = plain(theirs), torch.optim.SGD(ours.parameters(), lr=0.1)
    grokkit.attach(optimizer, transform)
    for _ in range(10):
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        gradient_filter()
        optimizer.step()
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-6)


SMALL = {
    "decoder": (
        GROKFAST.model_copy(
            update={"task": task_config("mul:7"), "model": model_config("decoder(width=16)"), "batch_size": 8}
        ),
        plain_decoder_step,
    ),
    "fnn": (
        FNN.model_copy(
            update={"task": task_config("add:7(layout=operands)"), "model": model_config("fnn(dim=4,width=16)")}
        ),
        plain_fnn_step,
    ),
}


@pytest.mark.parametrize("kind", SMALL)
def test_both_sides_of_a_row_take_the_same_steps(kind):
    """The plain side takes the full learning rate from the start; what a warm-up's factor costs is next to nothing."""
    config, plain_step = SMALL[kind]
    optimizer = config.method.optimizer.model_copy(update={"lr_warmup": 0})  # the plain step has no warm-up
    config = config.model_copy(update={"method": config.method.model_copy(update={"optimizer": optimizer})})
    batches = random_batches(config)
    assert {len(batch) for batch in batches} == {config.batch_size or round(49 * config.task.train_fraction)}
    plain, ours = plain_step(config, batches), OurStep(config, batches)
    task = build_problem(config).task
    rows = torch.arange(len(task.targets_N))
    before = ours.model(task.inputs_NT)
    for _ in range(5):
        plain()
        ours()
    after = ours.model(task.inputs_NT)
    torch.testing.assert_close(after, plain.logits(rows), rtol=1e-4, atol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_the_plain_loop_takes_the_trainers_run():
    config = SMALL["decoder"][0].model_copy(
        update={"method": method_config("grokfast-ema"), "budget": 15, "target": 1.0}
    )
    outcome, run = train_plainly(config), train(config)
    assert outcome.steps == run.steps == 15
    assert outcome.loss == pytest.approx(run.curves["test_loss"][-1], rel=1e-4)
    assert outcome.accuracy == pytest.approx(run.curves["test_accuracy"][-1])
    assert outcome.loss != pytest.approx(run.curves["test_loss"][0], rel=1e-2)
    assert 0 <= outcome.train_accuracy <= 1
