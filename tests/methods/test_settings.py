"""No factory takes a value that it has no meaning for: every keyword of each, against values of every wrong kind."""

import inspect

import numpy as np
import pytest
import torch
from cards import CARDS
from torch import nn

import grokkit
from grokkit import (
    InputError,
    NeuralGrok,
    Rule,
    chain,
    clip_norm,
    grad_norm,
    grokfast_ema,
    grokfast_ma,
    groktransfer,
    masked,
    merge_embedding,
    neuralgrok,
    transfer_embedding,
)
from grokkit.compat import gradfilter_ema, gradfilter_ma
from grokkit.methods.egd import egd_columns
from grokkit.methods.neuralgrok.amplifier import Amplifier, fresh_amplifier
from grokkit.methods.orthograd import orthograd
from grokkit.state import counters_to_ints
from grokkit.transform import in_place

NAN, INF = float("nan"), float("inf")
NO_NUMBER = [
    NAN,
    INF,
    -INF,
    True,
    False,
    "0.9",
    "",
    [0.5],
    (0.5,),
    {},
    1j,
    object(),
    10**400,
    np.float32("nan"),
    np.float64("inf"),
    np.bool_(True),
    np.array([0.5]),
    torch.tensor(NAN),
    torch.tensor(True),
    torch.tensor(0.5 + 0j),
    torch.tensor([0.5]),
    torch.zeros(2, 2),
]
NO_WHOLE = [
    -1,
    1.5,
    2.0,
    NAN,
    INF,
    True,
    "3",
    None,
    [3],
    1j,
    np.float64(3.0),
    np.bool_(True),
    torch.tensor([3]),
    torch.tensor(1.5),
]
NO_FLAG = ["maybe", "True", "no", 0, 1, None, 0.0, [], torch.tensor(1), torch.tensor([True]), np.int64(1)]
BROKEN = Amplifier((torch.zeros(3, 1), torch.zeros(1, 4)), (torch.zeros(3), torch.zeros(1)))
HOSTILE = {
    "alpha": [*NO_NUMBER, None, -0.1, 1, 1.5, -1e-9],
    "lamb": [*NO_NUMBER, None, -1, -1e-9],
    "c": [*NO_NUMBER, None, 0, -0.0, -1],
    "share": [*NO_NUMBER, None, -0.1, 1.1],
    "floor": [*NO_NUMBER, None, 0, -1],
    "max_norm": [*NO_NUMBER, None, 0, -0.0, -1],
    "clip": [*NO_NUMBER, 0, -1],
    "lr": [*NO_NUMBER, None, 0, -1],
    "weight_decay": [*NO_NUMBER, None, -1],
    "window_size": [*NO_WHOLE, 0],
    "start_step": NO_WHOLE,
    "stop_step": [*(value for value in NO_WHOLE if value is not None), 0],
    "slow_only": NO_FLAG,
    "every": [*NO_WHOLE, 0],
    "seed": NO_WHOLE,
    "warmup": NO_FLAG,
    "trigger": NO_FLAG,
    "filter_type": ["men", "MEAN", "", None, 3, True, ["mean"], np.array(["mean", "sum"])],
    "window_dtype": ["bfloat16", 16, torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn, float, np.float32],
    "window_device": ["gpu", "", "cuda:x", 1.5, [], object()],
    "hidden": [3, 0, (), [], (0,), (-1, 3), (1.5,), ("8",), "88", (True,), None, [[8]], {8}],
    "amplifier": [3, "", "no-such-file.npz", (), [1.0], BROKEN, torch.zeros(3), True],
    "where": [3, None, "w", True, [lambda name, p: True]],
    "transform": [None, 3, "ema", grokfast_ema, [grokfast_ema()], (grokfast_ema(),)],
    "m": [None, 3, torch.zeros(2), [torch.nn.Linear(1, 1)]],
    "grads": [3, "grads", [], torch.zeros(2), {"weight": 3}, {"weight": torch.zeros(1, 1)}, {"weight": {}}],
    "model": [None, 3, torch.zeros(2)],
    "optimizer": [None, 3, torch.zeros(2)],
}
NO_MODEL = [None, 3, "model", torch.zeros(2, 2)]
HOSTILE_TRANSFER = {
    transfer_embedding: {
        "target": NO_MODEL,
        "embedding": [None, 3, "auto", np.zeros((2, 2)), [[1.0]], torch.zeros(2), torch.ones(2, 2, dtype=torch.int64)],
        "module": [3, True, ["0"], "nowhere"],
        "trainable": NO_FLAG,
        "generator": [3, "seed", np.random.default_rng(0)],
    },
    merge_embedding: {"target": NO_MODEL, "optimizer": [3, "adam", torch.zeros(2)]},
    groktransfer: {
        "target": NO_MODEL,
        "train": [None, 3, (), torch.zeros(3, 2), (torch.zeros(3, 2),), (1, 2), (torch.zeros(3), torch.zeros(2))],
        "validation": [None, 3, (), torch.zeros(3, 2), (torch.zeros(3, 2),), (np.zeros(3), np.zeros(3))],
        "weak": [None, 3, True, "", "fnn(dim=0)", "no-such.npz", np.zeros((2, 2))],
        "module": [3, True, ["0"], "nowhere"],
        "trainable": NO_FLAG,
        "rule": [3, "auto", {"stop": 0.5}, Rule],
        "loss": [None, "mse", 3],
        "seed": NO_WHOLE,
    },
    Rule: {
        "stop": [*NO_NUMBER, None, 0, -1, 1.5],
        "steps": [*NO_WHOLE, 0],
        "patience": [*NO_WHOLE, 0],
        "seeds": [*NO_WHOLE, 0],
        "lr": [*NO_NUMBER, None, 0, -1],
        "wd": [*NO_NUMBER, None, -1],
    },
}


