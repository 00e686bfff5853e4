"""An embedding as a product, E = A·B: A a small model's embedding, B a random map to the width it is needed in.

``transfer_embedding`` puts the product in the place of an embedding's weight, as a parametrization of PyTorch's
(``torch.nn.utils.parametrize``): the module keeps its class, its forward pass and its place, and trains A and B.
``merge_embedding`` makes it an ordinary weight again.

The "embedding" of a model without a vocabulary is its first linear layer (:mod:`grokkit.models.embedding`).

Shapes: V tokens (or inputs), d width of A, D width of the target's embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from grokkit.autocast import without_autocast
from grokkit.errors import InputError, shown
from grokkit.methods.settings import check_kind, flag
from grokkit.models.classes import Table
from grokkit.models.embedding import Place, embedding_module, embedding_of, rows_first
from grokkit.shards import is_distributed, processes


class Product(nn.Module):
    """The parametrization: the weight as A·B, or as its transpose, which is how ``nn.Linear`` holds it."""

    def __init__(self, a_Vd: Tensor, b_dD: Tensor, *, transposed: bool) -> None:
        super().__init__()
        self._initial = (a_Vd, b_dD)
        self.transposed = transposed

    def forward(self, a_Vd: Tensor, b_dD: Tensor) -> Tensor:
        with without_autocast((a_Vd,)):  # what a weight is does not depend on where it is looked at
            return b_dD.mT @ a_Vd.mT if self.transposed else a_Vd @ b_dD

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The factors to start from, whatever ``weight`` was: PyTorch asks for them once, at the registration."""
        return self._initial


def transfer_embedding(
    target: nn.Module,
    embedding: Tensor | nn.Module,
    module: str | None = None,
    *,
    trainable: bool = True,
    generator: torch.Generator | None = None,
) -> None:
    """Let an embedding of ``target`` start as A·B, with A from another model. Call it before making the optimizer.

    B is drawn from a normal distribution and scaled so that E has the root mean square that it replaces. Where the
    weight is tied (a language model's output layer), it stays tied: both use the same A and B. A model may have several
    products, each of a module of its own.

    Args:
        target: any model; changed in place.
        embedding: A, shape (V, d), or a model whose embedding it is. Copied, to the target's device and dtype.
        module: name in ``target`` of the ``nn.Embedding``, ``nn.EmbeddingBag`` or ``nn.Linear`` to replace. Default:
            the model's ``get_input_embeddings()`` if it has that (Hugging Face), else the only table with V rows, else,
            in a model without any, the first ``nn.Linear``.
        trainable: whether A is trained, too; B always is. Default True (paper).
        generator: for B; the default one if None.

    Raises:
        InputError: no module fits, or more than one; sizes that do not agree; an A that is zero or not finite; an
            embedding with ``max_norm``, ``sparse`` or ``scale_grad_by_freq``, which a product has no equal of; a weight
            that the model has under another name than ``weight`` as well, which would be tied no longer; one that is
            made of other parameters already, or is sharded; a model within ``DistributedDataParallel``.

    >>> import torch, grokkit
    >>> model = torch.nn.Sequential(torch.nn.Embedding(10, 64), torch.nn.Linear(64, 10))
    >>> grokkit.transfer_embedding(model, torch.randn(10, 4))
    >>> sorted(tuple(p.shape) for p in model[0].parameters())
    [(4, 64), (10, 4)]
    >>> grokkit.merge_embedding(model)
    >>> type(model[0].weight).__name__, tuple(model[0].weight.shape)
    ('Parameter', (10, 64))
    """
    check_kind("target", target, nn.Module, "the model that is to start from the embedding, a torch.nn.Module")
    check_kind("embedding", embedding, Tensor | nn.Module, "a matrix with a row a token, or the model whose it is")
    check_kind("module", module, str | None, "the name of a module of the target, or None to find it")
    check_kind("generator", generator, torch.Generator | None, "a torch.Generator, or None for PyTorch's own")
    trainable = flag("trainable", trainable, True)
    given = embedding_of(embedding) if isinstance(embedding, nn.Module) else embedding
    if given.ndim != 2 or not given.is_floating_point():
        raise InputError(
            f"an embedding is a floating-point matrix, a row a token; this one is {given.dtype} of shape "
            f"{tuple(given.shape)}"
        )
    name, place = place_to_transfer(target, module, len(given))
    weight = place.weight
    with torch.no_grad():
        a_Vd = given.detach().to(weight.device, weight.dtype, copy=True)
        rows, width = rows_first(place, weight).shape
        if len(a_Vd) != rows:
            raise InputError(
                f"the embedding has {len(a_Vd)} rows and {name} has {rows}; train the small model on the same tokens"
            )
        b_dD = torch.randn(a_Vd.shape[1], width, generator=generator, dtype=torch.float32)
        b_dD = b_dD.to(weight.device, weight.dtype)
        padding = place.padding_idx if isinstance(place, Table) else None
        if padding is not None:
            a_Vd[padding] = 0
        size, wanted = float(a_Vd.norm()), float(weight.norm())
        if not 0 < size < float("inf"):
            raise InputError(f"the embedding to transfer has norm {size:g}; it must be finite and not zero")
        b_dD *= wanted / size / width**0.5  # This is the σ with which E‖A·B‖² = ‖A‖²·D·σ² is the wanted norm's square.
    a, b = nn.Parameter(a_Vd, requires_grad=trainable), nn.Parameter(b_dD)
    for user in _users(target, weight):
        product = Product(a_Vd, b_dD, transposed=not isinstance(place, Table))
        parametrize.register_parametrization(user, "weight", product)
        # The registration makes parameters for each user; where the weight is tied, all have to share one pair.
        factors = _factors(user)
        factors.original0, factors.original1 = a, b
    _tell_tied(target)


