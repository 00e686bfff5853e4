"""Does a method keep what its card says, in the lab's own loop? The same checks for ours and for anybody's.

    from grokkit.testing import check_method
    check_method("mypkg.ideas:CARD")

Whichever of the five doors the card has, it is looked at alone and in runs of a second on a small task. A transform of
gradients that is to be attached to anybody's optimizer has more promises to keep: ``check_transform`` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, get_args

from torch import nn

from grokkit.call_syntax import show_call
from grokkit.flop_counter import counted_flops
from grokkit.lab.named import name_of
from grokkit.methods.contract import MethodCard
from grokkit.models.classes import Class
from grokkit.randomness import seeded_aside
from grokkit.state import check_form, check_keys, check_tensors
from grokkit.study.spaces import searched
from grokkit.testing.checks import CHECKS, Make
from grokkit.testing.costs import STEPS, Cost, cost_of_steps
from grokkit.testing.excitation import parameters
from grokkit.testing.harness import assert_close, assert_same, flat
from grokkit.testing.runs import MODEL, TASK, check_resuming, check_stacking, small_run, values_of, what_is_wrong
from grokkit.train.config import RunConfig
from grokkit.train.doors import Doors, doors_of
from grokkit.train.groups import can_share
from grokkit.train.loop import begin_alone, train
from grokkit.train.optimizers import own_optimizer
from grokkit.train.own_part import default_settings
from grokkit.train.problem import build_problem, transfer_data
from grokkit.train.record import Run
from grokkit.train.resolve import find_card, method_config
from grokkit.train.starts import check_started

_OF_TRANSFORMS = ("form", "pure", "no aliasing", "state shapes", "overwriting")
"""Of the checks of gradient transforms those that the lab relies on."""


def check_method(method: str | MethodCard, *, task: str = TASK, model: str = MODEL) -> None:
    """All checks of :data:`METHOD_CHECKS` on a method, by its name as the command line takes it, or by its card.

    Runs are made with the card's ``smallest`` settings. A method whose seeds cannot share a program is no failure; a
    line says so.

    Args:
        method: e.g. ``grokfast-ema``, ``ideas.py:CARD`` or a :class:`MethodCard`.
        task, model: to train on, for a method that needs others.

    Raises:
        AssertionError: for the first check that fails; the sentence says what is wrong.

    >>> check_method("row-clip")
    """
    name = name_of("methods", method)
    case = _Case(name, task, model)
    for what, check in METHOD_CHECKS.items():
        try:
            with seeded_aside(0, "check"):
                check(case)
        except Exception as error:  # whatever somebody's code raises is what is wrong
            raise AssertionError(f"{name}, {what}: {what_is_wrong(error)}") from error


class _Case:
    """A method with its smallest settings, and runs of it."""

    def __init__(self, name: str, task: str, model: str) -> None:
        self.name, self._task, self._model = name, task, model
        self.card = find_card(name)
        self.on = dict(self.card.smallest)

    def config(self, changed: Mapping[str, Any] | None = None, **changes: Any) -> RunConfig:
        text = show_call(self.name, {**self.on, **(changed or {})})
        return small_run(text, self._task, self._model, **changes)

    @cached_property
    def doors(self) -> Doors:
        return doors_of(self.config().method)

    @cached_property
    def run(self) -> Run:
        return train(self.config())

    def bare_config(self) -> RunConfig:
        """Of the optimizer that the method has, without the method."""
        method = self.config().method.model_copy(update={"parts": method_config("adamw").parts})
        return small_run(method, self._task, self._model)

    def bare(self) -> Run:
        return train(self.bare_config())

    def model(self) -> nn.Module:
        """As the method trains it, before the first step."""
        return _begun(self.config())

    def plain_model(self) -> nn.Module:
        """As it is before the method's start."""
        return _begun(small_run("adamw", self._task, self._model))


def _begun(config: RunConfig) -> nn.Module:
    """The model of a run that ends before its first step: the caller's generators, which it seeds, are put back."""
    with seeded_aside(0, "check"):
        return begin_alone(config).model


def _settings(case: _Case) -> None:
    known = default_settings(case.card)
    for what in ("smallest", "off", "default_overrides"):
        for key in getattr(case.card, what) or {}:
            assert key in known, f"{what} has {key!r}, which is a setting of none of its doors ({', '.join(known)})"
    method = case.config().method
    text = method.label
    for part in method.parts:  # a file's part is labelled by the file's name, and found by its path
        text = text.replace(part.name, part.text or part.name)
    assert method_config(text) == method, f"its label {method.label} is read as another configuration"


def _space(case: _Case) -> None:
    """``grokkit tune`` can search where the card says. One that says nothing is tuned in its optimizer's settings."""
    if case.card.space:
        searched(case.name, TASK, {}, {})


def _acts(case: _Case) -> None:
    if case.card.doors():
        bare = values_of(case.bare())
        acted = any(bare[name] != values for name, values in values_of(case.run).items())
        assert acted, f"with {case.on or 'its defaults'} no curve differs from the bare optimizer's"


def _off(case: _Case) -> None:
    if case.card.off is not None:
        bare, off = case.bare(), train(case.config(case.card.off))
        for name, values in values_of(bare).items():
            assert values_of(off)[name] == values, f"switched off by {dict(case.card.off)}, it changes {name}"


def _resumes(case: _Case) -> None:
    check_resuming(case.config(), "a run of it")


def _stacks(case: _Case) -> None:
    if can_share(case.config()):
        check_stacking([case.config(seed=seed) for seed in (0, 1)], "a run of it")
    else:
        print(f"{case.name} is not stackable: its runs are trained one by one on a GPU as well")


