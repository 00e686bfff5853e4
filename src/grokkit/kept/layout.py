"""What of a transform's state stands in an optimizer's ``state_dict()``, and how it is read back.

    {"state": {0: {"exp_avg": ...,                  PyTorch's own
                   "grokkit/step": tensor(7),       counts, and other numbers, as 0-d tensors
                   "grokkit/slow": tensor([...]),   tensors as they are
                   "grokkit:amplifier/...": ...},   what all parameters share, with the first of them
               1: {...}},
     "param_groups": [...]}

What is shared stands with a parameter, because distributed checkpoints know nothing else. It is saved as bytes in a
uint8 tensor, because PyTorch casts what it loads to the parameter's dtype, and 0 to 255 are whole in all of them.

In the first version counts were integers, by which its checkpoints are known, and Grokfast's window had its own
dimension first.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.kept.rows import number, rows

KEY = "grokkit"
OWN = "grokkit/"  # begins the names of what belongs to a parameter, or is shared, in optimizer.state
SHARED = "grokkit:"  # begins the names of what is shared, in a saved entry


def own(entry: Any) -> dict[str, Any]:
    """What is ours in the entry of a parameter, by its path."""
    if not isinstance(entry, Mapping):
        return {}
    return {key.removeprefix(OWN): leaf for key, leaf in entry.items() if isinstance(key, str) and key.startswith(OWN)}


def ours_in(entry: Any) -> dict[str, Any]:
    """All that is ours in an entry, as it stands there."""
    return {key: leaf for key, leaf in entry.items() if _is_ours(key)} if isinstance(entry, Mapping) else {}


def bare(entry: Any) -> Any:
    """``entry`` without anything of ours; the same object if there is nothing."""
    if not isinstance(entry, Mapping) or not any(_is_ours(key) for key in entry):
        return entry
    return {key: value for key, value in entry.items() if not _is_ours(key)}


def saved_entry(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of one parameter as they are saved; that does not depend on ``capturable``."""
    return {OWN + path: torch.tensor(int(leaf)) if _is_count(leaf) else leaf for path, leaf in leaves.items()}


