"""Optimizers of pytorch_optimizer: each step for step the rule of its paper, and what the lab needs of any of them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from grokkit.errors import InputError
from grokkit.methods.of_package import SOAP, ademamix, lion, schedule_free, soap
from grokkit.testing.runs import check_resuming, small_run
from grokkit.train.loop import begin_alone, train
from grokkit.train.optimizers import as_evaluated

pytest.importorskip("pytorch_optimizer", reason="needs the extra optimizers")

STEPS, SHAPE = 12, (4, 3)


def given():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    return start, [0.1 * torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(STEPS)]


def by_package(make):
    start, grads = given()
    p = torch.nn.Parameter(start.clone())
    optimizer = make({"hidden": {"w": p}})
    for g in grads:
        p.grad = g.clone()
        optimizer.step()
    return p.detach(), optimizer


def test_lion_is_the_papers():
    lr, wd, beta1, beta2 = 0.01, 0.5, 0.8, 0.9
    w, grads = given()
    m = torch.zeros_like(w)
    for g in grads:
        w = w - lr * ((beta1 * m + (1 - beta1) * g).sign() + wd * w)
        m = beta2 * m + (1 - beta2) * g
    torch.testing.assert_close(by_package(lion(lr, wd, beta1, beta2))[0], w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ramp", [0, 8])
def test_ademamix_is_the_papers(ramp):
    lr, wd, beta1, beta2, beta3, alpha = 0.01, 0.5, 0.8, 0.9, 0.99, 3.0
    w, grads = given()
    m, s, v = (torch.zeros_like(w) for _ in range(3))
    log1, log3 = (torch.tensor(beta, dtype=torch.float64).log() for beta in (beta1, beta3))
    for t, g in enumerate(grads, 1):
        risen = min(t / ramp, 1.0) if ramp else 1.0
        slow = float((log1 * log3 / ((1 - risen) * log3 + risen * log1)).exp())
        m, v, s = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g, slow * s + (1 - slow) * g
        step = (m / (1 - beta1**t) + risen * alpha * s) / ((v / (1 - beta2**t)).sqrt() + 1e-8)
        w = w - lr * (step + wd * w)
    ours = by_package(ademamix(lr, wd, beta1, beta2, beta3, alpha, ramp))[0]
    torch.testing.assert_close(ours, w, rtol=1e-10, atol=1e-10)


def test_soap_is_the_papers_where_the_bases_are_exact():
    """With a mean of a single gradient the eigenvectors are that gradient's singular vectors, up to signs."""
    lr, wd, beta = 0.01, 0.5, 0.9
    w, grads = given()
    (left, right), m, v = torch.linalg.svd(grads[0])[::2], torch.zeros_like(w), torch.zeros_like(w)
    right = right.mT
    for t, g in enumerate(grads[1:], 1):
        turned = left.mT @ g @ right
        m, v = beta * m + (1 - beta) * g, beta * v + (1 - beta) * turned**2
        step = (left.mT @ m @ right) / (1 - beta**t) / ((v / (1 - beta**t)).sqrt() + 1e-8)
        w = (w - lr * left @ step @ right.mT) * (1 - lr * wd)
    ours = by_package(soap(lr, wd, beta, beta, frequency=STEPS + 1))[0]
    torch.testing.assert_close(ours, w, rtol=1e-5, atol=1e-6)


def test_soap_s_bases_diagonalize_the_means():
    """One QR a step converges on the eigenvectors of a mean that stays as it is."""
    g = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)) + 0.1
    p = torch.nn.Parameter(torch.zeros_like(g))
    optimizer = soap(lr=1e-3, wd=0.0, frequency=1)({"hidden": {"w": p}})
    for _ in range(40):
        p.grad = g.clone()
        optimizer.step()
    for second, basis in zip(optimizer.state[p]["GG"], optimizer.state[p]["Q"], strict=True):
        found = basis.mT @ second @ basis
        assert float((found - found.diag().diag()).abs().max()) < 1e-6 * float(found.max())


