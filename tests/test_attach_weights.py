"""Weight transforms, attached: applied after the step, to what it moved, and to nothing else.

That they equal a loop by hand, are saved, copied, scaled, captured and sharded as gradient transforms are, is in the
other tests of ``attach``, whose ``TRANSFORMS`` hold some.
"""

from itertools import pairwise

import pytest
import torch
from by_hand import ByHand, average_of_weights, loss, make, network, run, same, values
from torch import nn

from grokkit import InputError, WeightTransform, attach, chain, grokfast_ema, masked, row_clip
from grokkit.methods.cautious_decay import cautious_decay
from grokkit.methods.ema_nesterov import ema_nesterov
from grokkit.methods.embedding_rate import embedding_rate
from grokkit.methods.hyperball import hyperball
from grokkit.methods.norm_clamp import norm_clamp
from grokkit.methods.norm_held import norm_held

ADAM = (torch.optim.Adam, {"lr": 0.05})


def one(p):
    return nn.Parameter(torch.tensor(p))


def stepped(params, gradients, transform, lr=1.0, cls=torch.optim.SGD):
    optimizer = cls(params, lr=lr)
    attach(optimizer, transform)
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else torch.tensor(g)
    optimizer.step()


def doubled(params, state):
    return {name: 2 * p for name, p in params.items()}, state


def nothing(params):
    return ()


def test_rows_are_clipped_after_the_step_and_not_before():
    p = one([[0.0, 0.0], [3.0, 4.0]])
    stepped([p], [[[-6.0, -8.0], [0.0, 0.0]]], row_clip(c=5.0))
    torch.testing.assert_close(p.detach(), torch.tensor([[3.0, 4.0], [3.0, 4.0]]), rtol=1e-6, atol=0.0)


def test_weight_transforms_are_applied_in_the_order_of_the_chain_wherever_the_gradients_stand():
    add = WeightTransform(nothing, lambda params, state: ({name: p + 1 for name, p in params.items()}, state))
    double = WeightTransform(nothing, doubled)
    for transform in (chain(add, grokfast_ema(lamb=1.0), double), chain(grokfast_ema(lamb=1.0), add, double)):
        p = one([1.0])
        stepped([p], [[1.0]], transform)  # the filtered gradient is 2
        assert p.tolist() == [2 * (1 - 2 + 1)]
    p = one([1.0])
    stepped([p], [[1.0]], chain(double, add))
    assert p.tolist() == [2 * (1 - 1) + 1]


def test_a_parameter_without_a_gradient_is_left_alone():
    moved, frozen = one([1.0]), one([1.0])
    stepped([moved, frozen], [[0.0], None], WeightTransform(nothing, doubled))
    assert (moved.item(), frozen.item()) == (2.0, 1.0)


def test_a_step_without_any_gradient_is_none():
    p = one([1.0])
    stepped([p], [None], WeightTransform(nothing, doubled))
    assert p.item() == 1.0


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("beside", [(), (row_clip(),)])
def test_a_step_in_which_nothing_behind_the_mask_has_a_gradient_leaves_it_alone(beside, capturable):
    """The clamp is of one norm over all that it is given, and of nothing there is none."""
    matrix, vector = one([[3.0, 4.0]]), one([0.1])
    optimizer = torch.optim.SGD([matrix, vector], lr=0.01)
    clamp = masked(norm_clamp(), lambda name, p: p.ndim > 1)
    attach(optimizer, chain(*beside, clamp), capturable=capturable)
    matrix.grad, vector.grad = torch.ones(1, 2), torch.ones(1)
    optimizer.step()
    matrix.grad, before = None, matrix.detach().clone()
    optimizer.step()
    assert torch.equal(matrix, before)
    matrix.grad = torch.ones(1, 2)
    optimizer.step()
    assert matrix.norm().item() == pytest.approx(5.0, rel=1e-6)


def test_a_mask_says_which_weights():
    matrix, vector = one([[1.0]]), one([1.0])
    both = chain(grokfast_ema(), WeightTransform(nothing, doubled))
    optimizer = torch.optim.SGD([matrix, vector], lr=1.0)
    handle = attach(optimizer, masked(both, lambda name, p: p.ndim > 1))
    matrix.grad, vector.grad = torch.zeros(1, 1), torch.zeros(1)
    optimizer.step()
    assert (matrix.item(), vector.item()) == (2.0, 1.0)
    gradient, weights = handle.state
    assert (len(gradient.slow), weights) == (1, ())
    with pytest.warns(UserWarning, match="lets none of the optimizer's 1 parameters through"):
        attach(torch.optim.SGD([one([1.0])], lr=1.0), masked(row_clip(), lambda name, p: p.ndim > 1))


class Twice(torch.optim.SGD):
    """Its own ``step()`` calls PyTorch's, and moves the weights once more afterwards."""

    @torch.no_grad()
    def step(self, closure=None):
        result = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(10.0)
        return result