def saved_shared(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What is shared, as it is saved in the entry of a parameter."""
    return {SHARED + path: int(leaf) if _is_count(leaf) else as_bytes(leaf) for path, leaf in leaves.items()}


def shared_in(entry: Any) -> dict[str, Any]:
    """What is shared, by its path, if ``entry`` is the one that it was saved with.

    Raises:
        InputError: if it cannot be read.
    """
    if not isinstance(entry, Mapping):
        return {}
    names = [key for key in entry if isinstance(key, str) and key.startswith(SHARED)]
    return {name.removeprefix(SHARED): _from_bytes(name, entry[name]) for name in names}


def live(entry: Any, param: Tensor) -> dict[str, Any]:
    """What is ours in a loaded entry, by its path, as it lies in ``optimizer.state``: numbers as rows.

    The counts of the first version are left as they are, for :func:`restored` to know it by.
    """
    return {path: rows(leaf, param) if _is_number(leaf) else leaf for path, leaf in own(entry).items()}


def restored(leaves: Mapping[str, Any], fresh: Mapping[str, Any], name: str, param: Tensor | None) -> dict[str, Any]:
    """``leaves``, found in ``optimizer.state``, as a state like ``fresh``, in whose tensors it is written.

    ``name`` and ``param`` are those of the parameter; of what is shared, a phrase and None.

    Raises:
        InputError: if they are those of another transform, or of other settings, or have been rounded.
        MisfitError: if they are those of a parameter of another shape.
    """
    if leaves.keys() != fresh.keys():
        raise InputError(
            f"the optimizer's saved state of {name} holds {_list(leaves)}, but this transform keeps {_list(fresh)}; "
            "attach the transform it was saved with"
        )
    found = {path: _turned(path, leaf, leaves, fresh[path]) for path, leaf in leaves.items()}
    if param is not None:
        for path, leaf in found.items():
            _check_fit(name, leaf, fresh[path], param)
    return {path: _restored(path, leaf, fresh[path], param) for path, leaf in found.items()}


class MisfitError(InputError):
    """The state of a parameter has another shape than the parameter."""


def as_bytes(leaf: Any) -> Any:
    """A tensor as the bytes of its float64 values, (*shape, 8), or of its complex128 values, (*shape, 16)."""
    if not isinstance(leaf, Tensor):
        return leaf
    wide = torch.complex128 if leaf.is_complex() else torch.float64
    return leaf.detach().to(wide).resolve_conj().unsqueeze(-1).view(torch.uint8)


def _from_bytes(name: str, leaf: Any) -> Any:
    """What :func:`as_bytes` was given, in float64 or complex128."""
    if not isinstance(leaf, Tensor):
        return leaf
    whole = leaf.detach().to(torch.uint8)
    wide = {8: torch.float64, 16: torch.complex128}.get(leaf.shape[-1] if leaf.shape else 0)
    if wide is None or not torch.equal(whole.to(leaf.dtype), leaf.detach()):
        raise InputError(
            f"the saved {name!r} should be bytes of shape (..., 8) or (..., 16), but is {_described(leaf)}; {_REMEDY}"
        )
    return whole.contiguous().view(wide).squeeze(-1)


def _restored(path: str, value: Any, fresh: Any, param: Tensor | None) -> Any:
    if not isinstance(fresh, Tensor):
        return _integer(path, value) if type(fresh) is int else _like(path, value, fresh)
    if fresh.ndim == 0 and not isinstance(value, Tensor):
        value = torch.as_tensor(_integer(path, value) if _is_whole(fresh) else value)
    if not isinstance(value, Tensor):
        raise _unreadable(path, value, fresh)
    if fresh.ndim == 0:
        value = number(value)
    if value.shape != fresh.shape:
        raise InputError(
            f"the saved {path!r} has shape {tuple(value.shape)}, this transform needs {tuple(fresh.shape)}; "
            "attach it with the settings it was saved with"
        )
    # What all parameters share was once saved without its imaginary part; a model may have become complex since.
    if value.is_complex() != fresh.is_complex() and (value.is_complex() or param is None):
        raise _unreadable(path, value, fresh)
    if fresh.is_floating_point() and value.is_floating_point():
        may_be_rounded = param is None or value.dtype is param.dtype  # of another dtype, it was never cast to it
        if may_be_rounded and _bits(value.dtype) < _bits(fresh.dtype):
            raise _rounded(path, value.dtype, fresh.dtype)
    elif fresh.ndim == 0 and _is_whole(fresh):
        value = torch.as_tensor(_integer(path, value))
    return fresh.copy_(value.detach())


def _integer(path: str, value: Any) -> int:
    """A count, from an integer, a number, or rows."""
    if isinstance(value, Tensor):
        dtype, value = value.dtype, number(value).item()
        if dtype.is_floating_point and isfinite(value) and abs(value) * torch.finfo(dtype).eps >= 2:
            raise _rounded(path, dtype, "whole numbers")  # not all of that size are numbers of this dtype
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise InputError(f"the saved {path!r} should be a whole number, but is {_described(value)}; {_REMEDY}")
    return int(value)


def _is_whole(leaf: Tensor) -> bool:
    """Whether it holds whole numbers, or truth values."""
    return not (leaf.is_floating_point() or leaf.is_complex())


def _like(path: str, value: Any, fresh: Any) -> Any:
    if type(value) is not type(fresh):
        raise _unreadable(path, value, fresh)
    return value


def _rounded(path: str, dtype: torch.dtype, needed: object) -> InputError:
    return InputError(
        f"the saved {path!r} is {dtype} here, but this transform keeps {needed}: PyTorch rounds what it loads to the "
        "parameter's dtype; attach() before load_state_dict(), which then keeps it as it was saved"
    )


def _bits(dtype: torch.dtype) -> int:
    return torch.finfo(dtype).bits


def _check_fit(name: str, leaf: Any, fresh: Any, param: Tensor) -> None:
    """Whether what is kept in the parameter's shape, or as its rows, has that shape."""
    if not isinstance(leaf, Tensor):
        return
    is_number = type(fresh) is int or (isinstance(fresh, Tensor) and fresh.ndim == 0)
    if is_number:
        fits = leaf.ndim == 0 or leaf.shape == param.shape[:1]
    else:
        begins = isinstance(fresh, Tensor) and fresh.shape[: param.ndim] == param.shape
        fits = not begins or leaf.shape[: param.ndim] == param.shape
    if not fits:
        raise MisfitError(
            f"the state kept of {name} has shape {tuple(leaf.shape)}, but the parameter {tuple(param.shape)}: its "
            "filter begins afresh; to go on, change every tensor in optimizer.state[p] along with the parameter"
        )


def _turned(path: str, leaf: Any, leaves: Mapping[str, Any], fresh: Any) -> Any:
    """A window of the first version with its own dimension last."""
    before, _, last = path.rpartition("/")
    is_old = type(leaves.get(f"{before}/step" if before else "step")) is int
    if last != "window" or not is_old or not isinstance(leaf, Tensor) or not leaf.ndim:
        return leaf
    return leaf.movedim(0, -1) if leaf.movedim(0, -1).shape == fresh.shape else leaf


def _is_ours(key: object) -> bool:
    return isinstance(key, str) and (key == KEY or key.startswith((OWN, SHARED)))


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim == 0


def _is_count(leaf: Any) -> bool:
    return type(leaf) is int or (_is_number(leaf) and leaf.dtype in (torch.int32, torch.int64))


_REMEDY = "load a state_dict() as it was saved"


def _unreadable(path: str, value: Any, fresh: Any) -> InputError:
    return InputError(f"the saved {path!r} should be {_described(fresh)}, but is {_described(value)}; {_REMEDY}")


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"{value!r:.40}" if isinstance(value, str | int | float | bytes) else f"a {type(value).__name__}"


def _list(leaves: Mapping[str, Any]) -> str:
    return str(sorted(OWN + path for path in leaves)) if leaves else "nothing"
