"""Cores of convolutions over frames, factorised and full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sensorium_jax.errors import UserError
from sensorium_jax.models import cores
from sensorium_jax.models.nn.penalties import PUBLISHED_CENTER
from sensorium_jax.torch_import.layers import CORE, INFERRED, as_tuple, laplace, norms, read_layer
from sensorium_jax.torch_import.options import (
    REQUIRED,
    pair,
    per_layer,
    read_options,
    unsupported,
)
from sensorium_jax.torch_import.state import StateDict

FILM = {
    "input_channels": REQUIRED,
    "hidden_channels": REQUIRED,
    "layers": 3,
    "stride": 1,
    "gamma_input_spatial": 0.0,
    "gamma_input_temporal": 0.0,
    "hidden_nonlinearities": "elu",
    "x_shift": 0.0,
    "y_shift": 0.0,
    "batch_norm": True,
    "padding": False,
    "momentum": 0.01,
    "laplace_padding": None,
    "input_regularizer": "LaplaceL2norm",
    "final_nonlin": True,
    "spatial_dilation": 1,
    "temporal_dilation": 1,
    "hidden_spatial_dilation": 1,
    "hidden_temporal_dilation": 1,
}


def read_factorised(options: Mapping[str, Any], state: StateDict):
    """Core type "3D_factorised": convolutions in space, then over frames.

    Returns the core, its weights, and what follows each convolution.
    """
    sizes = (
        "spatial_input_kernel",
        "temporal_input_kernel",
        "spatial_hidden_kernel",
        "temporal_hidden_kernel",
    )
    o = _film_options(options, dict.fromkeys(sizes, REQUIRED))
    hidden = o["layers"] - 1
    kernels = [pair(o[sizes[0]]), *[pair(o[sizes[2]])] * hidden]
    frames = (o[sizes[1]], *(o[sizes[3]],) * hidden)
    stride = o["stride"]
    if isinstance(stride, (list, tuple)):  # the class uses the first twice, and never the last
        stride = (stride[0], *stride[:hidden])
    core = cores.Factorized3D(**_common_3d(o, kernels, frames), stride=stride)

    def convolution(name: str, suffix: str, i: int, c_in: int, c: int):
        space = state.take(f"{name}.conv_spatial{suffix}.weight", c, c_in, 1, *kernels[i])
        time = state.take(f"{name}.conv_temporal{suffix}.weight", c, c, frames[i], 1, 1)
        kernels_of_layer = {
            f"space{i}": space[:, :, 0].transpose(2, 3, 1, 0),
            f"time{i}": time[:, :, :, 0, 0].transpose(2, 1, 0),
        }
        first = state.take_optional(f"{name}.conv_spatial{suffix}.bias", c)
        bias = state.take_optional(f"{name}.conv_temporal{suffix}.bias", c)
        if first is not None:  # constant over time: multiplied by the sum of the temporal kernel
            equivalent = time.sum((2, 3, 4)) @ first
            bias = equivalent if bias is None else bias + equivalent
        return kernels_of_layer, bias

    return core, *_film_layers(o, state, convolution)


def read_full(options: Mapping[str, Any], state: StateDict):
    """Core type "3D": convolutions over space and time at once.

    Returns the core, its weights, and what follows each convolution.
    """
    o = _film_options(
        options,
        {
            "input_kernel": REQUIRED,
            "hidden_kernel": REQUIRED,
            "num_frames": None,
            "spatial_input_kernel": None,
        },
    )
    if o["spatial_input_kernel"] is not None:
        reason = "only None is: the starter kit takes the number of channels for that of frames"
        raise unsupported(CORE, "spatial_input_kernel", o["spatial_input_kernel"], reason)
    names = ("input_kernel", *("hidden_kernel",) * (o["layers"] - 1))
    sizes = [_kernel_size(o, name) for name in names]
    kernels, frames = [size[1:] for size in sizes], tuple(size[0] for size in sizes)
    stride = as_tuple(o["stride"])
    core = cores.Full3D(**_common_3d(o, kernels, frames), stride=stride)

    def convolution(name: str, suffix: str, i: int, c_in: int, c: int):
        kernel = state.take(f"{name}.conv{suffix}.weight", c, c_in, *sizes[i])
        bias = state.take_optional(f"{name}.conv{suffix}.bias", c)
        return {f"kernel{i}": kernel.transpose(2, 3, 4, 1, 0)}, bias

    return core, *_film_layers(o, state, convolution)


def _kernel_size(o: dict[str, Any], name: str) -> tuple[int, ...]:
    """Frames, rows and columns of a kernel, from three numbers, or from one and ``num_frames``."""
    size = o[name]
    if isinstance(size, (list, tuple)):
        if len(size) != 3:
            raise UserError(f"expected 3 numbers in {CORE}[{name!r}], found {size!r}")
        return tuple(map(int, size))
    return (size if o["num_frames"] is None else o["num_frames"], size, size)


def _film_options(options: Mapping[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    fixed = {"pad_time": False}
    return read_options(
        CORE, options, defaults=FILM | sizes, fixed=fixed, ignored=INFERRED | {"cuda"}
    )


def _common_3d(o: dict[str, Any], kernels: list, frames: tuple[int, ...]) -> dict[str, Any]:
    """Fields that both 3D cores share."""
    layers = o["layers"]
    kind = o["hidden_nonlinearities"]
    if kind not in ("elu", "softplus", "relu", "adaptive_elu"):
        reason = "known: elu, softplus, relu, adaptive_elu"
        raise unsupported(CORE, "hidden_nonlinearities", kind, reason)
    adaptive = kind == "adaptive_elu"
    shift = (float(o["x_shift"]), float(o["y_shift"])) if adaptive else (0.0, 0.0)

    def dilation(axis: str) -> tuple[int, ...]:
        name, hidden = f"hidden_{axis}_dilation", o[f"hidden_{axis}_dilation"]
        if isinstance(hidden, (list, tuple)) and len(hidden) == layers:
            hidden = hidden[: layers - 1]  # the class ignores the last
        return (o[f"{axis}_dilation"], *per_layer(CORE, name, hidden, layers - 1))

    same = tuple(tuple(k // 2 for k in kernel) for kernel in kernels)
    return {
        "channels": as_tuple(o["hidden_channels"]),
        "layers": layers,
        "kernel": tuple(kernels),
        "frames": frames,
        "padding": same if o["padding"] else "valid",
        "dilation": dilation("spatial"),
        "frame_dilation": dilation("temporal"),
        "batch_norm": norms(o),
        "nonlinearity": "elu" if adaptive else kind,
        "elu_shift": shift,
        # The option has an effect on cores of one layer only.
        "final_nonlinearity": bool(o["final_nonlin"]) or layers > 1,
        "momentum": o["momentum"],
        "smoothness": laplace(o, average=None),
        "gamma_space": float(o["gamma_input_spatial"]),
        "gamma_time": float(o["gamma_input_temporal"]),
        "time_center": PUBLISHED_CENTER,
    }


def _film_layers(o: dict[str, Any], state: StateDict, convolution: Callable):
    """Weights of all convolutions, and a ``Layer`` for each."""
    channels = per_layer(CORE, "hidden_channels", o["hidden_channels"], o["layers"])
    weights, layers_after = {}, []
    for i, c in enumerate(channels):
        name, suffix = f"core.features.layer{i}", f"_{i}" if i else ""
        c_in = channels[i - 1] if i else o["input_channels"]
        kernels, bias = convolution(name, suffix, i, c_in, c)
        weights |= kernels
        layers_after.append(read_layer(state, name, c, bias, norm=norms(o)[i]))
    return weights, layers_after
