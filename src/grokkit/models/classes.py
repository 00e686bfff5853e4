"""The parameters of a model in four classes, since an optimizer may treat each in its own way.

    embedding   the tables of nn.Embedding; in a model without any, the first matrix
    head        the last matrix, which makes the outputs
    hidden      every other matrix
    vector      everything else: biases, norms' scales, scalars

"First" and "last" go by the order in which modules are registered. A model for which this is wrong says it itself:
a method ``parameter_classes()`` that returns the class of a parameter by its name, for as many as it wants to.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

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
    tables = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    matrices = [name for name, p in parameters.items() if p.ndim >= 2 and id(p) not in tables]
    chosen: dict[str, Class] = {name: "hidden" if name in matrices else "vector" for name in parameters}
    chosen |= {name: "embedding" for name, p in parameters.items() if id(p) in tables}
    if matrices:
        chosen[matrices[-1]] = "head"
    if not tables and len(matrices) > 1:
        chosen[matrices[0]] = "embedding"
    for name, own in getattr(model, "parameter_classes", dict)().items():
        if name not in parameters:
            raise unknown("parameter", name, parameters)
        if own not in get_args(Class):
            raise unknown(f"class of {name}", own, get_args(Class))
        chosen[name] = own
    return {kind: {name: parameters[name] for name in parameters if chosen[name] == kind} for kind in get_args(Class)}
