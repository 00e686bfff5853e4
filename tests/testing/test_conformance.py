"""Every method that transforms gradients passes the whole table."""

from functools import partial

import pytest
from cards import CARDS
from reference.filters import REFERENCES

from grokkit import chain, clip_norm, grokfast_ema, grokfast_ma, masked, neuralgrok
from grokkit.testing import CHECKS, PER_TENSOR_CHECKS, check_off, check_reference, check_transform

TRANSFORMS = {name: card for name, card in CARDS.items() if card.factory}
COUPLING = {name: card for name, card in TRANSFORMS.items() if card.mixes_tensors}
VARIANTS = {
    "ema-two-stage": (grokfast_ema, {"alpha": 0.8, "lamb": 0.5, "start_step": 5}, "grokfast-ema"),
    "ma-window-1": (grokfast_ma, {"window_size": 1, "lamb": 2.0}, "grokfast-ma"),
    "ma-window-2": (grokfast_ma, {"window_size": 2, "lamb": 2.0}, "grokfast-ma"),
    "ma-sum": (grokfast_ma, {"window_size": 5, "lamb": 0.5, "filter_type": "sum"}, "grokfast-ma"),
    "ma-two-stage-window-fills": (grokfast_ma, {"window_size": 8, "lamb": 2.0, "start_step": 5}, "grokfast-ma"),
    "ma-no-warmup": (grokfast_ma, {"window_size": 7, "lamb": 2.0, "warmup": False}, "grokfast-ma"),
    "ma-two-stage": (grokfast_ma, {"window_size": 3, "lamb": 2.0, "start_step": 5}, "grokfast-ma"),
    "ma-sum-no-warmup-late": (
        grokfast_ma,
        {"window_size": 6, "lamb": 2.0, "filter_type": "sum", "warmup": False, "start_step": 2},
        "grokfast-ma",
    ),
    "neuralgrok-one-layer": (neuralgrok, {"hidden": (6,), "clip": 1.0}, "neuralgrok"),
    "neuralgrok-three-layers": (neuralgrok, {"hidden": (5, 4, 3), "clip": 0.3}, "neuralgrok"),
    "neuralgrok-unclipped": (neuralgrok, {"hidden": (5, 4), "clip": None}, "neuralgrok"),
    "neuralgrok-short": (neuralgrok, {"hidden": (5, 4), "c": 0.2, "clip": None}, "neuralgrok"),
    "neuralgrok-short-clipped": (neuralgrok, {"hidden": (6,), "c": 0.2, "clip": 0.3}, "neuralgrok"),
}


LET_OFF = {(name, check) for name in COUPLING for check in PER_TENSOR_CHECKS} | {("egd-columns", "acts")}


def has_dimensions(_name, p):
    return p.ndim >= 1


@pytest.mark.parametrize(
    ("name", "check"),
    [(name, check) for name in TRANSFORMS for check in CHECKS if (name, check) not in LET_OFF],
)
def test_method_passes_check(name, check):
    card = TRANSFORMS[name]
    CHECKS[check](lambda: card.factory(**card.smallest))


@pytest.mark.parametrize(("name", "check"), sorted(LET_OFF))
def test_a_method_is_let_off_only_what_it_cannot_pass(name, check):
    card = TRANSFORMS[name]
    with pytest.raises(AssertionError, match="off by|vector never changed"):
        CHECKS[check](lambda: card.factory(**card.smallest))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_method_equals_reference(name):
    card = TRANSFORMS[name]
    check_reference(lambda: card.factory(**card.smallest), partial(REFERENCES[name], **card.smallest))


@pytest.mark.parametrize("name", [name for name, card in TRANSFORMS.items() if card.off is not None])
def test_method_switched_off_is_the_bare_optimizer(name):
    card = TRANSFORMS[name]
    check_off(lambda: card.factory(**{**card.smallest, **card.off}))


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_passes_everything(variant):
    factory, settings, reference = VARIANTS[variant]
    mixes_tensors = settings.get("clip") is not None
    check_transform(lambda: factory(**settings), mixes_tensors=mixes_tensors)
    check_reference(lambda: factory(**settings), partial(REFERENCES[reference], **settings))


@pytest.mark.parametrize(
    "make",
    [
        lambda: chain(CARDS["grad-norm"].factory(), grokfast_ema(alpha=0.9)),
        lambda: chain(grokfast_ma(window_size=3), grokfast_ema(alpha=0.9), CARDS["grad-norm"].factory()),
        lambda: chain(masked(grokfast_ema(alpha=0.9), has_dimensions), CARDS["grad-norm"].factory()),
    ],
    ids=["norm-then-ema", "three", "masked"],
)
def test_combinations_pass_everything(make):
    check_transform(make)


def test_a_combination_with_one_that_couples_passes_everything_else():
    check_transform(
        lambda: chain(grokfast_ema(alpha=0.9), CARDS["grad-norm"].factory(), clip_norm()), mixes_tensors=True
    )
