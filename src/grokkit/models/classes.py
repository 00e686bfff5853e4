"""The parameters of a model in four classes, since an optimizer may treat each in its own way.

    embedding   the tables of nn.Embedding and nn.EmbeddingBag; in a model without any, the first matrix
    head        the last matrix, which makes the outputs; none where that is a table, tied to the embedding
    hidden      every other matrix
    vector      everything else: biases, norms' scales, scalars, stacks of matrices

A matrix is a parameter of two dimensions that is no norm's, or the weight of a convolution in one group. "First" and
"last" go by the order in which modules are registered. Where a weight is made of several parameters, by weight norm or
another parametrization, all of its matrices are of one class, that of the weight, and magnitudes, one entry a row or a
column, are vectors. A model for which this is wrong says it itself: a method ``parameter_classes()`` that returns the
class of a parameter by its name, for as many as it wants to; hidden are matrices only.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from grokkit.errors import InputError, shown, unknown

Class = Literal["embedding", "hidden", "head", "vector"]
Table = nn.Embedding | nn.EmbeddingBag
"""What looks rows up in a table."""


class Classes(dict[str, dict[str, nn.Parameter]]):
    """The parameters by name, under each of the four classes; a class may be empty.

    Attributes:
        looked_up: the names of the tables of which rows are looked up, and that are no tied head as well.
        inputs: how many inputs an output of each matrix has, by its name; in a transposed convolution those that reach
            it by the stride, away from the edges.
        transposed: the names of the matrices that have their inputs first: those of transposed convolutions, and of
            Hugging Face's ``Conv1D``.
    """

    def __init__(
        self,
        found: Mapping[str, Mapping[str, nn.Parameter]],
        looked_up: Collection[str],
        inputs: Mapping[str, int],
        transposed: Collection[str],
    ) -> None:
        super().__init__({kind: dict(own) for kind, own in found.items()})
        self.looked_up = frozenset(looked_up)
        self.inputs = dict(inputs)
        self.transposed = frozenset(transposed)

    def trained(self) -> Classes:
        """Without the parameters that are frozen."""
        own = {kind: {name: p for name, p in found.items() if p.requires_grad} for kind, found in self.items()}
        return Classes(own, self.looked_up, self.inputs, self.transposed)

    def shapes(self) -> dict[str, dict[str, torch.Size]]:
        """The parameters' shapes by class and name, those of matrices with their outputs first."""
        return {
            kind: {name: outputs_first(p, name in self.transposed).shape for name, p in own.items()}
            for kind, own in self.items()
        }


def classes_of(model: nn.Module) -> Classes:
    """The parameters of ``model`` by their classes.

    Raises:
        InputError: if the model's own ``parameter_classes()`` names a parameter or a class that does not exist, or as
            hidden what is no matrix; or if it is no function that returns a dict.

    >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))
    >>> {name: list(found) for name, found in classes_of(model).items()}
    {'embedding': ['0.weight'], 'hidden': ['2.weight'], 'head': ['4.weight'], 'vector': ['2.bias', '4.bias']}
    """
    parameters = dict(model.named_parameters())
    names = {id(p): name for name, p in parameters.items()}
    tables = {names[id(p)] for module in embeddings_in(model) for p in tables_of(module)}
    # What makes a parametrized tensor comes with the module that has the tensor.
    made = [module for module in model.modules() if isinstance(module, ParametrizationList)]
    within = {part for module in [*embeddings_in(model), *made] for part in module.modules()}
    # A tied head is here a second time, where it stands: then the last of these is a table.
    places = [
        [names[id(p)] for p in matrices]
        for module in model.modules()
        if module not in within
        for own in _weights_of(module)
        if (matrices := [p for p in _without_magnitudes(module, own) if _is_matrix(module, p)])
    ]
    matrices = [name for place in places for name in place if name not in tables]
    chosen: dict[str, Class] = {name: "hidden" if name in matrices else "vector" for name in parameters}
    chosen |= dict.fromkeys(tables, "embedding")
    if places and not tables.intersection(places[-1]):
        chosen |= dict.fromkeys(places[-1], "head")
    if not tables and any(place != places[0] for place in places):
        chosen |= dict.fromkeys(places[0], "embedding")
    matrices_of = _matrices_in(model, names)
    inputs = {name: _inputs_of(*found) for name, found in matrices_of.items()}
    for name, own in _said_by(model).items():
        if name not in parameters:
            raise unknown("parameter", str(name), parameters)
        if own not in get_args(Class):
            raise unknown(f"class of {name}", str(own), get_args(Class))
        if own == "hidden" and name not in inputs:
            raise InputError(
                f"{name} of shape {tuple(parameters[name].shape)} cannot be hidden, which is for matrices, of two "
                "dimensions or a convolution's in one group; call it a vector, or make a stack's matrices parameters"
            )
        chosen[name] = own
    found = {kind: {name: p for name, p in parameters.items() if chosen[name] == kind} for kind in get_args(Class)}
    looked_up = tables.difference(matrix for place in places for matrix in place)
    transposed = [name for name, found in matrices_of.items() if _is_transposed(*found)]
    return Classes(found, looked_up, inputs, transposed)


def _said_by(model: nn.Module) -> Mapping[Any, Any]:
    """What the model says itself."""
    said = getattr(model, "parameter_classes", dict)
    found = said() if callable(said) else None
    if not isinstance(found, Mapping):
        has = f"returned {shown(found)}" if callable(said) else f"is {shown(said)}"
        raise InputError(
            f"the model's parameter_classes {has}; let it be a function that returns classes by name, e.g. "
            "model.parameter_classes = lambda: {'mlp.last.weight': 'head'}"
        )
    return found