def test_a_step_that_calls_its_base_class_is_over_at_its_own_end():
    p = one([1.0])
    stepped([p], [[1.0]], WeightTransform(nothing, doubled), cls=Twice)
    assert p.item() == 2 * (1.0 - 1.0 + 10.0)


def test_a_closure_is_called_before_and_the_weights_are_changed_after():
    p = one([1.0])
    optimizer = torch.optim.SGD([p], lr=1.0)
    attach(optimizer, WeightTransform(nothing, doubled))
    seen = []

    def closure():
        seen.append(p.item())
        p.grad = torch.tensor([0.25])
        return p.sum()

    optimizer.step(closure)
    assert (seen, p.item()) == ([1.0], 1.5)


def test_a_step_that_the_scaler_skips_leaves_the_weights_and_the_state_alone():
    model, optimizer = make(torch.optim.Adam, {"lr": 0.05, "fused": True})
    handle = attach(optimizer, average_of_weights())
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step, factor in ((0, 1.0), (1, float("inf"))):
        before, steps = values(model), None if handle.state is None else int(handle.state[2])
        optimizer.zero_grad()
        scaler.scale(loss(model, step) * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        if step:
            assert same(values(model), before)
            assert int(handle.state[2]) == steps == 1


def test_detached_the_optimizer_is_bare_again():
    model, optimizer = make(*ADAM)
    handle = attach(optimizer, chain(grokfast_ema(), average_of_weights()))
    handle.detach()
    assert same(run(model, optimizer, range(3)), run(*make(*ADAM), range(3)))


def test_off_leaves_training_equal_bit_for_bit():
    model, optimizer = make(*ADAM)
    attach(optimizer, row_clip(c=1e30))
    assert same(run(model, optimizer, range(4)), run(*make(*ADAM), range(4)))


def test_what_another_transform_saved_is_refused():
    model, optimizer = make(*ADAM)
    attach(optimizer, chain(grokfast_ema(), average_of_weights()))
    run(model, optimizer, range(2))
    twin, other = make(*ADAM)
    attach(other, grokfast_ema())
    other.load_state_dict(optimizer.state_dict())
    with pytest.raises(InputError, match="attach the transform it was saved with"):
        run(twin, other, range(1))


def test_the_state_begins_with_the_weights_before_the_first_step():
    first = [p.detach().clone() for p in network().parameters()]
    model, optimizer = make(*ADAM)
    held = WeightTransform(
        lambda params: {n: p.clone() for n, p in params.items()}, lambda params, state: (state, state)
    )
    attach(optimizer, held)
    assert same(run(model, optimizer, range(3)), first)


def test_differentiable_is_refused():
    optimizer = torch.optim.SGD([one([1.0])], lr=1.0, differentiable=True)
    for transform in (row_clip(), grokfast_ema(), chain(grokfast_ema(), row_clip())):
        with pytest.raises(InputError, match="differentiable=True"):
            attach(optimizer, transform)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (lambda params, state: params, "return the weights, a dict by name, and the state"),
        (lambda params, state: ({"group 0 parameter 0": torch.zeros(())}, state), r"a weight of .* of shape \(\)"),
    ],
)
def test_an_update_that_gives_something_else_is_refused(result, says):
    with pytest.raises(InputError, match=says):
        stepped([one([1.0])], [[1.0]], WeightTransform(nothing, result))


def test_what_is_no_transform_is_refused_by_name():
    with pytest.raises(InputError, match=r"got 'row_clip'; call it: row_clip\(\.\.\.\)"):
        attach(torch.optim.SGD([one([1.0])], lr=1.0), row_clip)


def test_by_hand_is_what_it_says():
    """The loop that the other tests compare with does transform weights."""
    bare = run(*make(*ADAM), range(3))
    model, optimizer = make(*ADAM)
    assert not same(run(model, ByHand(optimizer, average_of_weights()), range(3)), bare)


def test_a_transform_for_some_classes_of_parameters_needs_a_mask_that_says_which():
    p, q = one([[3.0, 4.0]]), one([[3.0, 4.0]])
    with pytest.raises(InputError, match=r"attach\(\) cannot tell which parameters are hidden.*masked"):
        attach(torch.optim.SGD([p, q], lr=1.0), norm_held())
    with pytest.raises(InputError, match=r"chain\(\) cannot tell which parameters are hidden.*masked"):
        chain(grokfast_ema(), norm_held())
    hidden = masked(norm_held(), lambda name, _: name == "group 0 parameter 0")
    stepped([p, q], [[[1.5, 2.0]], [[1.5, 2.0]]], chain(grokfast_ema(lamb=0.0), hidden))
    torch.testing.assert_close(p.detach(), torch.tensor([[3.0, 4.0]]), rtol=1e-6, atol=0.0)
    assert q.tolist() == [[1.5, 2.0]]


def everything(name, p):
    return True


