"""Lay the weights of a model's linear layers out once for the CPU, instead of in every product.

Writing multiplies every weight with as few rows as there are texts under way. PyTorch's product spends much of such a
call on bringing the weight into the order that its kernel reads; oneDNN takes weights that are in that order already.
With SmolLM2 on two cores a product is 1.2 (512 rows) to 1.8 times (8 rows) as fast in float32, the output layer 2 to 4
times. It costs a copy of the weights, which the policy's declared memory counts (`writing_memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

# Smaller layers stay in the processor's cache, where laying them out takes less than the longer call.
_SMALLEST = 100_000
# The precisions that oneDNN may take over, and how far its products of a trial may lie from torch's.
_AGREEMENT = {torch.float32: 1e-3, torch.bfloat16: 0.25}


class PackedWeights:
    """The linear layers of a model with their weights laid out, as they were when this was made.

    Args:
        model: A transformers model; nothing is laid out where `packed_bytes` is 0.
    """

    def __init__(self, model: Any) -> None:
        precision = _precision(model)
        self._forwards = [
            (layer, _forward(layer, precision)) for layer in _large_layers(model, precision) if precision is not None
        ]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the model multiply by the laid-out weights within the context, without gradients."""
        for layer, forward in self._forwards:
            layer.__dict__["forward"] = forward
        try:
            yield
        finally:
            for layer, _ in self._forwards:
                del layer.__dict__["forward"]


def packed_bytes(model: Any) -> int:
    """Return the bytes of the copy of a model's weights that `PackedWeights` keeps; 0 where it would keep none."""
    precision = _precision(model)
    size = 0 if precision is None else precision.itemsize
    return sum(size * layer.weight.numel() for layer in _large_layers(model, precision))


def _precision(model: Any) -> torch.dtype | None:
    """Return the precision in which the model multiplies; None where oneDNN can't take it over."""
    if torch.device(model.device).type != "cpu":
        return None
    precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else model.dtype
    return precision if precision in _AGREEMENT and _multiplies_packed(precision) else None


def _large_layers(model: Any, precision: torch.dtype | None) -> list[torch.nn.Linear]:
    """List the layers worth it. A layer whose product is someone else's (quantised, moved by hooks) is left alone."""
    if precision is None:
        return []
    return [
        layer
        for layer in model.modules()
        if type(layer) is torch.nn.Linear and layer.weight.numel() >= _SMALLEST and "forward" not in layer.__dict__
    ]


def _forward(layer: torch.nn.Linear, precision: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return the layer's product, (..., D) -> (..., E), with its weight laid out."""
    weight = _packed(layer.weight.detach().to(precision))
    bias = None if layer.bias is None else layer.bias.detach().to(precision)
    return lambda rows: _product(rows.to(precision), weight, bias)


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
    return packed


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", [], "")
    return product


@cache
def _multiplies_packed(precision: torch.dtype) -> bool:
    """Tell whether this torch, on this processor, has oneDNN's operators in a precision, and they do as expected.

    They are not torch's public interface, and refuse bfloat16 on an x86 processor without AVX-512 or AVX-NE-CONVERT.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rows, weight, bias = (torch.randn(shape).to(precision) for shape in ((2, 3, 64), (96, 64), (96,)))
    try:
        found = _product(rows, _packed(weight), bias)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    expected = torch.nn.functional.linear(rows, weight, bias)
    return found.shape == expected.shape and bool((found - expected).abs().max() < _AGREEMENT[precision])
