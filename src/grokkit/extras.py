"""The packages that the lab needs, looked for before anything runs and not when the first figure is drawn."""

from __future__ import annotations

from importlib.util import find_spec

from grokkit.errors import MissingExtraError

LAB = (
    "altair",
    "cloudpickle",
    "filelock",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "rich",
    "safetensors",
    "scipy",
    "typer",
    "vl_convert",
)
"""What the extra ``lab`` of pyproject.toml installs, by the names that are imported."""


def check_lab() -> None:
    """Refuse to begin without one of :data:`LAB`; none is imported by this.

    Raises:
        MissingExtraError: it names the first that is missing, and the extra.
    """
    for package in LAB:
        if find_spec(package) is None:
            raise MissingExtraError(package, "lab")
