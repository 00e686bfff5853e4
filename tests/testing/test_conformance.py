"""Every method that transforms gradients passes the whole table."""

from functools import partial

import pytest
from reference.filters import REFERENCES

from grokkit import chain, grokfast_ema, grokfast_ma, masked
from grokkit.methods import CARDS
from grokkit.testing import CHECKS, check_off, check_reference, check_transform

TRANSFORMS = {name: card for name, card in CARDS.items() if card.factory}
VARIANTS = {
    "ema-two-stage": (grokfast_ema, {"alpha": 0.8, "lamb": 0.5, "start_step": 5}, "grokfast-ema"),
    "ma-window-1": (grokfast_ma, {"window_size": 1, "lamb": 2.0}, "grokfast-ma"),
    "ma-window-2": (grokfast_ma, {"window_size": 2, "lamb": 2.0}, "grokfast-ma"),
    "ma-sum": (grokfast_ma, {"window_size": 5, "lamb": 0.5, "filter_type": "sum"}, "grokfast-ma"),
    "ma-no-warmup": (grokfast_ma, {"window_size": 7, "lamb": 2.0, "warmup": False}, "grokfast-ma"),
    "ma-two-stage": (grokfast_ma, {"window_size": 3, "lamb": 2.0, "start_step": 5}, "grokfast-ma"),
    "ma-sum-no-warmup-late": (
        grokfast_ma,
        {"window_size": 6, "lamb": 2.0, "filter_type": "sum", "warmup": False, "start_step": 2},
        "grokfast-ma",
    ),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_method_passes_check(name, check):
    card = TRANSFORMS[name]
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
    check_transform(lambda: factory(**settings))
    check_reference(lambda: factory(**settings), partial(REFERENCES[reference], **settings))


@pytest.mark.parametrize(
    "make",
    [
        lambda: chain(CARDS["grad-norm"].factory(), grokfast_ema(alpha=0.9)),
        lambda: chain(grokfast_ma(window_size=3), grokfast_ema(alpha=0.9), CARDS["grad-norm"].factory()),
        lambda: chain(masked(grokfast_ema(alpha=0.9), lambda _name, p: p.ndim >= 1), CARDS["grad-norm"].factory()),
    ],
    ids=["norm-then-ema", "three", "masked"],
)
def test_combinations_pass_everything(make):
    check_transform(make)
