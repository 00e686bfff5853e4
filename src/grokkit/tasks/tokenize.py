"""From a text to its words: lower case, letters only, without the commonest words of the language."""

from __future__ import annotations

import re

# Of any alphabet, with apostrophes inside; marks of HTML such as <br /> are taken out before.
_MARK = re.compile(r"<[^<>]{0,40}>")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

# Words that carry grammar rather than opinion. The published script leaves out such words too, "not" among them.
_GRAMMAR = """
    i me my myself we our ours ourselves you you're you've you'll you'd your yours yourself yourselves he him his
    himself she she's her hers herself it it's its itself they them their theirs themselves what which who whom this
    that that'll these those am is are was were be been being have has had having do does did doing a an the and but
    if or because as until while of at by for with about against between into through during before after above below
    to from up down in out on off over under again further then once here there when where why how all any both each
    few more most other some such no nor not only own same so than too very s t can will just don don't should
    should've now d ll m o re ve y ain aren aren't couldn couldn't didn didn't doesn doesn't hadn hadn't hasn hasn't
    haven haven't isn isn't ma mightn mightn't mustn mustn't needn needn't shan shan't shouldn shouldn't wasn wasn't
    weren weren't won won't wouldn wouldn't
"""
STOP_WORDS = frozenset(_GRAMMAR.split())


def words_of(text: str) -> list[str]:
    """The words of ``text`` in their order; none if it has no letters.

    >>> words_of("It wasn't GOOD.<br /><br />Was it? 7/10, café.")
    ['good', 'café']
    """
    plain = _MARK.sub(" ", text.lower().replace("’", "'"))
    return [word for word in _WORD.findall(plain) if word not in STOP_WORDS]
