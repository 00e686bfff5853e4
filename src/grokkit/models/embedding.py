"""The embedding of any model: which module holds it, and the matrix with a row a token.

That of a model without a vocabulary is its first linear layer: E is that weight's transpose.
"""

from __future__ import annotations

from torch import Tensor, nn

from grokkit.errors import InputError, unknown
from grokkit.models.classes import Table

Place = Table | nn.Linear
"""What has an embedding as its weight."""


def embedding_of(model: nn.Module) -> Tensor:
    """The embedding of a model as a matrix, a row a token: a copy, not part of any graph."""
    place = model if isinstance(model, Place) else embedding_name(model)[1]
    return rows_first(place, place.weight).detach().clone()


def embedding_name(model: nn.Module) -> tuple[str, Place]:
    """The name of the parameter that is the embedding of ``model``, and the module whose weight it is."""
    name, place = embedding_module(model, None, None)
    return f"{name}.weight", place


def rows_first(place: Place, weight: Tensor) -> Tensor:
    """A view of the ``weight`` of ``place`` with a row a token or input, from one that perhaps has them as columns, as
    that of an ``nn.Linear`` has; and the way back."""
    return weight.mT if isinstance(place, nn.Linear) else weight


def embedding_module(model: nn.Module, name: str | None, rows: int | None) -> tuple[str, Place]:
    """The name of the module that holds the embedding of ``model``, and that module.

    Args:
        model: any; with ``get_input_embeddings()`` (Hugging Face) it says itself which it is.
        name: of the module, if it is known; None to find it: the only table with ``rows`` rows, the first table if
            ``rows`` is None, or in a model without any the first ``nn.Linear``.
        rows: that a table must have.

    Raises:
        InputError: no module fits, or more than one; or one with ``max_norm``, ``sparse`` or ``scale_grad_by_freq``,
            which acts on rows of its weight, so that no other weight can stand in its place.
    """
    modules = dict(model.named_modules())
    embeddings = [n for n, m in modules.items() if isinstance(m, Table)]
    layers = [n for n, m in modules.items() if isinstance(m, nn.Linear)]
    if name is not None:
        if name not in modules:
            raise unknown("module", name, [*embeddings, *layers])
        found = name
    elif callable(getattr(model, "get_input_embeddings", None)):
        given = model.get_input_embeddings()  # pyright: ignore[reportCallIssue,reportAttributeAccessIssue]
        found = next((n for n, m in modules.items() if m is given), "")
    elif embeddings:
        fitting = [n for n in embeddings if rows in (None, modules[n].num_embeddings)]
        if rows is None:
            fitting = fitting[:1]
        if len(fitting) != 1:
            sizes = ", ".join(f"{n or 'itself'} ({modules[n].num_embeddings} rows)" for n in embeddings)
            raise InputError(
                f"{len(fitting)} embeddings of this model have {rows} rows, as the one to transfer; it has {sizes}: "
                "say which with module="
            )
        found = fitting[0]
    elif layers:
        found = layers[0]
    else:
        raise InputError("this model has no nn.Embedding, nn.EmbeddingBag or nn.Linear to transfer an embedding to")
    place = modules[found]
    if not isinstance(place, Place):
        raise InputError(
            f"{found or 'the model'} is {type(place).__name__}; it must be nn.Embedding, nn.EmbeddingBag or nn.Linear"
        )
    for setting in ("max_norm", "sparse", "scale_grad_by_freq"):
        if getattr(place, setting, None):
            raise InputError(
                f"{found} has {setting}={getattr(place, setting)}, which changes rows of the weight, and a product "
                f"has none of its own; make the embedding without {setting}"
            )
    return found, place
