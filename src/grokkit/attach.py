"""The drop-in face: attach a transform to any ``torch.optim`` optimizer in one line.

    handle = attach(optimizer, grokfast_ema(alpha=0.98, lamb=2.0))

From then on ``optimizer.step()`` first filters every ``p.grad`` in place. A weight transform, such as
``row_clip(c=2.0)``, is applied after the step, to the parameters that it moved: those with a gradient. For both kinds
at once there is ``chain``. The transform's state lies in ``optimizer.state`` (:mod:`grokkit.kept`), so
``optimizer.state_dict()`` saves it and ``load_state_dict()`` brings it back, bit for bit. Attach and load in either
order; with half-precision parameters attach first, because PyTorch casts what it loads to the parameter's dtype unless
we are there to prevent it.

What happens when: the filter runs once per ``step()``, on the gradient as it stands then, that is after accumulation,
unscaling, all-reduce and whatever the loop did to it before. With ``step(closure)`` it runs after the closure. Clipping
before ``step()`` therefore clips the raw gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from grokkit.autocast import without_autocast
from grokkit.combine import Transform, check_transform_type, parts_of, warn_of_idle_masks
from grokkit.copies import Recipe, leave_copies, let_copies_attach
from grokkit.errors import InputError
from grokkit.hooks import forget_copied, handle_of, hook, unhook
from grokkit.kept import Kept, Loading, hand_over, unpack
from grokkit.names import Names
from grokkit.shards import spread_as
from grokkit.state import Overwriting, apart, leaves
from grokkit.step_detection import gradients, only_creates_state, skipped_by_scaler, within_own_step
from grokkit.transform import in_place
from grokkit.unapplied import Unapplied
from grokkit.weight_transform import before_step, change_in_place, with_counters
from grokkit.wrapped import check_optimizer, check_saving, has_hooks, unwrapped


def attach(optimizer: torch.optim.Optimizer, transform: Transform, *, capturable: bool = False) -> Handle:
    """Transform the gradients that ``optimizer`` steps on, or the weights after it; ``detach()`` the handle to undo it.

    Args:
        optimizer: any ``torch.optim`` optimizer, or a subclass of ``torch.optim.Optimizer``, except LBFGS and
            SparseAdam; also one in wrappers, such as Accelerate's, Lightning's, Lookahead or SAM.
        transform: e.g. ``grokfast_ema()`` or ``row_clip()``, or several, of either kind, in a ``chain(...)``.
        capturable: whether ``step()`` may be captured in a CUDA graph: counters are tensors then, and state is
            overwritten in place. Default False; True anyway if the optimizer's own ``capturable`` is.

    Raises:
        InputError: if something is attached already; if the optimizer has no parameters, calls its closure several
            times a step (LBFGS), takes sparse gradients (SparseAdam), has a ``state_dict()`` that would lose the
            transform's state, is ``differentiable``, or steps with several others, to each of which one attaches; if
            the transform changes weights and is for some classes of parameters; or if ``transform`` is not a
            transform. Later, from ``step()``: for a sparse gradient, a state with a dict that is not keyed by names of
            parameters, a loaded state that another transform made or that PyTorch has rounded, or a capture without
            ``capturable``.

    >>> import torch, grokkit
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    >>> handle = grokkit.attach(optimizer, grokkit.grokfast_ema())
    >>> model(torch.ones(3, 2)).sum().backward()
    >>> optimizer.step()
    >>> handle.detach()
    """
    *wrappers, inner = unwrapped(optimizer)
    check_optimizer(inner)
    check_transform_type(transform, "attach")
    if (weights := parts_of(transform)[1]) is not None and weights.see is not None:
        raise InputError(
            "this transform looks at which rows the outputs were right for, and an optimizer does not know them; in a "
            "loop of your own call before_step() of grokkit.weight_transform before each step, and its see() and "
            "change_in_place() after it"
        )
    if any(group.get("differentiable", False) for group in inner.param_groups):
        raise InputError(
            "what is attached overwrites gradients and weights, which differentiable=True would differentiate as if it "
            "had not; leave differentiable out, or call the transform's update() in your own loop"
        )
    if attached(inner) is not None:
        raise InputError(
            "this optimizer has a transform attached; detach() it, or attach chain(first, second) at once, or pass "
            "yours to recipe(model, transform=...) if it is from there"
        )
    capturable = capturable or any(group.get("capturable", False) for group in inner.param_groups)
    check_saving(inner, transform)
    warn_of_idle_masks(transform, Names().of(inner))
    return Handle(inner, wrappers, transform, capturable)


def attached(optimizer: torch.optim.Optimizer) -> Handle | None:
    """The handle of what is attached to ``optimizer``, or to the one that it wraps, if anything is."""
    try:
        return handle_of(optimizer) or handle_of(unwrapped(optimizer)[-1])
    except InputError:  # it holds several
        return None


class Handle:
    """An attached transform. Made by :func:`attach`."""

    def __init__(self, optimizer: Any, wrappers: list[Any], transform: Transform, capturable: bool) -> None:
        self._names = Names()
        unapplied = Unapplied(type(optimizer).__name__, self._names.of(optimizer).values())
        self._optimizer: Callable[[], Any] = ref(optimizer, lambda _: unapplied.stop())  # it holds this
        self._wrappers = [ref(wrapper) for wrapper in wrappers if has_hooks(wrapper)]
        self._transform, self._capturable = transform, capturable
        self._gradient, self._weights = parts_of(transform)
        self._in_place = None if self._gradient is None else in_place(self._gradient)
        self._kept = Kept(transform, capturable)
        self._unapplied = unapplied
        self._covered: dict[str, Tensor] = {}  # the parameters that have a gradient in this step
        self._is_step = False  # whether this step moves them
        self.loading: Loading | None = None  # between the two hooks of a load
        self.loads_itself = False
        self._names_given: list[list[str] | None] = []  # of each group, from before a load
        for wrapper in self._layers()[1:]:
            hand_over(wrapper.state, optimizer.state)
        unpack(optimizer.state)
        self._hooks = hook(optimizer, self._layers(), self)
        let_copies_attach(optimizer, _recipe)

    def detach(self) -> None:
        """Remove the transform and its state from the optimizer. Calling it again does nothing."""
        optimizer = self._attached_to()
        if optimizer is None:
            return
        unhook(self._layers(), self._hooks)
        leave_copies(optimizer)
        self._unapplied.stop()
        self._kept.remove(optimizer.state)

    @property
    def state(self) -> Any:
        """The transform's state as of the last step, in its own structure; None before the first.

        Also None from when somebody has changed or loaded it until it is used again.
        """
        optimizer = self._attached_to()
        return None if optimizer is None else self._kept.current(optimizer.state, self._names.of(optimizer))

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The optimizer's parameters by the names that the transform knows them by."""
        optimizer = self._optimizer()
        return {} if optimizer is None else self._names.of(optimizer)

    @torch.no_grad()
    def revise(self, function: Callable[[Any], Any], params: dict[str, Tensor]) -> None:
        """Between two steps, put ``function(state)`` in the place of the state, which covers ``params`` at least.

        Where steps may have been captured in a CUDA graph it is written into the tensors that those read.
        """
        optimizer = self._attached_to()
        if optimizer is None:
            raise InputError("the transform is detached, and its state is gone; keep what you need before detach()")
        store, named = optimizer.state, self._names.of(optimizer)
        self._kept.change(store, named, params, partial(self._revised, function))
        self._kept.settle_shared(store)

    def _revised(self, function: Callable[[Any], Any], state: Any) -> Any:
        if not self._capturable:
            return function(state)
        _write_over({}, state, ({}, function(state)))
        return state

    def __reduce__(self) -> Any:
        """The copy is the handle of the optimizer's copy."""
        optimizer = self._attached_to()
        return (_detached, ()) if optimizer is None else (attached, (optimizer,))

    def export(self, optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        """What ``optimizer``, this one or a wrapper of it, saves, with the transform's state."""
        inner = self._optimizer()
        return self._kept.export(inner.state, self._names.of(inner), optimizer, state_dict)

    def begin_loading(self) -> None:
        """Before the optimizer loads, which replaces the names of its parameters by the saved ones."""
        self._names_given = [group.get("param_names") for group in self._optimizer().param_groups]

    def take_over(self, loading: Loading, optimizer: Any) -> None:
        """After ``optimizer``, this one or a wrapper of it, has loaded what is not the transform's.

        The parameters keep their names. A checkpoint may call them otherwise, ``_orig_mod.weight`` where the model was
        compiled, and a mask would no longer know them, though the optimizer loads by position.
        """
        for group, names in zip(self._optimizer().param_groups, self._names_given, strict=False):
            if names is not None:
                group["param_names"] = names
        loading.give(optimizer, self._optimizer().state)
        self._kept.forget()

    def before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Filter the gradients, or have them filtered after the closure."""
        if within_own_step(optimizer):
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):  # some optimizers' step() takes something else in its place
            self._filter(optimizer)
            return None
        filtered = self._after_closure(optimizer, closure)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": filtered}
        return (optimizer, filtered, *args[2:]), kwargs

    def after_step(self, optimizer: Any) -> None:
        """Write what had to wait for the step, and transform the weights that it has moved."""
        covered = self._covered
        # Where a subclass's step() called super().step(), this hook runs for each; the step is over at the last.
        if not covered or (self._weights is not None and within_own_step(optimizer)):
            return
        self._covered = {}
        named = self._names.of(optimizer)
        self._kept.settle(optimizer.state, named, covered)
        if self._weights is not None and self._is_step:
            with without_autocast(covered.values()):
                self._kept.change(optimizer.state, named, covered, lambda state: self._weighed(covered, state))

    def _attached_to(self) -> Any:
        """The optimizer, unless it is gone, or the transform detached."""
        optimizer = self._optimizer()
        return optimizer if handle_of(optimizer) is self else None

    def _layers(self) -> list[Any]:
        """The optimizer, and those of its wrappers that PyTorch's hooks are called of."""
        return [self._optimizer(), *(found for wrapper in self._wrappers if (found := wrapper()) is not None)]

    def _after_closure(self, optimizer: Any, closure: Callable[[], Any]) -> Callable[[], Any]:
        calls = 0

        def filtered() -> Any:
            nonlocal calls
            calls += 1
            if calls > 1:
                name = type(optimizer).__name__
                raise InputError(f"{name} calls its closure several times a step; attach() needs one gradient a step")
            loss = closure()
            self._filter(optimizer)
            return loss

        return filtered

    @torch.no_grad()
    def _filter(self, optimizer: Any) -> None:
        self._covered = {}
        named = self._names.of(optimizer)
        grads = gradients(named)
        if not grads:
            self._unapplied.step_without_gradients()
            return
        self._unapplied.stop()
        params = named if len(grads) == len(named) else {name: named[name] for name in grads}
        if skipped_by_scaler(optimizer, list(grads.values())):
            return
        self._check_capture(optimizer, named, params)
        self._is_step = not only_creates_state(optimizer)
        # Also where only weights are transformed: their state begins with the weights before the first step.
        with without_autocast(params.values()):
            self._kept.change(optimizer.state, named, params, lambda state: self._graded(grads, state, params))
        self._covered = params

    def _graded(self, grads: dict[str, Tensor], state: Any, params: dict[str, Tensor]) -> Any:
        """The whole state after the gradients are filtered, and the weights are noted that the step begins with."""
        if not self._is_step:
            return state
        if self._weights is None:
            return self._filtered(grads, state, params)
        if self._gradient is None:
            return self._noted(params, state)
        gradient, weights = state
        return self._filtered(grads, gradient, params), self._noted(params, weights)

    def _filtered(self, grads: dict[str, Tensor], own: Any, params: dict[str, Tensor]) -> Any:
        """The state of the gradients' transform after they are filtered."""
        assert self._gradient is not None
        assert self._in_place is not None
        if not self._capturable:
            return self._in_place(grads, own, params)
        with Overwriting(own):
            _write_over(grads, own, self._gradient.update(grads, own, params))
        return own

    def _noted(self, params: dict[str, Tensor], own: Any) -> Any:
        """The state of the weights' transform after it has seen the weights that the step begins with."""
        assert self._weights is not None
        if self._weights.before is None:
            return own
        if not self._capturable:
            return with_counters(before_step, self._weights, params, own)
        with Overwriting(own):
            _write_over({}, own, ({}, self._weights.before(params, own)))
        return own

    @torch.no_grad()
    def _weighed(self, params: dict[str, Tensor], state: Any) -> Any:
        """The whole state after the weights are transformed."""
        assert self._weights is not None
        gradient, own = state if self._gradient is not None else (None, state)
        if self._capturable:
            with Overwriting(own):
                _write_over(params, own, self._weights.update(params, own))
        else:
            own = with_counters(change_in_place, self._weights, params, own)
        return own if self._gradient is None else (gradient, own)

    def _check_capture(self, optimizer: Any, named: dict[str, Tensor], params: dict[str, Tensor]) -> None:
        if not any(p.is_cuda for p in params.values()) or not torch.cuda.is_current_stream_capturing():
            return
        if not self._capturable:
            raise InputError("step() is captured in a CUDA graph; attach(..., capturable=True), so that it can be")
        if not self._kept.covers(optimizer.state, named, params):
            raise InputError("the filter has no state yet; take a step before the capture, as CUDA graphs need anyway")


def _write_over(tensors: dict[str, Tensor], state: Any, result: tuple[dict[str, Tensor], Any]) -> None:
    """What a pure face gave, written over the tensors that there are: a graph's replay goes on from those.

    By name, since a face may give its dicts in any order.
    """
    new, after = result
    given = {(path, name): leaf for path, name, leaf in leaves(after)}
    pairs = [(tensors[name], tensor) for name, tensor in new.items()]
    pairs += [(leaf, given.get((path, name), leaf)) for path, name, leaf in leaves(state)]
    pairs = [(old, value) for old, value in pairs if value is not old]
    olds = [old for old, _ in pairs]
    for old, value in zip(olds, apart([value for _, value in pairs], olds), strict=True):
        old.copy_(spread_as(value, old))


def _recipe(optimizer: Any) -> Recipe:
    handle = handle_of(optimizer)
    return Recipe(_attach_copy, handle._transform, handle._capturable, handle._kept.begun)


def _attach_copy(optimizer: Any, transform: Transform, capturable: bool, begun: Any) -> None:
    forget_copied(optimizer)
    Handle(optimizer, [], transform, capturable)._kept.go_on(optimizer.state, begun)


def _detached() -> Handle:
    """A handle of nothing."""
    handle = Handle.__new__(Handle)
    handle._optimizer = _nothing
    return handle


def _nothing() -> None:
    return None
