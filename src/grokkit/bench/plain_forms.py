"""The plain forms, wherever they lie: what a row of the benchmark compares ours with."""

from __future__ import annotations

from grokkit.errors import InputError

try:
    # pyright looks for them in the package's folder only
    from grokkit.bench.plain import loop  # pyright: ignore[reportMissingImports]
    from grokkit.bench.plain.decoder import PlainDecoder  # pyright: ignore[reportMissingImports]
    from grokkit.bench.plain.filters import PlainEma, PlainMa  # pyright: ignore[reportMissingImports]
    from grokkit.bench.plain.fnn import PlainFnn  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("grokkit.bench.plain"):
        raise
    raise InputError(
        "the plain forms that `grokkit bench` compares with are not installed; install grokkit anew from its wheel, "
        "or run it from a checkout of the repository, where they are benchmarks/plain"
    ) from None

__all__ = ["PlainDecoder", "PlainEma", "PlainFnn", "PlainMa", "loop"]
