"""Cores of the starter kit: options to a core of ours, tensors to its weights.

Convolution biases in front of a batch normalisation become part of its running mean, and the
scale and bias layers behind it part of its scale and offset: the function is the same, and so is
its training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import cores
from sensorium_jax.errors import UserError
from sensorium_jax.nn import hermite
from sensorium_jax.nn.penalties import PUBLISHED_CENTER, Laplace
from sensorium_jax.nn.recurrent import ConvGRU
from sensorium_jax.torch_import.options import REQUIRED, pair, per_layer, read, refused
from sensorium_jax.torch_import.state import StateDict
from sensorium_jax.types import PyTree

WHERE = "core_dict"
LAPLACES = {  # name: kind, weighed by a Gaussian, averaged unless told otherwise
    "LaplaceL2norm": ("l2norm", False, False),
    "LaplaceL2": ("l2", False, True),
    "LaplaceL1": ("l1", False, True),
    "GaussianLaplaceL2": ("l2norm", True, False),
    "GaussianLaplaceL2Adaptive": ("l2norm", True, False),
}
GATES = ("reset_gate", "update_gate", "out_gate")

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
# What the state dict itself shows: which layers have biases, scales and affine normalisation.
SHOWN = frozenset({"bias", "batch_norm_scale", "final_batchnorm_scale", "independent_bn_bias"})
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


class Layer(NamedTuple):
    """What follows the convolution of a layer."""

    scale: np.ndarray  # [C]
    offset: np.ndarray | None  # [C]
    moments: tuple[np.ndarray, np.ndarray] | None  # running mean and variance, each [C]


def read_core(
    core_type: str, given: Mapping[str, Any], state: StateDict, gru: Mapping[str, Any] | None
) -> tuple[cores.LayeredCore, PyTree, PyTree]:
    """A core, its weights and its running statistics."""
    readers = {
        "2D": _stacked,
        "2D_equivariant": _equivariant,
        "3D_factorised": _factorised,
        "3D": _full,
    }
    if core_type not in readers:
        raise UserError(f"core_type {core_type!r} is not supported; known: {', '.join(readers)}")
    core, weights, layers = readers[core_type](given, state)
    stats = {}
    has_bias = any(layer.offset is not None for layer in layers)
    for i, (scale, offset, moments) in enumerate(layers):
        offset = np.zeros_like(scale) if offset is None else offset
        if moments is not None:
            weights[f"norm{i}"] = {"scale": scale} | ({"bias": offset} if has_bias else {})
            stats[f"norm{i}"] = dict(zip(("mean", "var"), moments, strict=True))
        elif has_bias:
            weights[f"bias{i}"] = offset
    channels = given["input_channels"]
    core = core.clone(bias=has_bias, behavior=channels in (3, 5), gaze=channels == 5)
    if gru is not None:
        recurrence, weights["recurrence"] = _gru(gru, state, core.maps)
        core = core.clone(recurrence=recurrence)
    return core, weights, stats


def _stacked(given: Mapping[str, Any], state: StateDict):
    o = read(
        WHERE,
        given,
        defaults=STACKED | {"hidden_dilation": 1, "input_stride": 1},
        fixed={"depth_separable": False, "attention_conv": False},
        ignored=SHOWN,
    )
    layers, hidden = o["layers"], o["layers"] - 1
    kernels = _kernels_2d(o)
    dilations = per_layer(WHERE, "hidden_dilation", o["hidden_dilation"], hidden)
    same = [
        tuple(((k - 1) * d + 1) // 2 for k in pair(kernel))
        for kernel, d in zip(kernels[1:], dilations, strict=True)
    ]
    strides = (o["input_stride"], *per_layer(WHERE, "stride", o["stride"], hidden))
    common = _common_2d(o, kernels, hidden_padding=same)
    core = cores.Stacked2D(**common, dilation=(1, *dilations), stride=strides)
    names = [f"core.features.layer{i}" for i in range(layers)]
    channels = per_layer(WHERE, "hidden_channels", o["hidden_channels"], layers)
    weights, after = {}, []
    for i, (name, c_in, c) in enumerate(
        zip(names, (o["input_channels"], *channels), channels, strict=False)
    ):
        kernel = state.take(f"{name}.conv.weight", c, c_in, *kernels[i])
        weights[f"kernel{i}"] = kernel.transpose(2, 3, 1, 0)
        bias = state.take_if_there(f"{name}.conv.bias", c)
        after.append(_after(state, name, c, bias, norm=_norms(o)[i]))
    return core, weights, after


def _equivariant(given: Mapping[str, Any], state: StateDict):
    o = read(
        WHERE,
        given,
        defaults=STACKED | {"num_rotations": 8, "input_regularizer": "LaplaceL2norm"},
        fixed={
            "depth_separable": False,
            "attention_conv": False,
            "upsampling": 2,
            "rot_eq_batch_norm": True,
        },
        # The class takes neither a dilation nor a stride of the first layer's own.
        ignored=SHOWN | {"init_std", "hidden_dilation", "input_stride"},
    )
    layers, rotations = o["layers"], o["num_rotations"]
    kernels = _kernels_2d(o)
    # The first hidden kernel decides on the padding of all.
    same = [tuple(k // 2 for k in kernels[1])] * (layers - 1) if layers > 1 else []
    common = _common_2d(o, kernels, hidden_padding=same)
    core = cores.RotationEquivariant(**common, rotations=rotations, stride=o["stride"])
    channels = per_layer(WHERE, "hidden_channels", o["hidden_channels"], layers)
    weights, after = {}, []
    for i, c in enumerate(channels):
        name = f"core.features.layer{i}"
        modes = len(hermite.modes(kernels[i][0]))
        c_in = o["input_channels"] if i == 0 else channels[i - 1] * rotations
        coefficients = state.take(f"{name}.hermite_conv.coeffs", modes, c_in, c)
        weights[f"kernel{i}"] = coefficients
        after.append(_after(state, name, c, None, norm=_norms(o)[i]))
    return core, weights, after


def _kernels_2d(o: dict[str, Any]) -> list[tuple[int, int]]:
    hidden = per_layer(WHERE, "hidden_kern", o["hidden_kern"], o["layers"] - 1)
    return [pair(o["input_kern"]), *map(pair, hidden)]


def _common_2d(o: dict[str, Any], kernels: list, *, hidden_padding: list) -> dict[str, Any]:
    """Options that both 2D cores share."""
    layers = o["layers"]
    if o["skip"] > 1:
        raise refused(WHERE, "skip", o["skip"], "only 0 and 1 are, which mean no skip")
    stack = range(layers) if o["stack"] is None else o["stack"]
    chosen = list(range(layers))[stack:] if isinstance(stack, int) else list(stack)
    if [i % layers for i in chosen] != [layers - 1]:
        raise refused(WHERE, "stack", o["stack"], "only -1 is: the readout sees the last layer")
    given = o["hidden_padding"]
    if isinstance(given, (list, tuple)) and len(given) == layers - 1:
        hidden_padding = list(map(pair, given))
    elif given is not None:
        hidden_padding = [pair(given)] * (layers - 1)
    first = tuple(k // 2 for k in kernels[0]) if o["pad_input"] else (0, 0)
    nonlinearity, shift = _nonlinearity_2d(o)
    return {
        "channels": _several(o["hidden_channels"]),
        "layers": layers,
        "kernel": tuple(kernels),
        "padding": (first, *hidden_padding),
        "batch_norm": _norms(o),
        "nonlinearity": nonlinearity,
        "elu_shift": shift,
        "final_nonlinearity": o["final_nonlinearity"],
        "momentum": o["momentum"],
        "smoothness": _laplace(o, average=o["use_avg_reg"]),
        "gamma_input": float(o["gamma_input"]),
        "gamma_hidden": float(o["gamma_hidden"]),
    }


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
        raise refused(WHERE, "nonlinearity_type", name, f"known: {', '.join(kinds)}")
    if config and name != "AdaptiveELU":  # for which the class does not look at it
        raise refused(WHERE, "nonlinearity_config", config, "only None is")
    return kinds[name]


def _factorised(given: Mapping[str, Any], state: StateDict):
    sizes = (
        "spatial_input_kernel",
        "temporal_input_kernel",
        "spatial_hidden_kernel",
        "temporal_hidden_kernel",
    )
    o = _film_options(given, dict.fromkeys(sizes, REQUIRED))
    hidden = o["layers"] - 1
    kernels = [pair(o[sizes[0]]), *[pair(o[sizes[2]])] * hidden]
    frames = (o[sizes[1]], *(o[sizes[3]],) * hidden)
    stride = o["stride"]
    if isinstance(stride, (list, tuple)):  # the class takes the first twice, and never the last
        stride = (stride[0], *stride[:hidden])
    core = cores.Factorized3D(**_common_3d(o, kernels, frames), stride=stride)

    def convolution(name: str, suffix: str, i: int, c_in: int, c: int):
        space = state.take(f"{name}.conv_spatial{suffix}.weight", c, c_in, 1, *kernels[i])
        time = state.take(f"{name}.conv_temporal{suffix}.weight", c, c, frames[i], 1, 1)
        kernels_of_layer = {
            f"space{i}": space[:, :, 0].transpose(2, 3, 1, 0),
            f"time{i}": time[:, :, :, 0, 0].transpose(2, 1, 0),
        }
        first = state.take_if_there(f"{name}.conv_spatial{suffix}.bias", c)
        bias = state.take_if_there(f"{name}.conv_temporal{suffix}.bias", c)
        if first is not None:  # constant over time: the kernel over frames just sums it
            carried = time.sum((2, 3, 4)) @ first
            bias = carried if bias is None else bias + carried
        return kernels_of_layer, bias

    return core, *_film_layers(o, state, convolution)


def _full(given: Mapping[str, Any], state: StateDict):
    o = _film_options(
        given,
        {
            "input_kernel": REQUIRED,
            "hidden_kernel": REQUIRED,
            "num_frames": None,
            "spatial_input_kernel": None,
        },
    )
    if o["spatial_input_kernel"] is not None:
        why = "only None is: the starter kit takes the number of channels for that of frames"
        raise refused(WHERE, "spatial_input_kernel", o["spatial_input_kernel"], why)
    sizes = [_three(o, name) for name in ("input_kernel", *("hidden_kernel",) * (o["layers"] - 1))]
    kernels, frames = [size[1:] for size in sizes], tuple(size[0] for size in sizes)
    stride = _several(o["stride"])
    core = cores.Full3D(**_common_3d(o, kernels, frames), stride=stride)

    def convolution(name: str, suffix: str, i: int, c_in: int, c: int):
        kernel = state.take(f"{name}.conv{suffix}.weight", c, c_in, *sizes[i])
        bias = state.take_if_there(f"{name}.conv{suffix}.bias", c)
        return {f"kernel{i}": kernel.transpose(2, 3, 4, 1, 0)}, bias

    return core, *_film_layers(o, state, convolution)


def _three(o: dict[str, Any], name: str) -> tuple[int, int, int]:
    """Frames, rows and columns of a kernel, from one number beside ``num_frames``, or all three."""
    size = o[name]
    if isinstance(size, (list, tuple)):
        return tuple(map(int, size))
    return (size if o["num_frames"] is None else o["num_frames"], size, size)


def _film_options(given: Mapping[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
    fixed = {"pad_time": False}
    return read(WHERE, given, defaults=FILM | sizes, fixed=fixed, ignored=SHOWN | {"cuda"})


def _common_3d(o: dict[str, Any], kernels: list, frames: tuple[int, ...]) -> dict[str, Any]:
    """Options that both 3D cores share."""
    layers = o["layers"]
    kind = o["hidden_nonlinearities"]
    if kind not in ("elu", "softplus", "relu", "adaptive_elu"):
        why = "known: elu, softplus, relu, adaptive_elu"
        raise refused(WHERE, "hidden_nonlinearities", kind, why)
    adaptive = kind == "adaptive_elu"
    shift = (float(o["x_shift"]), float(o["y_shift"])) if adaptive else (0.0, 0.0)

    def dilation(which: str) -> tuple[int, ...]:
        name, hidden = f"hidden_{which}_dilation", o[f"hidden_{which}_dilation"]
        if isinstance(hidden, (list, tuple)) and len(hidden) == layers:  # the last is not used
            hidden = hidden[: layers - 1]
        return (o[f"{which}_dilation"], *per_layer(WHERE, name, hidden, layers - 1))

    same = tuple(tuple(k // 2 for k in kernel) for kernel in kernels)
    return {
        "channels": _several(o["hidden_channels"]),
        "layers": layers,
        "kernel": tuple(kernels),
        "frames": frames,
        "padding": same if o["padding"] else "valid",
        "dilation": dilation("spatial"),
        "frame_dilation": dilation("temporal"),
        "batch_norm": _norms(o),
        "nonlinearity": "elu" if adaptive else kind,
        "elu_shift": shift,
        # The option only matters to a core of one layer.
        "final_nonlinearity": bool(o["final_nonlin"]) or layers > 1,
        "momentum": o["momentum"],
        "smoothness": _laplace(o, average=None),
        "gamma_space": float(o["gamma_input_spatial"]),
        "gamma_time": float(o["gamma_input_temporal"]),
        "time_center": PUBLISHED_CENTER,
    }


def _film_layers(o: dict[str, Any], state: StateDict, convolution: Callable):
    """Weights of all layers, and what follows their convolutions."""
    channels = per_layer(WHERE, "hidden_channels", o["hidden_channels"], o["layers"])
    weights, after = {}, []
    for i, c in enumerate(channels):
        name, suffix = f"core.features.layer{i}", f"_{i}" if i else ""
        c_in = channels[i - 1] if i else o["input_channels"]
        kernels, bias = convolution(name, suffix, i, c_in, c)
        weights |= kernels
        after.append(_after(state, name, c, bias, norm=_norms(o)[i]))
    return weights, after


def _after(state: StateDict, name: str, c: int, bias: np.ndarray | None, *, norm: bool) -> Layer:
    """Normalisation, scale and bias layers of a layer, as one scale and one offset."""
    if not norm:
        return Layer(np.ones(c, np.float32), bias, None)
    inner = f"{name}.norm.batch_norm"  # of the rotation-equivariant class
    inner = inner if f"{inner}.running_mean" in state else f"{name}.norm"
    mean, var = (state.take(f"{inner}.running_{kind}", c) for kind in ("mean", "var"))
    mean = mean if bias is None else mean - bias
    scale = state.take_if_there(f"{inner}.weight", c)
    scale = np.ones(c, np.float32) if scale is None else scale
    offset = state.take_if_there(f"{inner}.bias", c)
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


def _gru(given: Mapping[str, Any], state: StateDict, maps: int) -> tuple[ConvGRU, PyTree]:
    o = read(
        "gru_dict",
        given,
        defaults=dict.fromkeys(
            ("input_channels", "rec_channels", "input_kern", "rec_kern"), REQUIRED
        )
        | {"pad_input": True},
        fixed={"groups": 1},
        ignored=frozenset({"gamma_rec"}),  # which the starter kit's trainer never adds
    )
    r, k_input, k = o["rec_channels"], o["input_kern"], o["rec_kern"]
    if o["input_channels"] != maps:
        raise UserError(
            f"expected gru_dict['input_channels'] = {maps}, the maps of the core's last layer; "
            f"found {o['input_channels']}"
        )
    for name, size, padded in (("input_kern", k_input, o["pad_input"]), ("rec_kern", k, True)):
        if padded and size % 2 == 0:
            raise refused("gru_dict", name, size, "a padded kernel is odd, so that the map stays")

    def kernels(part: str, size: int, c_in: int, gates: tuple[str, ...] = GATES) -> np.ndarray:
        names = [f"gru_module.gru.{gate}_{part}.weight" for gate in gates]
        arrays = [state.take(name, r, c_in, size, size) for name in names]
        return np.concatenate([x.transpose(2, 3, 1, 0) for x in arrays], -1)

    biases = [
        state.take(f"gru_module.gru.{gate}_input.bias", r)
        + state.take(f"gru_module.gru.{gate}_hidden.bias", r)
        for gate in GATES
    ]
    weights = {
        "input": kernels("input", k_input, maps),
        "gates": kernels("hidden", k, r, GATES[:2]),
        "candidate": kernels("hidden", k, r, GATES[2:]),
        "bias": np.concatenate(biases),
    }
    return ConvGRU(kernel=k, channels=r, input_kernel=k_input, pad_input=o["pad_input"]), weights


def _norms(o: dict[str, Any]) -> tuple[bool, ...]:
    return tuple(map(bool, per_layer(WHERE, "batch_norm", o["batch_norm"], o["layers"])))


def _laplace(o: dict[str, Any], *, average: bool | None) -> Laplace:
    """The first layer's penalty; ``average`` None takes the class's own default."""
    name, padding = o["input_regularizer"], o["laplace_padding"]
    if name not in LAPLACES:
        raise refused(WHERE, "input_regularizer", name, f"known: {', '.join(LAPLACES)}")
    kind, surround, averaged = LAPLACES[name]
    try:
        return Laplace(
            kind,
            1 if padding is None else padding,
            average=averaged if average is None else average,
            surround=surround,
        )
    except ValueError as error:
        raise UserError(f"{WHERE}['laplace_padding'] = {padding!r}: {error}") from None


def _several(value: Any) -> Any:
    """A list as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple)) else value
