"""Accelerators for delayed generalization, and a fair way to measure them.

    import grokkit

    grokkit.attach(optimizer, grokkit.grokfast_ema(alpha=0.98, lamb=2.0))

What is here lies in :mod:`grokkit.public`, which needs torch and numpy only; the lab behind the ``grokkit`` command is
the extra ``lab``. It is imported when the first of it is used, so that the command answers without torch where it can.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokkit.public import *  # noqa: F403
    from grokkit.public import __all__ as __all__

__version__ = "0.1.0"


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Python binds every module that is imported in its package; grokkit.attach and recipe shall remain functions.
        if not (name in ("attach", "recipe") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name != "__all__" and name.startswith("_"):
        raise AttributeError(f"module 'grokkit' has no attribute {name!r}")
    public = import_module("grokkit.public")
    if name != "__all__" and name not in public.__all__:
        raise AttributeError(f"module 'grokkit' has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("grokkit.public").__all__})