def linear():
    model = nn.Linear(1, 1, bias=False)
    model.weight.grad = torch.ones(1, 1)
    return model


def learned(**settings):
    model = linear()
    given = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), **settings}
    return NeuralGrok(**given)


FACTORIES = {
    grokfast_ema: grokfast_ema,
    grokfast_ma: grokfast_ma,
    grad_norm: grad_norm,
    clip_norm: clip_norm,
    neuralgrok: neuralgrok,
    orthograd: orthograd,
    egd_columns: egd_columns,
    masked: lambda transform=grokfast_ema(), where=callable: masked(transform, where),  # noqa: B008
    gradfilter_ema: lambda **settings: gradfilter_ema(**{"m": linear(), **settings}),
    gradfilter_ma: lambda **settings: gradfilter_ma(**{"m": linear(), **settings}),
    NeuralGrok: learned,
}
CASES = [
    pytest.param(call, keyword, value, id=f"{factory.__name__}-{keyword}-{place}")
    for factory, call in FACTORIES.items()
    for keyword in inspect.signature(factory).parameters
    for place, value in enumerate(HOSTILE[keyword])
]


@pytest.mark.parametrize(("call", "keyword", "value"), CASES)
def test_a_value_that_is_not_possible_is_refused_in_one_line(call, keyword, value):
    with pytest.raises(InputError) as caught:
        call(**{keyword: value})
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 350
    told = {"transform": "GradientTransform", "m": "the model", "model": "the model", "optimizer": "torch.optim"}
    assert told.get(keyword, keyword) in message or "Amplifier.save wrote" in message
    assert any(
        remedy in message for remedy in ("is not possible: ", "Allowed: ", "; give ", "; call it", "; use ", "; pass ")
    )


@pytest.mark.parametrize("value", [None, 3, "ema", grokfast_ema, [grokfast_ema()]])
def test_a_chain_is_of_transforms_only(value):
    for transforms in ((value,), (grokfast_ema(), value)):
        with pytest.raises(InputError, match=r"chain\(\) needs a GradientTransform or a WeightTransform, got "):
            chain(*transforms)


def transfer_of(function):
    """Arguments that ``function`` takes, but for the one that is not possible."""
    target = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    rows = torch.arange(5).unsqueeze(1), torch.arange(5)
    return {
        transfer_embedding: {"target": target, "embedding": torch.ones(5, 2)},
        merge_embedding: {"target": target},
        groktransfer: {"target": target, "train": rows, "validation": rows, "weak": "random(dim=2)"},
        Rule: {},
    }[function]


@pytest.mark.parametrize(
    ("function", "keyword", "value"),
    [
        pytest.param(function, keyword, value, id=f"{function.__name__}-{keyword}-{place}")
        for function, keywords in HOSTILE_TRANSFER.items()
        for keyword, values in keywords.items()
        for place, value in enumerate(values)
    ],
)
def test_so_is_what_an_embedding_cannot_be_transferred_with(function, keyword, value):
    assert HOSTILE_TRANSFER[function].keys() == inspect.signature(function).parameters.keys()
    with pytest.raises(InputError) as caught:
        function(**{**transfer_of(function), keyword: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350


def test_every_public_factory_is_in_the_table():
    public = {value for value in vars(grokkit).values() if inspect.isfunction(value)}
    makes = {f for f in public if inspect.signature(f).return_annotation == "GradientTransform"}
    assert makes - {chain} <= FACTORIES.keys()
    assert {card.factory for card in CARDS.values() if card.factory} <= FACTORIES.keys()


NUMBERS = {
    (door, setting): parameter.default
    for card in CARDS.values()
    for door in card.doors().values()
    for setting, parameter in inspect.signature(door).parameters.items()
    if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
}


@pytest.mark.parametrize(
    ("door", "setting", "default"),
    [pytest.param(*key, value, id=f"{key[0].__name__}-{key[1]}") for key, value in NUMBERS.items()],
)
def test_a_number_that_is_not_possible_is_refused_with_the_default(door, setting, default):
    others = {"c": 1.0, "hidden": (8,), "amplifier": None} if "every" in inspect.signature(door).parameters else {}
    of_weak_models = setting.startswith("weak_") or (setting == "stop" and door is CARDS["groktransfer"].start)
    named = f"weak models: {setting.removeprefix('weak_')}" if of_weak_models else setting
    with pytest.raises(InputError, match=rf"^{named}=nan is not possible: .*; the default is {default}$"):
        door(**{**others, setting: NAN})


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.bilevel])
@pytest.mark.parametrize(
    ("keyword", "values"),
    [("every", HOSTILE["every"]), ("amplifier_lr", HOSTILE["lr"]), ("amplifier_wd", HOSTILE["weight_decay"])],
)
def test_so_are_those_of_the_learning_in_the_lab(name, keyword, values):
    for value in values:
        with pytest.raises(InputError, match=f"{keyword}=.* is not possible: .*; the default is"):
            CARDS[name].bilevel(c=1.0, hidden=(8,), amplifier=None, **{keyword: value})