STEP_BASED = {
    "embedding-rate": lambda: masked(embedding_rate(c=10.0), everything),
    "cautious-decay": lambda: cautious_decay(rate=0.1),
    "ema-nesterov": lambda: ema_nesterov(beta=0.5, gamma=0.5),
    "hyperball": lambda: masked(hyperball(rate=0.1), everything),
}


def track(transform, change=None, steps=4, capturable=False, wrapper=None):
    """The first entry after each step of 0.01 upward; ``change(p, step)`` is what a user does to it between steps."""
    p = one([[3.0, 0.5]])
    optimizer = torch.optim.SGD([p], lr=0.01)
    outer = optimizer if wrapper is None else wrapper(optimizer)
    attach(outer, transform, capturable=capturable)
    found = []
    for step in range(steps):
        p.grad = torch.tensor([[-1.0, 0.0]])
        outer.step()
        found.append(p[0, 0].item())
        if change is not None:
            with torch.no_grad():
                change(p, step)
    return found


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("name", ["embedding-rate", "cautious-decay"])
def test_what_a_later_transform_of_the_chain_changes_is_no_step_of_the_optimizer(name, capturable):
    """Each step leads up and out of the ball of radius 2, and the row is clipped to it; it slowly turns to (2, 0)."""
    clipped = track(chain(STEP_BASED[name](), row_clip(c=2.0)), capturable=capturable)
    assert all(1.97 < value <= 2.0 for value in clipped)  # 3/|(3, 0.5)| of 2 is 1.973


def test_what_is_clipped_off_ahead_is_clipped_off_the_weights_and_the_average_is_of_true_increments():
    """θ then stands βm within the ball, so u = 0.01 + βm and m ← γm + (1−γ)u, here ¾m + 0.005: m = 0.02·(1 − 0.75ⁿ)."""
    p = one([[2.0, 0.0]])
    optimizer = torch.optim.SGD([p], lr=0.01)
    handle = attach(optimizer, chain(ema_nesterov(beta=0.5, gamma=0.5), row_clip(c=2.0)))
    for _ in range(8):
        p.grad = torch.tensor([[-1.0, 0.0]])
        optimizer.step()
        assert p[0, 0].item() == pytest.approx(2.0, rel=1e-6)
    slow = handle.state[0].slow["group 0 parameter 0"]
    assert slow[0, 0].item() == pytest.approx(0.02 * (1 - 0.75**8), rel=1e-4)  # differences of numbers at 2, in float32


@pytest.mark.parametrize("name", STEP_BASED)
def test_what_the_user_changes_between_two_steps_is_no_step_of_the_optimizer(name):
    """Put back to where it was after the first step, the row goes on from there as it did before."""
    kept = []

    def put_back(p, step):
        if step == 0:
            kept.append(p.detach().clone())
        if step == 2:
            p.copy_(kept[0])

    found = track(STEP_BASED[name](), put_back)
    if name == "ema-nesterov":  # it remembers its way, a step of at most 0.01/(1 − β) and as much ahead
        assert abs(found[3] - found[0]) < 0.04
    else:
        assert found[3] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("name", ["embedding-rate", "cautious-decay", "hyperball"])
def test_a_wrapper_that_moves_the_weights_is_no_step_of_the_optimizer(name):
    """Every second step it goes half of the way back to where it last did so, as Lookahead does."""
    slow = []

    def look_ahead(p, step):
        slow.append(p.detach().clone())
        if step % 2:
            p.lerp_(slow[0], 0.5)
            slow[:] = [p.detach().clone()]

    alone = track(STEP_BASED[name](), steps=8)
    most = max(abs(b - a) for a, b in pairwise([3.0, *alone]))
    wrapped = track(STEP_BASED[name](), look_ahead, steps=8)
    # A step on its own is at most as long as it is without the wrapper, and the way back is no longer than two.
    assert all(abs(b - a) < 3.01 * most + 1e-6 for a, b in pairwise([3.0, *wrapped]))


def test_before_is_called_directly_before_the_step_with_what_it_moves_also_after_a_closure():
    seen = []

    def before(params, state):
        seen.append({name: p.tolist() for name, p in params.items()})
        return state

    transform = WeightTransform(nothing, doubled, before=before)
    for wrap in (lambda t: t, lambda t: chain(t, row_clip(c=100.0)), lambda t: masked(t, everything)):
        seen.clear()
        moved, frozen = one([1.0]), one([5.0])
        optimizer = torch.optim.SGD([("moved", moved), ("frozen", frozen)], lr=1.0)
        attach(optimizer, wrap(transform))

        def closure(moved=moved):
            with torch.no_grad():
                moved.fill_(4.0)
            moved.grad = torch.ones(1)

        optimizer.step(closure)
        assert seen == [{"moved": [4.0]}]
        assert moved.tolist() == [2 * (4.0 - 1.0)]


def test_a_transform_that_does_not_look_before_is_made_none_that_does():
    plain = WeightTransform(nothing, doubled)
    assert chain(plain, row_clip()).before is None
    assert masked(plain, everything).before is None
    assert chain(plain, ema_nesterov()).before is not None