def is_weight(p: Tensor) -> bool:
    """Whether a parameter has numbers that could be trained: whole ones, such as indices that a network keeps frozen,
    have no norm, and are spoilt when they are scaled."""
    return p.is_floating_point() or p.is_complex()


def outputs_first(matrix: Tensor, is_transposed: bool) -> Tensor:
    """A view of a matrix with its outputs first, from one that perhaps has its inputs first; and the way back."""
    return matrix.transpose(0, 1) if is_transposed else matrix


def check_whole(method: str, model: nn.Module, names: Collection[str], *, all_scaled: bool = False) -> None:
    """Refuse matrices that are a part of a weight, since what is set is the weight: by weight norm 0 times a direction
    is no direction, and twice a direction is the same weight. By spectral norm 0 is divided by 0.

    Where the lengths of all matrices are set, ``all_scaled``, weight norm's magnitudes are among them, and let it be.

    Raises:
        InputError: if one of ``names`` is not a weight by itself.
    """
    own = {id(p): name for name, p in model.named_parameters()}
    for module in model.modules():
        for parts in _weights_of(module):
            if not _is_made(module, parts) or (all_scaled and _is_by_weight_norm(module, parts)):
                continue
            for p in parts:
                if (name := own[id(p)]) in names:
                    raise InputError(
                        f"{method} sets a weight, and {name} only makes one with others, by weight norm or another "
                        f"parametrization; leave {method} out, or the parametrization"
                    )


def _is_made(module: nn.Module, parts: list[nn.Parameter]) -> bool:
    """Whether the tensor that ``parts`` are of is made of them, and is not one of them itself."""
    # The older torch.nn.utils.spectral_norm leaves what it divides on the module, as weight_orig.
    hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, SpectralNorm)]
    divided = [getattr(module, hook.name + "_orig") for hook in hooks]
    return len(parts) > 1 or isinstance(module, ParametrizationList) or any(parts[0] is p for p in divided)


def _is_by_weight_norm(module: nn.Module, parts: list[nn.Parameter]) -> bool:
    """Whether ``parts`` are magnitudes, one of each row in as many dimensions, and directions."""
    makes = module if isinstance(module, ParametrizationList) else next(iter(_made_in(module)), None)
    known = any(isinstance(hook, WeightNorm) for hook in module._forward_pre_hooks.values())
    if makes is not None:
        known = len(makes) == 1 and isinstance(makes[0], _WeightNorm)
    return known and len({p.ndim for p in parts}) == 1


def embeddings_in(model: nn.Module) -> list[Table]:
    """The modules that look rows up in a table."""
    return [module for module in model.modules() if isinstance(module, Table)]


def tables_of(embedding: nn.Module) -> list[nn.Parameter]:
    """The table of a module that looks rows up, or the matrices that it is made of."""
    return [p for own in _weights_of(embedding) for p in _without_magnitudes(embedding, own)]


def _weights_of(module: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters that each of the module's own tensors is made of: one, where it is not parametrized."""
    own = dict(module.named_parameters(recurse=False))
    # The older torch.nn.utils.weight_norm leaves magnitudes and directions on the module, as weight_g and weight_v.
    pairs = [(name, name[:-2] + "_v") for name in own if name.endswith("_g") and name[:-2] + "_v" in own]
    found = [[own.pop(one), own.pop(other)] for one, other in pairs]
    found += [[p] for p in own.values()]
    # A tensor may be made of buffers alone, which nobody trains.
    return found + [parts for each in _made_in(module) if (parts := list(each.parameters()))]


def _made_in(module: nn.Module) -> list[Any]:
    """What makes each tensor of the module that is parametrized."""
    return list(module.get_submodule("parametrizations").children()) if is_parametrized(module) else []


def _without_magnitudes(module: nn.Module, parts: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those of weight norm are known by their places. Another parametrization's has one entry a row, or a column, of a
    larger tensor beside it."""
    if len(parts) == 1:
        return parts
    hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, WeightNorm)]
    known = [getattr(module, hook.name + "_g") for hook in hooks]
    known += [each.original0 for each in _made_in(module) if isinstance(each[0], _WeightNorm)]
    left = [p for p in parts if not any(p is magnitude for magnitude in known)]
    largest = max(p.numel() for p in left)
    return [p for p in left if p.numel() == largest or p.numel() > max(p.shape, default=1)]


def _matrices_in(model: nn.Module, names: Mapping[int, str]) -> dict[str, tuple[nn.Module, nn.Parameter]]:
    """Each matrix, and the module that has it; also one that only the model itself may call so."""
    weights = [(module, p) for module in model.modules() for own in _weights_of(module) for p in own]
    return {names[id(p)]: (module, p) for module, p in weights if p.ndim == 2 or _is_matrix(module, p)}


def _inputs_of(module: nn.Module, p: nn.Parameter) -> int:
    if not _is_transposed(module, p):
        return p.shape[1:].numel()
    # An entry of the kernel reaches every stride-th output.
    strides = cast(Any, module).stride if p.ndim > 2 else ()
    reached = [max(1.0, size / step) for size, step in zip(p.shape[2:], strides, strict=True)]
    return round(p.shape[0] * math.prod(reached))


def _is_transposed(module: nn.Module, p: nn.Parameter) -> bool:
    # The layer of GPT-2, transformers' own. Nobody has one before its module is imported.
    transformers: Any = sys.modules.get("transformers.pytorch_utils")
    if transformers is not None and isinstance(module, transformers.Conv1D):
        return p.ndim == 2
    return isinstance(module, _ConvTransposeNd) and p.ndim > 2


def _is_matrix(module: nn.Module, p: nn.Parameter) -> bool:
    # These have one entry for each that they scale, in as many dimensions as they normalize over.
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return False
    return p.ndim == 2 or (isinstance(module, _ConvNd) and module.groups == 1 and p.ndim > 2)
