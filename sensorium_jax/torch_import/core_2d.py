"""Cores of convolutions over single frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.models import cores
from sensorium_jax.models.nn import hermite
from sensorium_jax.torch_import.layers import CORE, INFERRED, as_tuple, laplace, norms, read_layer
from sensorium_jax.torch_import.options import (
    REQUIRED,
    pair,
    per_layer,
    read_options,
    unsupported,
)
from sensorium_jax.torch_import.state import StateDict

STACKED = {
    "input_channels": REQUIRED,
    "hidden_channels": REQUIRED,
    "input_kern": REQUIRED,
    "hidden_kern": REQUIRED,
    "layers": 3,
    "gamma_hidden": 0.0,
    "gamma_input": 0.0,
    "skip": 0,
    "stride": 1,
    "final_nonlinearity": True,
    "elu_shift": (0.0, 0.0),
    "momentum": 0.1,
    "pad_input": True,
    "hidden_padding": None,
    "batch_norm": True,
    "laplace_padding": 0,
    "input_regularizer": "LaplaceL2",
    "stack": None,
    "use_avg_reg": True,
    "linear": False,
    "nonlinearity_type": "AdaptiveELU",
    "nonlinearity_config": None,
}


def read_stacked(options: Mapping[str, Any], state: StateDict):
    """Core type "2D": plain convolutions.

    Returns the core, its weights, and what follows each convolution.
    """
    o = read_options(
        CORE,
        options,
        defaults=STACKED | {"hidden_dilation": 1, "input_stride": 1, "depth_separable": False},
        fixed={"attention_conv": False},
        ignored=INFERRED,
    )
    layers, hidden = o["layers"], o["layers"] - 1
    kernels = _kernels_2d(o)
    dilations = per_layer(CORE, "hidden_dilation", o["hidden_dilation"], hidden)
    same = [
        tuple(((k - 1) * d + 1) // 2 for k in pair(kernel))
        for kernel, d in zip(kernels[1:], dilations, strict=True)
    ]
    strides = (o["input_stride"], *per_layer(CORE, "stride", o["stride"], hidden))
    common = _common_2d(o, kernels, hidden_padding=same)
    separable = bool(o["depth_separable"])
    options = {"dilation": (1, *dilations), "stride": strides, "depth_separable": separable}
    core = cores.Stacked2D(**common, **options)
    channels = per_layer(CORE, "hidden_channels", o["hidden_channels"], layers)
    weights, layers_after = {}, []
    for i, c in enumerate(channels):
        name = f"core.features.layer{i}"
        c_in = channels[i - 1] if i else o["input_channels"]
        if separable and i:
            kernels_of_layer, bias = _read_separable(state, f"{name}.ds_conv", c_in, c, kernels[i])
            weights |= {f"{part}{i}": x for part, x in kernels_of_layer.items()}
        else:
            kernel = state.take(f"{name}.conv.weight", c, c_in, *kernels[i])
            weights[f"kernel{i}"] = kernel.transpose(2, 3, 1, 0)
            bias = state.take_optional(f"{name}.conv.bias", c)
        layers_after.append(read_layer(state, name, c, bias, norm=norms(o)[i]))
    return core, weights, layers_after


def _read_separable(
    state: StateDict, name: str, c_in: int, c: int, kernel: tuple[int, int]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The weights of a depth-separable convolution, and the offset [C] of its last two biases."""
    first, space, last = (f"{name}.{part}_conv" for part in ("in_depth", "spatial", "out_depth"))
    channels_out = state.take(f"{last}.weight", c, c, 1, 1)[:, :, 0, 0].T
    biases = (state.take_optional(f"{part}.bias", c) for part in (first, space, last))
    in_bias, space_bias, out_bias = (np.zeros(c, np.float32) if b is None else b for b in biases)
    weights = {
        "in": state.take(f"{first}.weight", c, c_in, 1, 1)[:, :, 0, 0].T,
        "in_bias": in_bias,
        "space": state.take(f"{space}.weight", c, 1, *kernel).transpose(2, 3, 1, 0),
        "out": channels_out,
    }
    return weights, space_bias @ channels_out + out_bias


