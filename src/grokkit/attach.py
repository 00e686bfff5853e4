"""The drop-in face: attach a transform to any ``torch.optim`` optimizer in one line.

    handle = attach(optimizer, grokfast_ema(alpha=0.98, lamb=2.0))

From then on ``optimizer.step()`` first filters every ``p.grad`` in place. The transform's state lives in
``optimizer.state``, so ``optimizer.state_dict()`` saves it and ``load_state_dict()`` brings it back, bit for
bit. Attach and load in either order; with half-precision parameters attach first, because PyTorch casts what
it loads to the parameter's dtype unless we are there to prevent it.

What happens when: the filter runs once per ``step()``, on the gradient as it stands then, that is after
accumulation, unscaling, all-reduce and whatever the loop did to it before. With ``step(closure)`` it runs
after the closure. Clipping before ``step()`` therefore clips the raw gradient.

State that parameters share is kept under ``optimizer.state["grokkit"]``. In ``state_dict()`` it stands in the entry of
the first parameter, as bytes: distributed checkpoints know parameters only, and PyTorch casts what it loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from grokkit.errors import InputError, check_dense
from grokkit.overwrite import Overwriting
from grokkit.state import as_bytes, counters_to_ints, from_bytes, leaves, map_leaves, merge
from grokkit.stepping import only_creates_state, skipped_by_scaler, summed, within_own_step
from grokkit.transform import GradientTransform, check_transform_type, in_place

_KEY = "grokkit"
_SHARED = "grokkit:"  # begins the names of what is shared, in a saved entry
_MARK = "_grokkit_handle"


def attach(optimizer: torch.optim.Optimizer, transform: GradientTransform, *, capturable: bool = False) -> Handle:
    """Filter the gradients that ``optimizer`` steps on; returns a handle whose ``detach()`` undoes it.

    Args:
        optimizer: any ``torch.optim`` optimizer, or a subclass of ``torch.optim.Optimizer``, except LBFGS; also one
            in the wrapper of Accelerate or Lightning.
        transform: e.g. ``grokfast_ema()``, or several in a ``chain(...)``.
        capturable: whether ``step()`` may be captured in a CUDA graph: counters are tensors then, and state is
            overwritten in place. Default False; True anyway if the optimizer's own ``capturable`` is.

    Raises:
        InputError: if something is attached already, the optimizer has no parameters or calls its closure
            several times a step (LBFGS), or ``transform`` is not a transform. Later, from ``step()``: for a
            sparse gradient, a loaded state that another transform made or that PyTorch has rounded, or a capture
            without ``capturable``.

    >>> import torch, grokkit
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    >>> handle = grokkit.attach(optimizer, grokkit.grokfast_ema())
    >>> model(torch.ones(3, 2)).sum().backward()
    >>> optimizer.step()
    >>> handle.detach()
    """
    optimizer = unwrapped(optimizer)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(f"attach() needs a torch.optim optimizer, got {type(optimizer).__name__}; pass the optimizer")
    check_transform_type(transform, "attach")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError(
            "LBFGS evaluates its closure several times a step, so no step has one gradient; use SGD or Adam"
        )
    if attached(optimizer) is not None:
        raise InputError("this optimizer has a transform attached; detach() it, or attach chain(first, second) at once")
    if not any(group["params"] for group in optimizer.param_groups):
        raise InputError("the optimizer has no parameters; add some before attach()")
    capturable = capturable or any(group.get("capturable", False) for group in optimizer.param_groups)
    return Handle(optimizer, transform, capturable)


def attached(optimizer: torch.optim.Optimizer) -> Handle | None:
    """The handle of what is attached to ``optimizer``, if anything is."""
    return getattr(unwrapped(optimizer), _MARK, None)


def unwrapped(optimizer: Any) -> Any:
    """The optimizer in the wrappers that Accelerate and Lightning give it."""
    inner = getattr(optimizer, "optimizer", None)
    return inner if isinstance(inner, torch.optim.Optimizer) else optimizer


class Handle:
    """An attached transform. Made by :func:`attach`."""

    def __init__(self, optimizer: torch.optim.Optimizer, transform: GradientTransform, capturable: bool) -> None:
        self._optimizer: Any = optimizer  # its state is typed too narrowly for shared entries
        self._transform = transform
        self._capturable = capturable
        self._update = self._update_captured if capturable else in_place(transform)
        self._state: Any = None
        self._params: dict[str, Tensor] = {}  # the parameters that self._state covers
        self._filtered: set[str] = set()  # those among them that this step's gradients came from
        self._source: object = None  # the optimizer.state that self._state was made from
        self._exact: dict[int, dict[str, Any]] = {}  # between the two load hooks
        before, after = map(_not_compiled, (self._before_step, self._after_step))
        self._hooks = [
            optimizer.register_step_pre_hook(before),
            optimizer.register_step_post_hook(after),
            optimizer.register_state_dict_post_hook(self._after_save),
            optimizer.register_load_state_dict_pre_hook(self._before_load),
            optimizer.register_load_state_dict_post_hook(self._after_load),
        ]
        _lift(optimizer.state)
        setattr(optimizer, _MARK, self)

    def detach(self) -> None:
        """Remove the transform and its state from the optimizer. Calling it again does nothing."""
        if getattr(self._optimizer, _MARK, None) is not self:
            return
        for hook in self._hooks:
            hook.remove()
        state = self._optimizer.state
        state.pop(_KEY, None)  # pyright: ignore[reportArgumentType,reportCallIssue]
        for p, entry in [(p, entry) for p, entry in state.items() if _own(p, entry)]:
            bare = {key: value for key, value in entry.items() if key not in _own(p, entry)}
            if bare:
                state[p] = bare  # not in place: a state_dict() taken before shares the old one
            else:
                del state[p]
        self._state, self._params = None, {}
        delattr(self._optimizer, _MARK)

    @property
    def state(self) -> Any:
        """The transform's state as of the last step, in its own structure; None before the first."""
        return self._state if self._optimizer.state is self._source else None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The optimizer's parameters by the names that the transform knows them by."""
        return dict(_named(self._optimizer))

    @torch.no_grad()
    def revise(self, function: Callable[[Any], Any], params: dict[str, Tensor]) -> None:
        """Between two steps, put ``function(state)`` in the place of the state, which covers ``params`` at least."""
        if getattr(self._optimizer, _MARK, None) is not self:
            raise InputError("the transform is detached, and its state is gone; keep what you need before detach()")
        self._cover(params)
        self._state = function(self._state)
        if self._optimizer.state:  # before the first step it stays empty, which tells others that there was none
            self._store_shared()

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if within_own_step(optimizer):
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._filter()
            return None
        filtered = self._after_closure(closure)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": filtered}
        return (optimizer, filtered, *args[2:]), kwargs

    def _after_closure(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        calls = 0

        def filtered() -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                name = type(self._optimizer).__name__
                raise InputError(f"{name} calls its closure several times a step; attach() needs one gradient a step")
            loss = closure()
            self._filter()
            return loss

        return filtered

    @torch.no_grad()
    def _filter(self) -> None:
        self._filtered = set()
        params = {name: p for name, p in _named(self._optimizer) if p.grad is not None}
        grads = {name: summed(p) for name, p in params.items()}
        for name, g in grads.items():
            check_dense(name, g)
        if not params or skipped_by_scaler(self._optimizer, list(grads.values())):
            return
        self._check_capture(params)
        self._cover(params)
        if not only_creates_state(self._optimizer):
            self._state = self._update(grads, self._state, params)
        self._filtered = set(params)

    def _update_captured(self, grads: dict[str, Tensor], state: Any, params: dict[str, Tensor]) -> Any:
        """The pure face, written over the tensors that there are: a graph's replay goes on from those."""
        with Overwriting(state):
            new, after = self._transform.update(grads, state, params)
        pairs = [(grads[name], g) for name, g in new.items()]
        pairs += [(a, b) for (_, _, a), (_, _, b) in zip(leaves(state), leaves(after), strict=True)]
        for old, value in pairs:
            if value.data_ptr() != old.data_ptr():
                old.copy_(value)
        return state

    def _check_capture(self, params: dict[str, Tensor]) -> None:
        if not any(p.is_cuda for p in params.values()) or not torch.cuda.is_current_stream_capturing():
            return
        if not self._capturable:
            raise InputError("step() is captured in a CUDA graph; attach(..., capturable=True), so that it can be")
        if self._optimizer.state is not self._source or any(self._params.get(n) is not p for n, p in params.items()):
            raise InputError("the filter has no state yet; take a step before the capture, as CUDA graphs need anyway")

    def _cover(self, params: dict[str, Tensor]) -> None:
        """Make ``self._state`` cover ``params``, from ``optimizer.state`` where that has something."""
        if self._optimizer.state is not self._source:  # first step, or a state was loaded
            self._state, self._params, self._source = None, {}, self._optimizer.state
        missing = {name: p for name, p in params.items() if self._params.get(name) is not p}
        if not missing:
            return
        shared = self._optimizer.state.get(_KEY, {})

        def saved(path: str, name: str | None, fresh: Any) -> Any:
            entry = shared if name is None else self._optimizer.state.get(missing[name], {})
            return _restore(entry.get(f"{_KEY}/{path}", fresh), fresh, path)

        fresh = self._transform.init(missing)
        fresh = fresh if self._capturable else counters_to_ints(fresh)
        self._check_origin(fresh, missing)
        new = map_leaves(saved, fresh)
        self._state = new if self._state is None else merge(self._state, new)
        self._params |= missing

    def _check_origin(self, fresh: Any, missing: dict[str, Tensor]) -> None:
        expected: dict[str, set[str]] = {name: set() for name in missing}
        for path, name, _ in leaves(fresh):
            if name is not None:
                expected[name].add(f"{_KEY}/{path}")
        for name, p in missing.items():
            found = set(_own(p, self._optimizer.state.get(p, {})))
            if found and found != expected[name]:
                raise InputError(
                    f"the optimizer's saved state of {name} holds {sorted(found)}, but this transform keeps "
                    f"{sorted(expected[name]) or 'nothing'}; attach the transform it was saved with"
                )

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Not before the step: optimizers take a parameter without state for one they have not seen.
        if not self._filtered:
            return
        for path, name, leaf in leaves(self._state):
            if name in self._filtered:
                self._optimizer.state[self._params[name]][f"{_KEY}/{path}"] = leaf
        self._store_shared()

    def _shared(self) -> dict[str, Any]:
        return {f"{_KEY}/{path}": leaf for path, name, leaf in leaves(self.state) if name is None and leaf is not None}

    def _store_shared(self) -> None:
        if shared := self._shared():
            self._optimizer.state[_KEY] = shared

    def _after_save(self, optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = {key: _numbered(entry) for key, entry in state_dict["state"].items()}
        stepped, shared = bool(state), _numbered(state.pop(_KEY, None) or self._shared())
        if shared and not stepped:  # an entry would tell the optimizer otherwise
            state[_KEY] = shared
        elif shared:
            if not any(isinstance(key, int) for key in state):  # all parameters have an entry, or none
                state |= {index: {} for group in state_dict["param_groups"] for index in group["params"]}
            first = next(key for key in state if isinstance(key, int))
            named = {_SHARED + key.removeprefix(f"{_KEY}/"): as_bytes(leaf) for key, leaf in shared.items()}
            state[first] = {**state[first], **named}
        return {**state_dict, "state": state}

    def _before_load(self, optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = {key: dict(entry) if isinstance(entry, dict) else entry for key, entry in state_dict["state"].items()}
        _lift(state)
        self._exact = {index: _own(index, entry) for index, entry in state.items()}
        self._indices = [index for group in state_dict["param_groups"] for index in group["params"]]
        return {**state_dict, "state": state}

    def _after_load(self, optimizer: Any) -> None:
        params = [p for group in self._optimizer.param_groups for p in group["params"]]
        for index, p in zip(self._indices, params, strict=True):
            if self._exact.get(index):
                self._optimizer.state[p].update(self._exact[index])
        self._exact = {}


def _not_compiled(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled step leaves what is compiled here, and comes back."""
    return torch.compiler.disable(hook)  # pyright: ignore[reportReturnType]


def _lift(state: Any) -> None:
    """Bring what is shared from the entry of a parameter, where it is saved, to its place."""
    for entry in list(state.values()):
        names = [name for name in entry if str(name).startswith(_SHARED)] if isinstance(entry, dict) else []
        for name in names:
            state.setdefault(_KEY, {})[f"{_KEY}/{name.removeprefix(_SHARED)}"] = from_bytes(entry.pop(name))


def _numbered(entry: Any) -> Any:
    """An entry with our counters as integers: what is saved does not depend on ``capturable``."""
    if not isinstance(entry, dict):
        return entry
    found = {key: int(leaf) for key, leaf in entry.items() if str(key).startswith(_KEY) and _is_counter(leaf)}
    return {**entry, **found}


def _is_counter(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim == 0 and leaf.dtype == torch.int64


def _own(key: object, entry: Any) -> dict[str, Any]:
    """What is ours in one entry of an optimizer's state; other entries than a parameter's have nothing."""
    if key == _KEY or not isinstance(entry, dict):
        return {}
    return {k: v for k, v in entry.items() if isinstance(k, str) and k.startswith(f"{_KEY}/")}


def _named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Every parameter once, under its own name if the optimizer was given names.

    Two groups may both have, say, a ``weight``: the later one is then qualified by its place.
    """
    seen: set[int] = set()
    taken: set[str] = set()
    for g, group in enumerate(optimizer.param_groups):
        places = [f"group {g} parameter {i}" for i in range(len(group["params"]))]
        names = group.get("param_names") or places
        for name, place, p in zip(names, places, group["params"], strict=True):
            if id(p) not in seen:
                name = f"{name} ({place})" if name in taken else name
                seen.add(id(p))
                taken.add(name)
                yield name, p


def _restore(value: Any, fresh: Any, path: str) -> Any:
    """``value`` as a tensor of our own like ``fresh``, or an integer."""
    if value is fresh or not isinstance(fresh, Tensor):
        return int(value) if type(fresh) is int else value
    value = torch.as_tensor(value)
    if value.shape != fresh.shape:
        raise InputError(
            f"the saved {path!r} has shape {tuple(value.shape)}, this transform needs {tuple(fresh.shape)}; "
            "attach it with the settings it was saved with"
        )
    if value.is_floating_point() and torch.finfo(value.dtype).bits < torch.finfo(fresh.dtype).bits:
        raise InputError(
            f"the saved {path!r} is {value.dtype} here, but this transform keeps {fresh.dtype}: PyTorch rounds what it "
            "loads to the parameter's dtype; attach() before load_state_dict(), which then keeps it as it was saved"
        )
    return value.detach().to(device=fresh.device, dtype=fresh.dtype, copy=True)
