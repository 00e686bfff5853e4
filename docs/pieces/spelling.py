"""Commands of recorded studies as they are typed today; what they do is the same."""

from __future__ import annotations

import re
import shlex

_MOVED = {"--layout": "layout={}", "--operands-from": "{}"}  # options that are settings of the task now
_WEAK = re.compile(r"weak=fnn(?:-l(\d+))?-d(\d+)-w(\d+)")
_SIZED = re.compile(r"weak=(random|fullrank)-d(\d+)")


def respelt(command: str) -> str:
    """``command`` in today's spelling.

    >>> respelt("grokkit compare 'a*b mod 97' --layout operands-first --operands-from b=1 --seeds 5")
    "grokkit compare 'a*b mod 97(layout=operands-first,b=1)' --seeds 5"
    >>> respelt("grokkit compare add:113 --methods 'groktransfer(weak=fnn-l3-d4-w16,stop=0.4)'")
    "grokkit compare add:113 --methods 'groktransfer(weak=fnn(dim=4,width=16,depth=3),stop=0.4)'"
    """
    words, settings, kept = shlex.split(command), [], []
    while words:
        word = words.pop(0)
        if word in _MOVED:
            settings.append(_MOVED[word].format(words.pop(0)))
        else:
            kept.append(_SIZED.sub(r"weak=\1(dim=\2)", _WEAK.sub(_weak, word)))
    if settings:
        kept[2] += f"({','.join(settings)})"  # after "grokkit compare" comes the task
    return shlex.join(kept)


def _weak(found: re.Match[str]) -> str:
    depth, dim, width = found.groups()
    return f"weak=fnn(dim={dim},width={width}{f',depth={depth}' if depth else ''})"
