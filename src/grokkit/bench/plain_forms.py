"""The plain forms, wherever they lie: what a row of the benchmark compares ours with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from grokkit.errors import InputError


def _plain(name: str) -> Any:
    """A module of ``grokkit.bench.plain``; by name, since type checkers look in the package's folder only."""
    try:
        return import_module(f"grokkit.bench.plain.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("grokkit.bench.plain"):
            raise
        raise InputError(
            "the plain forms that `grokkit bench` compares with are not installed; install grokkit anew from its "
            "wheel, or run it from a checkout of the repository, where they are benchmarks/plain"
        ) from None


loop = _plain("loop")
PlainDecoder = _plain("decoder").PlainDecoder
PlainFnn = _plain("fnn").PlainFnn
PlainEma = _plain("filters").PlainEma
PlainAmplifier = _plain("neuralgrok").PlainAmplifier
PlainNeuralGrok = _plain("neuralgrok").PlainNeuralGrok
cross_entropy = _plain("neuralgrok").cross_entropy
PlainMa = _plain("filters").PlainMa