PARAMS = {"matrix": torch.tensor([[1.0, -2.0], [0.5, 3.0]]), "scalar": torch.tensor(0.25)}
NUMBERS = {
    "ema": lambda number, whole: grokfast_ema(number(0.5), number(2.0), whole(1)),
    "ma": lambda number, whole: grokfast_ma(whole(2), number(2.0), start_step=whole(1)),
    "grad norm": lambda number, whole: grad_norm(number(0.5)),
    "clip norm": lambda number, whole: clip_norm(number(0.5)),
    "neuralgrok": lambda number, whole: neuralgrok((whole(4), whole(3)), number(0.5), number(0.75), seed=whole(2)),
}
WRITTEN = {
    "float32": (np.float32, np.int64),
    "float64": (np.float64, np.int32),
    "float16": (np.float16, np.uint8),
    "tensor": (torch.tensor, int),
    "tensors": (lambda v: torch.tensor(v, dtype=torch.float64), lambda v: v),
}


def run(transform):
    state, other, found = transform.init(PARAMS), counters_to_ints(transform.init(PARAMS)), []
    for step in range(1, 5):
        grads = {name: step * p for name, p in PARAMS.items()}
        out, state = transform.update(grads, state, PARAMS)
        other = in_place(transform)(grads, other, PARAMS)
        found += [*out.values(), *grads.values()]
    return found


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", NUMBERS)
def test_numpy_s_numbers_and_0_d_tensors_are_numbers(name, written):
    ours, theirs = run(NUMBERS[name](*WRITTEN[written])), run(NUMBERS[name](float, int))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_0_d_integer_tensors_are_whole_numbers():
    ours, theirs = run(grokfast_ma(torch.tensor(2), start_step=torch.tensor(1))), run(grokfast_ma(2, start_step=1))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_numpy_s_truth_values_are_truth_values():
    ours, theirs = run(grokfast_ma(3, warmup=np.bool_(False))), run(grokfast_ma(3, warmup=False))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_setting_that_requires_a_gradient_gets_one():
    """λ and α may be learned through the pure face: d(g + λ·slow)/dλ = slow."""
    alpha, lamb = (torch.tensor(v, requires_grad=True) for v in (0.5, 2.0))
    transform = grokfast_ema(alpha, lamb)
    state = transform.init({"w": torch.zeros(1)})
    _, state = transform.update({"w": torch.tensor([1.0])}, state, {})
    out, _ = transform.update({"w": torch.tensor([3.0])}, state, {})  # slow = 0.5·1 + 0.5·3
    of_alpha, of_lamb = torch.autograd.grad(out["w"].sum(), (alpha, lamb))
    assert (of_alpha.item(), of_lamb.item()) == (2.0 * (1.0 - 3.0), 2.0)
    with pytest.raises(InputError, match="lamb=tensor.* is not possible: a finite number >= 0"):
        grokfast_ema(lamb=torch.tensor(-1.0, requires_grad=True))


def test_members_of_a_program_have_values_that_nobody_reads():
    values = torch.tensor([0.25, 0.5], dtype=torch.float64)
    out = torch.vmap(lambda v: grad_norm(v).update({"w": torch.tensor([3.0, 4.0])}, (), {})[0]["w"])(values)
    torch.testing.assert_close(out, torch.tensor([[0.15, 0.2], [0.3, 0.4]]))
    with pytest.raises(InputError, match="window_size="):
        torch.vmap(lambda v: grokfast_ma(v).init({"w": torch.zeros(1)}))(torch.tensor([2, 3]))


def test_an_amplifier_given_may_be_a_path(tmp_path):
    fresh_amplifier((4, 3), seed=5).save(tmp_path / "kept.npz")
    ours, theirs = run(neuralgrok(amplifier=tmp_path / "kept.npz")), run(neuralgrok((4, 3), seed=5))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
