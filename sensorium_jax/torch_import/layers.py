"""Parts that 2D and 3D cores share: penalties, and the layers that follow a convolution.

    y = scale (x + bias - mean) / sqrt(var) + offset

Convolution biases before a batch normalisation become part of its running mean, and the scale and
bias layers after it part of its scale and offset: the function is the same, and so is its training.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models.nn.penalties import Laplace
from sensorium_jax.torch_import.options import per_layer, unsupported
from sensorium_jax.torch_import.state import StateDict

CORE = "core_dict"
# Kind, whether weighted by a Gaussian, whether averaged by default.
LAPLACES: dict[str, tuple[Literal["l2norm", "l2", "l1"], bool, bool]] = {
    "LaplaceL2norm": ("l2norm", False, False),
    "LaplaceL2": ("l2", False, True),
    "LaplaceL1": ("l1", False, True),
    "GaussianLaplaceL2": ("l2norm", True, False),
    "GaussianLaplaceL2Adaptive": ("l2norm", True, False),
}
# Options that the tensors determine: which layers have biases, scales and affine normalisation.
INFERRED = frozenset({"bias", "batch_norm_scale", "final_batchnorm_scale", "independent_bn_bias"})


class Layer(NamedTuple):
    """Normalisation, scale and offset after the convolution of a layer."""

    scale: np.ndarray  # [C]
    offset: np.ndarray | None  # [C]
    moments: tuple[np.ndarray, np.ndarray] | None  # running mean and variance, each [C]


def read_layer(
    state: StateDict, name: str, c: int, bias: np.ndarray | None, *, norm: bool
) -> Layer:
    """Normalisation, scale and bias layers of a layer, as one scale and one offset.

    Args:
        state: the state dict.
        name: prefix of the layer's tensors.
        c: number of channels C.
        bias: of the convolution [C].
        norm: whether the layer is normalised.
    """
    if not norm:
        return Layer(np.ones(c, np.float32), bias, None)
    inner = f"{name}.norm.batch_norm"  # of the rotation-equivariant class
    inner = inner if f"{inner}.running_mean" in state else f"{name}.norm"
    mean, var = (state.take(f"{inner}.running_{kind}", c) for kind in ("mean", "var"))
    mean = mean if bias is None else mean - bias
    scale = state.take_optional(f"{inner}.weight", c)
    scale = np.ones(c, np.float32) if scale is None else scale
    offset = state.take_optional(f"{inner}.bias", c)
    for kind in ("scale", "bias"):
        extra = f"{name}.{kind}.{kind}"
        if extra not in state:
            continue
        values = state.take(extra, *(c if n == c else 1 for n in state.shape(extra))).ravel()
        if kind == "scale":
            scale, offset = scale * values, None if offset is None else offset * values
        else:
            offset = values if offset is None else offset + values
    return Layer(scale, offset, (mean, var))


def norms(o: dict[str, Any]) -> tuple[bool, ...]:
    """Which layers are normalised."""
    return tuple(map(bool, per_layer(CORE, "batch_norm", o["batch_norm"], o["layers"])))


def laplace(o: dict[str, Any], *, average: bool | None) -> Laplace:
    """The first layer's penalty; ``average`` None: the default of the class."""
    name, padding = o["input_regularizer"], o["laplace_padding"]
    if name not in LAPLACES:
        raise unsupported(CORE, "input_regularizer", name, f"known: {', '.join(LAPLACES)}")
    kind, surround, averaged = LAPLACES[name]
    try:
        return Laplace(
            kind,
            1 if padding is None else padding,
            average=averaged if average is None else average,
            surround=surround,
        )
    except ValueError as error:
        raise UserError(f"{CORE}['laplace_padding'] = {padding!r}: {error}") from None


def as_tuple(value: Any) -> Any:
    """A list as a tuple; other values as they are.

    Examples:
        >>> as_tuple([1, 2]), as_tuple(3)
        ((1, 2), 3)
    """
    return tuple(value) if isinstance(value, (list, tuple)) else value
