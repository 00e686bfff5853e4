"""Everything that determines a run, checked once; its hash is the run's identity.

Equal configurations have equal identity however they were spelt: settings are complete with their defaults, a number is
one number whether 2 or 2.0 was typed, and what stands in the place of something else leaves that out. What code ran is
in it, as a version or a digest; labels and paths are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from grokkit.errors import InputError, shown, unknown
from grokkit.methods import MethodCard
from grokkit.models.card import ModelCard, card_of
from grokkit.optimizers import contract as optimizers
from grokkit.registry import Part, made, recall
from grokkit.tasks.card import TaskCard
from grokkit.tasks.table import usual_of
from grokkit.train.events import Event
from grokkit.train.identity import as_number, as_text, digest, hash_of, identity_of


class Config(BaseModel):
    """Immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any) -> Any:
        if isinstance(value, bool):  # which Python, and pydantic, take for 0 or 1; no field is a truth value
            raise ValueError("a number is wanted, or a word")
        return value


class PartConfig(Config):
    """A part by its name, with all its settings.

    ``settings`` are complete with their defaults. ``code`` stands for what the name means, see
    :class:`grokkit.registry.Part`. ``text`` is what the registry finds it by in another process; it may be a path of
    this machine, and is no part of a run's identity.
    """

    kind: ClassVar[str] = "methods"

    name: str
    settings: dict[str, Any] = {}
    code: str = ""
    text: str = ""

    @field_validator("settings")
    @classmethod
    def _infinite_again(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """JSON has no infinite numbers, such as a default for no limit: a record has these texts in their place."""
        return {key: as_number(value) for key, value in settings.items()}

    @field_serializer("settings", when_used="json")
    def _as_texts(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {key: as_text(value) for key, value in settings.items()}

    def part(self) -> Part:
        """The part itself, in whatever process.

        Raises:
            InputError: if there is none here, or its code is not what the configuration was made with.
        """
        return recall(self.kind, self.text or self.name, self.code)


class TaskConfig(PartConfig):
    """A task and its split.

    ``train_fraction`` and ``validation_fraction`` are of all rows; the rest is the test part. Defaults: half
    for training (Grokfast), a tenth for validation, so that tuning never looks at the test part. ``train_size`` is a
    number of training rows in place of a fraction. ``data_dir`` is the folder to read real data from, in place of the
    installed package. ``data`` stands for the data of somebody's own problem, of which the settings do not tell.
    :func:`grokkit.train.resolve.task_config` makes one from a text.
    """

    kind: ClassVar[str] = "tasks"

    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    train_size: Annotated[int, Field(ge=1)] | None = None
    data_dir: str | None = None
    data: str = ""

    @property
    def card(self) -> TaskCard:
        return usual_of(self.part(), self.settings, self.data_dir)


class ModelConfig(PartConfig):
    """A model; :func:`grokkit.train.resolve.model_config` makes one from a text."""

    kind: ClassVar[str] = "models"

    @property
    def card(self) -> ModelCard:
        return card_of(self.part())


Warmup = Annotated[int, Field(ge=0)]
Clip = Annotated[float, Field(gt=0)] | None


class OptimizerConfig(Config):
    """One of our optimizers.

    ``wd`` is L2 decay, added to the gradient, under ``adam`` and ``sgd``, and decoupled decay, multiplied by
    the learning rate, under ``adamw``. ``beta1`` is the momentum under ``sgd``. The learning rate is
    lr·min(1, u/lr_warmup) at update u, counted from 0 (Grokfast). ``max_grad_norm``: the ℓ₂ norm over all tensors to
    which the raw gradient is clipped, before a method sees it, as a training loop does it between ``backward()`` and
    ``step()`` (and Grokfast's on reviews); None for no clipping.
    """

    optimizer: Literal["adam", "adamw", "sgd"]
    lr: Annotated[float, Field(gt=0)]
    wd: Annotated[float, Field(ge=0)] = 0.0
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.98
    lr_warmup: Warmup = 10
    max_grad_norm: Clip = None


class OwnOptimizerConfig(PartConfig):
    """Somebody's own optimizer, with its own settings, and what the loop does whatever the optimizer."""

    kind: ClassVar[str] = "optimizers"

    lr_warmup: Warmup = 10
    max_grad_norm: Clip = None

    @property
    def card(self) -> optimizers.OptimizerCard:
        return optimizers.card_of(self.part())


class MethodConfig(Config):
    """A method: its parts in canonical order, and the optimizer; ``label`` is how results call it.

    ``init_scale``: of the model under this method, if another than the model's.
    ``held_out``: share of the training rows that no batch has; at least one row, unless it is 0.
    """

    label: str
    parts: Annotated[tuple[PartConfig, ...], Field(min_length=1)]
    optimizer: OptimizerConfig | OwnOptimizerConfig
    init_scale: Annotated[float, Field(gt=0)] | None = None
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def codes(self) -> list[str]:
        """What stands for the code of its parts, and of an optimizer of somebody's own."""
        return [part.code for part in (*self.parts, self.optimizer) if isinstance(part, PartConfig)]

    @property
    def cards(self) -> list[MethodCard]:
        """Of its parts."""
        return [made(part.part(), part.settings) for part in self.parts]

    @property
    def ours(self) -> OptimizerConfig:
        """The optimizer, where it is known to be one of ours."""
        assert isinstance(self.optimizer, OptimizerConfig)
        return self.optimizer

    @property
    def name(self) -> str:
        """The names of its parts, joined by ``+``."""
        return "+".join(part.name for part in self.parts)


class EvaluationConfig(Config):
    """When and on what to evaluate; see :mod:`grokkit.train.evaluation_schedule`.

    The grid: ``every`` steps, and ``growth`` of the steps taken once that is more, so a resolution of ``every``
    steps early and of 3 % later. Full evaluations see ``train_rows`` fixed random rows of the training part and the
    validation and test parts whole, looks between them ``look_rows`` rows of the training and of the test part. Both
    together take ``share`` of the training's floating-point operations, beside what a run must have to be read at all:
    its first thirty steps of the grid, a bound on how late an event is seen, and the window after it.
    """

    every: Annotated[int, Field(ge=1)] = 10
    growth: Annotated[float, Field(ge=0, lt=1)] = 0.03
    share: Annotated[float, Field(gt=0)] = 0.10
    train_rows: Annotated[int, Field(ge=1)] = 512
    look_rows: Annotated[int, Field(ge=1)] = 128


class RunConfig(Config):
    """One run.

    Attributes:
        budget: optimizer steps.
        batch_size: rows a step; None for full batch.
        remainder: what to do with rows that fill no batch, see :class:`grokkit.train.batches.Batches`.
        target: held-out accuracy that counts as generalized, and training accuracy that counts as memorized.
        target_loss: the same in losses, at or below which they count; None for a target in accuracies. What has no
            accuracy needs it.
        sustain: following evaluations that must stay at the target for the generalization to count.
        after: steps in which it may never fall more than a point below the target to be called stable; a run then goes
            on until that is settled. 0 to stop as soon as the generalization counts.
        event: what counts as generalized: that it ``stays`` at the target, or is ``stable`` for ``after`` steps. Costs
            to the target are of this event; see :mod:`grokkit.train.events`.
        judged_on: the rows that say whether it generalizes. With ``validation`` these stand in the place of the test
            part wherever that is looked at, and no test row is ever read: a search's runs are such.
        precision: of the matrix products, see :mod:`grokkit.models.matmul`.
    """

    task: TaskConfig
    model: ModelConfig
    method: MethodConfig
    seed: Annotated[int, Field(ge=0)]
    budget: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] | None
    remainder: Literal["spread", "own-batch"] = "spread"
    target: Annotated[float, Field(gt=0, le=1)] = 0.95
    target_loss: Annotated[float, Field(gt=0)] | None = None
    sustain: Annotated[int, Field(ge=0)] = 5
    after: Annotated[int, Field(ge=0)] = 0
    event: Event = "stays"
    judged_on: Literal["test", "validation"] = "test"
    precision: Literal["float32", "bf16"] = "float32"
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _stable_for_how_long(self) -> Self:
        if self.event == "stable" and not self.after:
            raise InputError("stable for how many steps? Give --after, e.g. --event stable --after 1000")
        return self

    @model_validator(mode="after")
    def _model_and_method_fit(self) -> Self:
        method, optimizer = self.method, self.method.optimizer
        is_linear = all(card.is_linear for card in method.cards)
        is_sgd = isinstance(optimizer, OptimizerConfig) and optimizer.optimizer == "sgd"
        linear = is_linear and is_sgd and optimizer.max_grad_norm is None
        if not linear and not self.model.card.exact_gradients:
            raise InputError(
                f"{self.model.name} can only be trained by updates that are linear in the gradients, and "
                f"{method.label} has others; take sgd without a clip, alone or under a filter, e.g. gd or "
                "grokfast-ema(optimizer=sgd,lr=0.1,wd=0.1,beta1=0)"
            )
        if method.init_scale is not None and "init_scale" not in self.model.settings:
            raise InputError(f"{self.model.name} has no init_scale, and {method.label} sets it; leave it out")
        return self

    def identity(self) -> dict[str, Any]:
        """All that the run depends on, and what its events mean, in one form however it was spelt."""
        return identity_of(self.model_dump())

    def hash(self) -> str:
        """Twelve hexadecimal digits that change with anything that changes the run, or what its events mean."""
        return hash_of(self.model_dump())

    def parts(self) -> list[PartConfig]:
        """All that the run is of: its task, its network, the parts of its method, an optimizer of somebody's own."""
        own = [self.method.optimizer] if isinstance(self.method.optimizer, OwnOptimizerConfig) else []
        return [self.task, self.model, *self.method.parts, *own]

    def initial_model(self) -> ModelConfig:
        """The model with the scale of initial weights that holds under the method."""
        scale = self.method.init_scale
        settings = self.model.settings if scale is None else {**self.model.settings, "init_scale": scale}
        return self.model.model_copy(update={"settings": settings})

    def run_id(self) -> str:
        """A folder name: ``<method>--seed<seed>--<hash>``."""
        return self.run_ids([self.seed])[0]

    def run_ids(self, seeds: Sequence[int]) -> list[str]:
        """Those that the run has on other seeds; all else in their identities is worked out once."""
        name = re.sub(r"[^A-Za-z0-9._+]+", "-", self.method.name).strip("-.")
        text = json.dumps({**self.identity(), "seed": _SEED}, sort_keys=True)
        before, after = text.split(json.dumps(_SEED))
        return [f"{name[:80]}--seed{seed}--{digest(f'{before}{seed}{after}')}" for seed in seeds]


_SEED = "\0 the seed"  # no text that anybody types has a NUL in it

C = TypeVar("C", bound=Config)


def checked(kind: type[C], what: str, **values: Any) -> C:
    """Make a ``kind``; a bad value becomes one line that names it, what is allowed and the default.

    Raises:
        InputError: if a name is unknown or a value is not allowed.
    """
    for name in values:
        if name not in kind.model_fields:
            raise unknown(f"setting of {what}", name, kind.model_fields)
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # several fields together are at fault: our own error, inside pydantic's
            raise first["ctx"]["error"] from None  # pyright: ignore[reportTypedDictNotRequiredAccess]
        name = str(first["loc"][0])
        field = kind.model_fields[name]
        if first["type"] == "missing":
            raise InputError(f"{what} needs its {name}") from None
        remedy = "" if field.is_required() else f"; the default is {field.default!r}"
        message = first["msg"].removeprefix("Value error, ")
        problem = message[0].lower() + message[1:]
        raise InputError(f"{what}: {name}={shown(first['input'])} is not possible: {problem}{remedy}") from None
