"""The command ``grokkit bench``: the plain form and ours in turns, and how many times as long ours takes.

The plain forms are ``grokkit.bench.plain``. In the repository they lie in ``benchmarks/plain``, apart from the
product; a wheel carries them here.
"""

from pathlib import Path

_REPOSITORY = Path(__file__).parents[3]

if (_REPOSITORY / "benchmarks" / "plain" / "__init__.py").is_file() and (_REPOSITORY / "pyproject.toml").is_file():
    __path__.append(str(_REPOSITORY / "benchmarks"))