def read_equivariant(options: Mapping[str, Any], state: StateDict):
    """Core type "2D_equivariant": steerable convolutions.

    Returns the core, its weights, and what follows each convolution.
    """
    o = read_options(
        CORE,
        options,
        defaults=STACKED
        | {"num_rotations": 8, "upsampling": 2, "input_regularizer": "LaplaceL2norm"},
        fixed={"depth_separable": False, "attention_conv": False, "rot_eq_batch_norm": True},
        # The class has no dilation, and no separate stride of the first layer.
        ignored=INFERRED | {"init_std", "hidden_dilation", "input_stride"},
    )
    layers, rotations = o["layers"], o["num_rotations"]
    kernels = _kernels_2d(o)
    # The first hidden kernel determines the padding of all hidden layers.
    same = [tuple(k // 2 for k in kernels[1])] * (layers - 1) if layers > 1 else []
    common = _common_2d(o, kernels, hidden_padding=same)
    options = {"rotations": rotations, "upsampling": o["upsampling"]}
    core = cores.RotationEquivariant(**common, **options, stride=as_tuple(o["stride"]))
    channels = per_layer(CORE, "hidden_channels", o["hidden_channels"], layers)
    weights, layers_after = {}, []
    for i, c in enumerate(channels):
        name = f"core.features.layer{i}"
        modes = len(hermite.modes(kernels[i][0]))
        c_in = o["input_channels"] if i == 0 else channels[i - 1] * rotations
        coefficients = state.take(f"{name}.hermite_conv.coeffs", modes, c_in, c)
        weights[f"kernel{i}"] = coefficients
        layers_after.append(read_layer(state, name, c, None, norm=norms(o)[i]))
    return core, weights, layers_after


def _kernels_2d(o: dict[str, Any]) -> list[tuple[int, int]]:
    hidden = per_layer(CORE, "hidden_kern", o["hidden_kern"], o["layers"] - 1)
    return [pair(o["input_kern"]), *map(pair, hidden)]


def _common_2d(o: dict[str, Any], kernels: list, *, hidden_padding: list) -> dict[str, Any]:
    """Fields that both 2D cores share."""
    layers = o["layers"]
    if o["skip"] > 1:
        raise unsupported(CORE, "skip", o["skip"], "only 0 and 1 are, which mean no skip")
    padding = o["hidden_padding"]
    if isinstance(padding, (list, tuple)) and len(padding) == layers - 1:
        hidden_padding = list(map(pair, padding))
    elif padding is not None:
        hidden_padding = [pair(padding)] * (layers - 1)
    first = tuple(k // 2 for k in kernels[0]) if o["pad_input"] else (0, 0)
    nonlinearity, shift = _nonlinearity_2d(o)
    return {
        "channels": as_tuple(o["hidden_channels"]),
        "stack": _stack(o["stack"], layers),
        "layers": layers,
        "kernel": tuple(kernels),
        "padding": (first, *hidden_padding),
        "batch_norm": norms(o),
        "nonlinearity": nonlinearity,
        "elu_shift": shift,
        "final_nonlinearity": o["final_nonlinearity"],
        "momentum": o["momentum"],
        "smoothness": laplace(o, average=o["use_avg_reg"]),
        "gamma_input": float(o["gamma_input"]),
        "gamma_hidden": float(o["gamma_hidden"]),
    }


def _stack(stack: Any, layers: int) -> tuple[int, ...]:
    """The layers whose maps the readout sees; None is all of them, a number the first of them."""
    every = range(layers)
    indices = every if stack is None else every[stack:] if isinstance(stack, int) else stack
    if tuple(indices) in ((-1,), (layers - 1,)):
        return (-1,)
    return tuple(map(int, indices))


def _nonlinearity_2d(o: dict[str, Any]) -> tuple[str, tuple[float, float]]:
    if o["linear"]:
        return "identity", (0.0, 0.0)
    kinds = {
        "AdaptiveELU": ("elu", tuple(map(float, o["elu_shift"]))),
        "Elu1": ("elu", (0.0, 1.0)),
        "ELU": ("elu", (0.0, 0.0)),
        "ReLU": ("relu", (0.0, 0.0)),
        "Softplus": ("softplus", (0.0, 0.0)),
        "Log1Exp": ("softplus", (0.0, 0.0)),
        "Identity": ("identity", (0.0, 0.0)),
    }
    name, config = o["nonlinearity_type"], o["nonlinearity_config"]
    if name not in kinds:
        raise unsupported(CORE, "nonlinearity_type", name, f"known: {', '.join(kinds)}")
    if config and name != "AdaptiveELU":  # for which the class ignores it
        raise unsupported(CORE, "nonlinearity_config", config, "only None is")
    return kinds[name]
