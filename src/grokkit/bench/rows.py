"""The rows of ``grokkit bench``. A new comparison is a function that gives a `Duel`, and an entry here."""

from __future__ import annotations

from grokkit.bench.evaluation import decoder_evaluation
from grokkit.bench.overhead import filter_forms, filter_overhead
from grokkit.bench.plain_forms import PlainEma, PlainMa
from grokkit.bench.row import Row
from grokkit.bench.settings import FNN, GROKFAST, OPERANDS_5, WEAK_FNN
from grokkit.bench.steps import decoder_step, fnn_step
from grokkit.bench.together import two_cores, two_runs
from grokkit.bench.whole import time_to_target
from grokkit.methods.grokfast import grokfast_ema, grokfast_ma

_ALL = (
    Row(
        id="decoder-step-b512",
        about="a training step of Grokfast's decoder, batch 512",
        setup=lambda: decoder_step(GROKFAST, times=4),
        target=0.38,
        rounds=20,
        seconds=0.25,
    ),
    Row(
        id="decoder-step-full",
        about="the same with all training rows as the batch",
        setup=lambda: decoder_step(GROKFAST.model_copy(update={"batch_size": None}), times=1),
        target=0.33,
        rounds=15,
        seconds=0.6,
    ),
    Row(
        id="decoder-eval",
        about="evaluating the held-out half with it",
        setup=lambda: decoder_evaluation(GROKFAST),
        target=0.35,
        rounds=20,
        seconds=0.2,
    ),
    Row(
        id="fnn-step",
        about="a full-batch training step of GrokTransfer's 3-layer FNN",
        setup=lambda: fnn_step(FNN, times=3),
        target=0.75,
        rounds=20,
        seconds=0.3,
    ),
    Row(
        id="weak-fnn-step",
        about="a full-batch training step of GrokTransfer's weak FNN",
        setup=lambda: fnn_step(WEAK_FNN, times=50),
        target=0.5,
        rounds=20,
        seconds=0.2,
    ),
    Row(
        id="operands-5",
        about="a training step of four layers on a*c + b*d - e mod 7, batch 512",
        setup=lambda: decoder_step(OPERANDS_5, times=1),
        target=0.62,
        rounds=15,
        seconds=0.3,
    ),
    Row(
        id="grokfast-ema-overhead",
        about="our decoder's step without and with the EMA filter",
        setup=lambda: filter_overhead(grokfast_ema()),
        target=1.03,
        rounds=25,
        seconds=0.3,
    ),
    Row(
        id="grokfast-ma-overhead",
        about="our decoder's step without and with the MA filter, w = 100",
        setup=lambda: filter_overhead(grokfast_ma(window_size=100)),
        target=1.08,
        rounds=25,
        seconds=0.3,
    ),
    Row(
        id="grokfast-ema-form",
        about="our decoder's step with the EMA filter, plainly written and ours",
        setup=lambda: filter_forms(PlainEma, grokfast_ema()),
        target=None,
        rounds=15,
        seconds=0.3,
    ),
    Row(
        id="grokfast-ma-form",
        about="our decoder's step with the MA filter, a deque summed each step and ours",
        setup=lambda: filter_forms(PlainMa, grokfast_ma(window_size=100)),
        target=None,
        rounds=15,
        seconds=0.4,
    ),
    Row(
        id="two-runs",
        about="two runs of training, one after the other and at once",
        setup=two_runs,
        target=0.59,
        rounds=3,
        seconds=20.0,
        available=two_cores,
        needs="at least two cores",
    ),
    Row(
        id="time-to-95",
        about="training Grokfast-EMA to 95 % held-out accuracy, a round a seed",
        setup=time_to_target,
        target=0.35,
        rounds=2,
        seconds=80.0,
    ),
)

ROWS = {row.id: row for row in _ALL}