def place_to_transfer(target: nn.Module, module: str | None, rows: int) -> tuple[str, Place]:
    """The module in whose place a product of so many rows can stand, with its name; ``module`` as of
    :func:`transfer_embedding`, which says what is refused."""
    name, place = embedding_module(target, module, rows)
    weight = place.weight
    if parametrize.is_parametrized(place, "weight"):
        raise InputError(f"{name} has a parametrized weight already; merge_embedding() or remove it first")
    if place._parameters.get("weight") is not weight:
        raise InputError(
            f"the weight of {name or 'the model'} is made of other tensors, by weight norm, spectral norm or pruning; "
            "remove that first"
        )
    _check_whole(target, [weight], "transfer the embedding before")
    _refuse_other_names(target, weight, name)
    return name, place


def merge_embedding(target: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Make every product an ordinary weight again, E = A·B; the model's outputs stay the same, to rounding.

    Call it between two steps, after ``zero_grad()``. In the optimizer E takes A's place (B's if A is not trained): its
    group and its settings. Moments of a product's factors are no moments of the product, so what the optimizer and an
    attached grokkit transform had kept for A and B is dropped; what they had kept for other parameters stays.

    Args:
        target: a model that :func:`transfer_embedding` has changed.
        optimizer: the one that trains it. Without it, make a new one afterwards.

    Raises:
        InputError: there is nothing to merge, the optimizer trains neither A nor B of a product, or these are sharded,
            or within ``DistributedDataParallel``, which would not know the new weight.
    """
    check_kind("target", target, nn.Module, "the model that transfer_embedding() has changed")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise InputError(f"optimizer={shown(optimizer)} is not possible: the one that trains the model, or None")
    users: dict[Tensor, list[tuple[str, Any]]] = {}  # by B: those that are tied share it, and no others do
    for name, module in target.named_modules():
        if _is_product(module):
            users.setdefault(_factors(module).original1, []).append((name, module))
    if not users:
        raise InputError("nothing to merge in this model: transfer_embedding() has not changed it, or it is merged")
    products = [(_factors(tied[0][1]).original0, b, tied) for b, tied in users.items()]
    _check_whole(target, [factor for a, b, _ in products for factor in (a, b)], "merge the model itself, and before")
    if processes() > 1:
        warnings.warn(
            "a DistributedDataParallel around this model does not know the merged weight, whose gradients it would not "
            "average; wrap the model anew",
            stacklevel=2,
        )
    if optimizer is not None:
        for a, b, tied in products:  # all of them are looked for before anything is changed
            _places(optimizer, a, b, tied[0][0])
    for a, b, tied in products:
        name, first = tied[0]
        merged = nn.Parameter(first.weight.detach().clone(), requires_grad=a.requires_grad or b.requires_grad)
        if optimizer is not None:
            _exchange(optimizer, a, b, merged, name)
        for _, module in tied:
            _restore(module, merged)
    _tell_tied(target)


def product_flops(shapes: Mapping[str, torch.Size], *, trainable: bool) -> int:
    """Floating-point operations of a step's products: A·B, the gradient of B and, if A is trained, the gradient of A.

    Args:
        shapes: of the model's parameters, by name: A is ``original0`` of a parametrization, B is ``original1``.
        trainable: whether A is trained.

    >>> a, b = ("layer.parametrizations.weight.original0", "layer.parametrizations.weight.original1")
    >>> product_flops({a: torch.Size([10, 4]), b: torch.Size([4, 64])}, trainable=True)
    15360
    """
    total = 0
    for name, shape in shapes.items():
        if name.endswith("weight.original0"):
            rows, dim = shape
            width = shapes[name.removesuffix("0") + "1"][1]
            total += (3 if trainable else 2) * 2 * rows * dim * width
    return total


def _check_whole(model: nn.Module, weights: list[Tensor], remedy: str) -> None:
    """Refuse what is distributed over processes, which expects the parameters that it was made with."""
    if isinstance(model, DistributedDataParallel):
        raise InputError(f"the parameters of a model within DistributedDataParallel must stay; {remedy} it is wrapped")
    if any(is_distributed(weight) for weight in weights):
        raise InputError(f"the weight of the embedding is sharded; {remedy} fully_shard(), or a whole model")


def _tell_tied(model: Any) -> None:
    """Let a model of Hugging Face's know which factors are one tensor in two places, as its ``_tied_weights_keys`` says
    of weights: it saves no others that are. Known before are those of products that are merged by now."""
    said = getattr(model, "_tied_weights_keys", None)
    if not isinstance(said, dict):
        return
    first: dict[Tensor, str] = {}
    tied: dict[str, str] = {}
    for name, module in model.named_modules():
        for part in ("original0", "original1") if _is_product(module) else ():
            own = f"{name}.parametrizations.weight.{part}"
            found = first.setdefault(getattr(_factors(module), part), own)
            tied |= {} if found == own else {own: found}
    others = {own: place for own, place in said.items() if ".parametrizations.weight.original" not in own}
    model._tied_weights_keys = others | tied


def _users(model: nn.Module, weight: Tensor) -> list[nn.Module]:
    """All modules whose ``weight`` it is: several where it is tied."""
    return [module for module in model.modules() if module._parameters.get("weight") is weight]


def _refuse_other_names(model: nn.Module, weight: Tensor, name: str) -> None:
    """Refuse a weight that some module has as a parameter of another name: it would stay there as it is, by itself."""
    for place, module in model.named_modules():
        for own, p in module._parameters.items():
            if p is weight and own != "weight":
                other = f"{place}.{own}" if place else own
                raise InputError(
                    f"the weight of {name or 'the model'} is its parameter {other} as well, where a product could not "
                    "stand; use the module's weight in the forward pass, or make it the weight of an nn.Linear"
                )


def _is_product(module: nn.Module) -> bool:
    return parametrize.is_parametrized(module, "weight") and isinstance(_factors(module)[0], Product)


def _factors(module: Any) -> Any:
    """PyTorch's list of the weight's parametrizations, which holds A as ``original0`` and B as ``original1``."""
    return module.parametrizations.weight


def _restore(module: Any, weight: nn.Parameter) -> None:
    """Make ``weight`` the module's own again.

    ``parametrize.remove_parametrizations`` deletes the property ``weight`` from the class that it once made for the
    module. A deep copy of the module has the same class and would lose its weight. So that function is called only
    where something else of the module is parametrized, too; else the module gets the class back that it had before.
    """
    if len(module.parametrizations) > 1:
        parametrize.remove_parametrizations(module, "weight")
    else:
        del module.parametrizations
        module.__class__ = module.__class__.__bases__[0]
    module.weight = weight


def _places(optimizer: torch.optim.Optimizer, a: Tensor, b: Tensor, name: str) -> list[tuple[dict[str, Any], Tensor]]:
    """Where the optimizer has the factors of the product ``name``: groups, and which of the two is there."""
    places = [(group, p) for group in optimizer.param_groups for p in group["params"] if p is a or p is b]
    if not places:
        raise InputError(
            f"the optimizer trains neither factor of the embedding {name}; give merge_embedding() the model's own, "
            "or none"
        )
    return places


def _exchange(optimizer: torch.optim.Optimizer, a: Tensor, b: Tensor, merged: nn.Parameter, module: str) -> None:
    """Put ``merged`` where ``a`` is, or ``b`` if the optimizer does not train ``a``, and drop what it kept for both."""
    places = _places(optimizer, a, b, module)
    replaced = next((p for _, p in places if p is a), b)
    for group, p in places:
        index = next(i for i, other in enumerate(group["params"]) if other is p)
        if p is replaced:
            group["params"][index] = merged
            if "param_names" in group:
                group["param_names"][index] = f"{module}.weight"
        else:
            del group["params"][index]
            if "param_names" in group:
                del group["param_names"][index]
        optimizer.state.pop(p, None)