def _start(case: _Case) -> None:
    """What a start draws depends on the seed alone, and the model it is given stays as it is."""
    problem, seed = build_problem(case.config()), 3
    for start in case.doors.starts():
        model = case.plain_model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        first, second = (check_started(start(model, transfer_data(problem), seed)).tensors for _ in range(2))
        assert_same(before, model.state_dict(), "its start changes the model that it is given")
        assert_same(dict(first), dict(second), "its start gives other tensors the second time under one seed")


def _gradient(case: _Case) -> None:
    door = case.card.factory
    if door is None:
        return
    (part,) = case.doors.parts
    make: Make = partial(part.opened, door)
    for name in _OF_TRANSFORMS:
        CHECKS[name](make)


def _optimizer(case: _Case) -> None:
    """An optimizer of its own has every parameter once."""
    if (make := case.doors.optimizer()) is not None:
        own_optimizer(case.card.name, make, case.model())


def _weights(case: _Case) -> None:
    """A transform of the weights keeps tensors, is pure, keeps no reference, and is the same where it overwrites."""
    transform = case.doors.weights({kind: parameters() for kind in get_args(Class)})
    if transform is None:
        return
    params = parameters()
    given = {name: p.clone() for name, p in params.items()}
    state = transform.init(given)
    check_tensors(state, "init")
    check_keys(state, given, "init")
    kept = {name: leaf.clone() for name, leaf in flat(state).items()}
    new, after = transform.update(given, state)
    check_tensors(after, "update")
    check_form(after, state)
    assert_same(params, given, "update changes the weights that it is given")
    assert_same(kept, flat(state), "update changes the state that it is given")
    assert new.keys() == params.keys(), f"update gives the weights of {sorted(new)}, and not of {sorted(params)}"
    in_place = {name: p.clone() for name, p in params.items()}
    if transform.update_ is not None:
        placed = transform.update_(in_place, transform.init(in_place))
        for name, p in in_place.items():
            assert_close(p, new[name], 2e-6, f"update_ and update differ in {name}")
        for name, leaf in flat(after).items():
            assert_close(flat(placed)[name], leaf, 2e-6, f"update_ and update differ in the state {name}")
    kept_after = {name: leaf.clone() for name, leaf in flat(after).items()}
    for p in given.values():
        p.fill_(1e6)  # as the optimizer's next step overwrites them
    assert_same(kept, flat(state), "init keeps a reference to the weights; clone them")
    assert_same(kept_after, flat(after), "update keeps a reference to the weights; clone them")


def _tables(case: _Case) -> None:
    for table, columns in case.run.tables.items():
        check_table(table, columns)
    for name, array in case.run.kept.items():
        assert array.dtype.kind in "fiub", f"it keeps {name} as {array.dtype}, and must keep numbers"


def check_table(name: str, columns: Mapping[str, list[Any]]) -> None:
    """Columns each of numbers, or of words, or of truth values; the run has looked at all else."""
    for column, values in columns.items():
        kinds = {float if type(value) is int else type(value) for value in values if value is not None}
        assert kinds <= {float} or kinds <= {str} or kinds <= {bool}, (
            f"column {column} of its table {name} holds {', '.join(sorted(kind.__name__ for kind in kinds))}; "
            "it must hold Python's numbers, or words, or truth values"
        )


def _flops(case: _Case) -> None:
    bilevel = case.doors.bilevel
    counts = {
        "flops": case.doors.flops(case.model()),
        "the outer step's flops": 0 if bilevel is None else bilevel.flops(),
        "the start's flops": case.run.start_flops,
        "the run's flops": case.run.flops,
    }
    for what, count in counts.items():
        is_count = type(count) is int and count >= 0
        assert is_count, f"{what} are {count!r}; they must be a whole number >= 0"
    bare = cost_of_steps(case.bare_config())
    _declared_steps(case, cost_of_steps(case.config()) - bare, bare)
    _declared_starts(case, bare.counted // STEPS)


def _declared_steps(case: _Case, own: Cost, bare: Cost) -> None:
    """A step's products beyond those of the bare optimizer's are declared."""
    where = "MethodCard.flops, a function of the parameters' shapes by name and of the settings"
    if case.doors.bilevel is not None:
        where += ", and those of an outer step by Bilevel.flops"
    assert not own.is_hidden(bare.counted), (
        f"{STEPS} steps of it have {own.counted:,} floating-point operations in matrix products beyond the bare "
        f"optimizer's, as PyTorch counts, and its card declares {own.declared:,}; a run is charged for what is "
        f"declared: give them by {where}"
    )


def _declared_starts(case: _Case, a_step: int) -> None:
    """So are those of a start, unless they are few beside a single step of the model."""
    problem = build_problem(case.config())
    for start in case.doors.starts():
        model = case.plain_model()
        with counted_flops() as counter:
            found = start(model, transfer_data(problem), 3)
        own = Cost(counter.get_total_flops(), found.flops)
        assert not own.is_hidden(a_step), (
            f"its start has {own.counted:,} floating-point operations in matrix products, as PyTorch counts, and says "
            f"that it has {own.declared:,}; a run is charged for what it says: return StartResult(tensors, flops=...)"
        )


METHOD_CHECKS: Mapping[str, Callable[[_Case], None]] = {
    "settings": _settings,
    "space": _space,
    "start": _start,
    "gradient": _gradient,
    "optimizer": _optimizer,
    "weights": _weights,
    "acts": _acts,
    "off": _off,
    "tables": _tables,
    "flops": _flops,
    "resume": _resumes,
    "stacked": _stacks,
}
"""What :func:`check_method` looks at. Each check takes a case, and passes a card without the door in question."""
