"""The parameters of a model in four classes, since an optimizer may treat each in its own way.

    embedding   the tables of nn.Embedding and nn.EmbeddingBag; in a model without any, the first matrix
    head        the last matrix, which makes the outputs; none where that is a table, tied to the embedding
    hidden      every other matrix
    vector      everything else: biases, norms' scales, scalars, stacks of matrices

A matrix is a parameter of two dimensions, or the weight of a convolution in one group. "First" and "last" go by the
order in which modules are registered. A model for which this is wrong says it itself: a method ``parameter_classes()``
that returns the class of a parameter by its name, for as many as it wants to.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn
from torch.nn.modules.conv import _ConvNd

from grokkit.errors import unknown

Class = Literal["embedding", "hidden", "head", "vector"]


def classes_of(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """The parameters by name, under each of the four classes; a class may be empty.

    Raises:
        InputError: if the model's own ``parameter_classes()`` names a parameter or a class that does not exist.

    >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))
    >>> {name: list(found) for name, found in classes_of(model).items()}
    {'embedding': ['0.weight'], 'hidden': ['2.weight'], 'head': ['4.weight'], 'vector': ['2.bias', '4.bias']}
    """
    parameters = dict(model.named_parameters())
    names = {id(p): name for name, p in parameters.items()}
    embeddings = embeddings_in(model)
    tables = {names[id(p)] for module in embeddings for p in module.parameters()}
    within = {part for module in embeddings for part in module.modules()}  # of a parametrized one also what makes it
    # A tied head is here a second time, where it stands: then the last of these is a table.
    places = [
        names[id(p)]
        for module in model.modules()
        if module not in within
        for p in module.parameters(recurse=False)
        if _is_matrix(module, p)
    ]
    matrices = [name for name in dict.fromkeys(places) if name not in tables]
    chosen: dict[str, Class] = {name: "hidden" if name in matrices else "vector" for name in parameters}
    chosen |= dict.fromkeys(tables, "embedding")
    if places and places[-1] not in tables:
        chosen[places[-1]] = "head"
    if not tables and len(matrices) > 1:
        chosen[matrices[0]] = "embedding"
    for name, own in getattr(model, "parameter_classes", dict)().items():
        if name not in parameters:
            raise unknown("parameter", name, parameters)
        if own not in get_args(Class):
            raise unknown(f"class of {name}", own, get_args(Class))
        chosen[name] = own
    return {kind: {name: parameters[name] for name in parameters if chosen[name] == kind} for kind in get_args(Class)}


def embeddings_in(model: nn.Module) -> list[nn.Module]:
    """The modules that look rows up in a table."""
    return [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]


def _is_matrix(module: nn.Module, p: nn.Parameter) -> bool:
    return p.ndim == 2 or (isinstance(module, _ConvNd) and module.groups == 1 and p.ndim > 2)
