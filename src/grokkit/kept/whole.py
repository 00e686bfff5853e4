"""The whole state of a transform, from and into the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Set
from functools import partial
from typing import Any

from torch import Tensor

from grokkit.combine import Transform
from grokkit.errors import InputError
from grokkit.kept.entries import Columns, Entries, Leaves, Named, Store
from grokkit.kept.layout import KEY, bare, own
from grokkit.kept.saved import exported
from grokkit.kept.shared import Shared, lift
from grokkit.state import check_keys, columns, counters_to_ints, with_columns


class Kept:
    """The state of ``transform`` in one optimizer.

    ``store`` is ``optimizer.state``, ``named`` all of the optimizer's parameters by their names.
    """

    def __init__(self, transform: Transform, capturable: bool) -> None:
        self._transform, self._capturable = transform, capturable
        self._place = 0  # the id of the store that all this is about
        self.forget()

    def forget(self) -> None:
        """Begin with whatever lies in the store."""
        self._form: Any = None  # a state, of which only the structure is used
        self._paths: Set[str] = set()
        self._nothing: Leaves = {}  # None, in the place of leaves that this transform does without
        self._entries, self._shared = Entries([]), Shared([])

    def change(self, store: Store, named: Named, params: Named, function: Callable[[Any], Any]) -> None:
        """Put ``function(state)`` in the place of the state, which covers ``params``, some of ``named``, at least."""
        state, found = self._gathered(store, named, params)
        before = {path: dict(column) for path, column in found.items()}
        try:
            changed = function(state)
        except KeyError as error:
            name = error.args[0] if error.args else None
            if name not in params or not before or any(name in column for column in before.values()):
                raise
            raise InputError(
                f"the transform is given {name}, of which it keeps nothing since it was not given it before: what "
                "masked()'s where() says of a parameter has to stay the same"
            ) from error
        check_keys(changed, named, "update")
        after = dict(columns(changed))
        if after.keys() != self._paths or any(after[path] is not None for path in self._nothing):
            raise InputError(
                "the transform's update() gave a state of another structure than init(); begin with all that it "
                "keeps, e.g. with zeros, in the same NamedTuples or tuples"
            )
        if self._entries.paths:
            self._entries.put(store, named, before, {path: after[path] for path in self._entries.paths})
        if self._shared.paths:
            self._shared.put(store, {path: after[path] for path in self._shared.paths})

    def settle(self, store: Store, named: Named, params: Named) -> None:
        """After the optimizer's step on ``params``: write what had to wait for it."""
        self._entries.settle(store, params)
        self._entries.lay(store, named)
        self._shared.settle(store)

    def settle_shared(self, store: Store) -> None:
        """Write what all parameters share, if the optimizer has taken a step already."""
        if store:
            self._shared.settle(store)

    def current(self, store: Store, named: Named) -> Any:
        """The state as it was left; None before there is one, and where it has been changed since."""
        if self._form is None or id(store) != self._place:
            return None
        found, strange = self._entries.look(store, named)
        shared = self._shared.known(store)
        if shared is None or any(self._entries.knows(name) or own(store.get(p)) for name, p in strange.items()):
            return None
        return self._joined(found, shared)

    def covers(self, store: Store, named: Named, params: Named) -> bool:
        """Whether all of the state of ``params`` lies where it was left."""
        if self._form is None:
            return False
        if self._shared.paths and self._shared.known(store) is None:
            return False
        # Without columns of its own, no parameter can lack any: there may be only shared state, or none at all.
        return not self._entries.paths or not self._entries.look(store, named)[1].keys() & params.keys()

    def export(self, store: Store, named: Named, optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The ``state_dict`` of ``optimizer``, which may be a wrapper, with all that is kept."""
        leaves = {p: self._entries.leaves(store, name, p, partial(self._begin, name, p)) for name, p in named.items()}
        return exported(leaves, self._shared.leaves(store), optimizer, state_dict)

    @property
    def begun(self) -> Any:
        """What waits for the optimizer's step: a copy of the optimizer goes on from it."""
        return (self._form, self._entries.begun, self._shared.begun) if self._form is not None else None

    def go_on(self, store: Store, begun: Any) -> None:
        """Begin with what another one's ``begun`` was."""
        if begun is not None:
            form, entries, shared = begun
            self._shape(form)
            self._place, self._entries.begun, self._shared.begun = id(store), entries, shared

    def remove(self, store: Store) -> None:
        """Leave nothing of ours."""
        store.pop(KEY, None)
        for p, entry in [(p, entry) for p, entry in store.items() if bare(entry) is not entry]:
            store[p] = bare(entry)  # not in place: a state_dict() taken before may share the old one
            if not store[p]:
                del store[p]
        self.forget()

    def _gathered(self, store: Store, named: Named, params: Named) -> tuple[Any, Columns]:
        # ``optimizer.state`` may have been replaced, by a load for one: what waited for the old one's step is void.
        if id(store) != self._place:
            self._place, self._entries.begun, self._shared.begun = id(store), {}, {}
        # The form is the same for any parameters, so one of them is enough to find it.
        if self._form is None:
            lift(store)
            fresh = self._fresh(dict([next(iter(params.items()))] if params else []))
            check_keys(fresh, named, "init")
            self._shape(fresh)
        elif not self._entries.paths and not self._shared.paths:
            return self._joined({}, {}), {}
        # A parameter is strange whose entry is not as it was left: new, loaded, or changed by somebody.
        self._entries.keep_only(named)
        self._entries.lay(store, named)
        found, strange = self._entries.look(store, named)
        if any(name in params or self._entries.knows(name) for name in strange):
            self._take_up(store, params, strange)
            self._entries.lay(store, named)
            found, _ = self._entries.look(store, named)
        shared = self._shared.known(store)
        if shared is None:
            shared = self._shared.take_up(store, lambda: self._shared_of(self._fresh(params)))
        return self._joined(found, shared), found

    def _take_up(self, store: Store, params: Named, strange: Named) -> None:
        """See what lies in the entries of strange parameters; where nothing does and there is a gradient, begin."""
        lift(store)
        begins = {}
        for name, p in strange.items():
            self._entries.lose(name)
            if name in self._entries.begun and not own(store.get(p)):
                continue
            self._entries.begun.pop(name, None)
            taken = self._entries.take_up(store, name, p, partial(self._begin, name, p))
            if not taken and name in params:
                begins[name] = p
        fresh = self._fresh(begins) if begins else None
        for name, p in begins.items():
            self._entries.begin(store, name, p, _leaves_of(fresh, name))

    def _begin(self, name: str, p: Tensor) -> Leaves:
        return _leaves_of(self._fresh({name: p}), name)

    def _fresh(self, params: Named) -> Any:
        state = self._transform.init(params)
        return state if self._capturable else counters_to_ints(state)

    def _shape(self, state: Any) -> None:
        found = dict(columns(state))
        self._paths = found.keys()
        self._nothing = {path: None for path, column in found.items() if column is None}
        self._entries = Entries([path for path, column in found.items() if isinstance(column, dict)])
        self._shared = Shared([path for path in found if path not in self._entries.paths and path not in self._nothing])
        blank = {path: {} if isinstance(column, dict) else column is not None or None for path, column in found.items()}
        self._form = with_columns(state, blank)

    def _shared_of(self, state: Any) -> Leaves:
        return {path: leaf for path, leaf in columns(state) if path in self._shared.paths}

    def _joined(self, found: Columns, shared: Leaves) -> Any:
        for name, leaves in self._entries.begun.items():
            for path, leaf in leaves.items():
                found[path][name] = leaf
        return with_columns(self._form, {**self._nothing, **found, **shared})


def _leaves_of(state: Any, name: str) -> Leaves:
    """The leaves of one parameter."""
    return {path: column[name] for path, column in columns(state) if isinstance(column, dict) and name in column}