def test_schedule_free_is_the_papers_and_evaluates_the_mean():
    lr, wd, beta1, beta2 = 0.01, 0.5, 0.8, 0.9
    x, grads = given()
    z, y, v = x.clone(), x.clone(), torch.zeros_like(x)
    for t, g in enumerate(grads, 1):
        v = beta2 * v + (1 - beta2) * g * g
        z = z - lr * (g / ((v / (1 - beta2**t)).sqrt() + 1e-8) + wd * y)
        x = x + (z - x) / t
        y = beta1 * x + (1 - beta1) * z
    trained, optimizer = by_package(schedule_free(lr, wd, beta1, beta2))
    torch.testing.assert_close(trained, y, rtol=1e-6, atol=1e-6)
    (p,) = optimizer.param_groups[0]["params"]
    before = p.detach().clone()
    with as_evaluated(optimizer):
        torch.testing.assert_close(p.detach(), x, rtol=1e-6, atol=1e-6)
        assert not torch.equal(p, before)
    assert torch.equal(p, before)


def test_evaluations_see_the_mean_and_leave_training_as_it_is():
    engine, unseen = (begin_alone(small_run("schedule-free")) for _ in range(2))
    for each in (engine, unseen):
        for _ in range(20):
            each.take_step(each.members[0].batches.next())
            if each is engine:
                engine.score([0], "test")
    for p, q in zip(engine.model.parameters(), unseen.model.parameters(), strict=True):
        assert torch.equal(p, q)
    scored = engine.score([0], "test")
    engine.optimizer.eval()
    modes = engine.optimizer
    engine.optimizer = torch.optim.SGD(engine.model.parameters())
    assert engine.score([0], "test") == scored
    modes.train()
    assert engine.score([0], "test") != scored


@pytest.mark.parametrize("shape", [(6, 4), (5, 5), (10_001, 2)])
def test_soap_is_charged_what_the_counter_sees(shape):
    w, v = torch.nn.Parameter(torch.randn(shape)), torch.nn.Parameter(torch.randn(3))
    optimizer = soap(frequency=5)({"hidden": {"w": w}, "vector": {"v": v}})
    for step in range(11):
        w.grad, v.grad = torch.randn(shape), torch.randn(3)
        if step == 1:
            counter = FlopCounterMode(display=False)
            counter.__enter__()
        optimizer.step()
    counter.__exit__(None, None, None)
    charged = SOAP.flops({"hidden": {"w": w.shape}, "vector": {"v": v.shape}}, {"frequency": 5})
    assert counter.get_total_flops() == pytest.approx(10 * charged, rel=0.02)


ANY = ["SOAP", "Shampoo", "Adan", "Prodigy", "Kron", "ADOPT", "SPlus", "ScheduleFreeSGD"]


@pytest.mark.parametrize("name", ANY)
def test_any_other_goes_by_its_name_and_is_resumed_bit_for_bit(name):
    check_resuming(small_run(f"adamw(optimizer=pytorch_optimizer:{name}(lr=0.003))"), name)


def test_what_no_checkpoint_can_hold_is_said_in_one_line_at_the_first_step():
    engine = begin_alone(small_run("adamw(optimizer=pytorch_optimizer:Conda(lr=0.003))"))
    with pytest.raises(InputError, match=r"state holds a GaLoreProjector .*, which no checkpoint can; take"):
        engine.take_step(engine.members[0].batches.next())


@pytest.mark.parametrize("method", ["lion+row-clip(c=0.5)", "lion(wd=0)+clip-to-grok(c=1)", "soap+norm-held+zero-head"])
def test_they_compose(method):
    assert train(small_run(method)).diverged_at is None


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    monkeypatch.setattr("grokkit.methods.of_package.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pytorch_optimizer is not installed; .*'grokkit\[optimizers\]'"):
        small_run("lion")
