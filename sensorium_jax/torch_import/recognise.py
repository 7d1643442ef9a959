"""Recognition of a starter kit model's options from the shapes of its tensors.

Options that the tensors do not determine (strides, padding, dilation, nonlinearities, weights of
penalties) are assumed to be those of the published models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models.check import features_shape
from sensorium_jax.torch_import.core import read_core
from sensorium_jax.torch_import.state import StateDict

ASSUMED_2D = {
    "pad_input": False,
    "final_nonlinearity": False,
    "stride": 1,
    "hidden_dilation": 1,
    "momentum": 0.9,
    "laplace_padding": None,
    "input_regularizer": "LaplaceL2norm",
    "use_avg_reg": False,
    "gamma_input": 500.0,
    "gamma_hidden": 500_000.0,
}
ASSUMED_3D = {
    "padding": False,
    "final_nonlin": True,
    "stride": 1,
    "spatial_dilation": 1,
    "temporal_dilation": 1,
    "hidden_nonlinearities": "elu",
    "momentum": 0.7,
    "gamma_input_spatial": 10.0,
    "gamma_input_temporal": 0.01,
}
# The 3D model of models_demo.ipynb is padded and has no penalty.
ASSUMED_FULL = ASSUMED_3D | {
    "padding": True,
    "gamma_input_spatial": 0.0,
    "gamma_input_temporal": 0.0,
}
LAYER = "core.features.layer"


def recognise(state_dict: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of ``from_starter_kit`` for a state dict, and the options that are assumed.

    Raises:
        UserError: it is not the state dict of one of the starter kit's models.
    """
    state = StateDict(state_dict)
    first = f"{LAYER}0."
    if f"{first}hermite_conv.coeffs" in state:
        core_type, core, assumed = "2D_equivariant", _equivariant_options(state), ASSUMED_2D
    elif f"{first}conv_spatial.weight" in state:
        core_type, core, assumed = "3D_factorised", _factorised_options(state), ASSUMED_3D
    elif f"{first}conv.weight" in state and len(state.shape(f"{first}conv.weight")) == 5:
        core_type, core, assumed = "3D", _full_options(state), ASSUMED_FULL
    elif f"{first}conv.weight" in state:
        core_type, core, assumed = "2D", _stacked_options(state), ASSUMED_2D
    else:
        raise UserError(
            "expected the state dict of a model of the starter kit, with a convolution in "
            f"{LAYER}0; found {', '.join(state.names()[:4])}, ..."
        )
    layers = range(core["layers"])
    core["batch_norm"] = [
        any(name.endswith("running_mean") for name in state.names(f"{LAYER}{i}.")) for i in layers
    ]
    gru = _gru_options(state)
    readout_type, readout = _readout_options(state)
    shifter_type, shifter = _shifter_options(state)
    constructor = {
        "core_type": core_type,
        "core_dict": assumed | core,
        "readout_type": readout_type,
        "readout_dict": readout,
        "use_gru": gru is not None,
        "gru_dict": gru,
        "use_shifter": shifter is not None,
        "shifter_type": shifter_type,
        "shifter_dict": shifter,
    }
    if readout_type == "factorised":
        assumed = assumed | _padding(state_dict, constructor)
        constructor["core_dict"] |= assumed
    return constructor, assumed | ({"final_tanh": True} if readout_type == "gaussian" else {})


def _padding(
    state_dict: Mapping[str, np.ndarray], constructor: Mapping[str, Any]
) -> dict[str, bool]:
    """The padding with which the core's maps are as large as the readout's masks [N h w]."""
    options = constructor["core_dict"]
    state = StateDict(state_dict)
    mask = next(state.shape(name)[1:] for name in state.names("readout.") if "spatial" in name)
    name = "pad_input" if "pad_input" in options else "padding"
    sizes = []
    for padding in (options[name], not options[name]):
        trial = options | {name: padding}
        core, _, _ = read_core(
            constructor["core_type"], trial, StateDict(state_dict), constructor["gru_dict"]
        )
        sizes.append(features_shape(core, frames=core.warmup_frames + 1)[2:4])
        if sizes[-1] == mask:
            return {name: padding}
    raise UserError(
        f"expected maps of {mask} pixels, as the readout's masks, found {sizes[0]}, and {sizes[1]} "
        f"with the other {name}; give the trained model's strides and padding in --config"
    )


def _layers(state: StateDict) -> int:
    names = state.names(LAYER)
    return len({name.removeprefix(LAYER).partition(".")[0] for name in names})


def _stacked_options(state: StateDict) -> dict[str, Any]:
    layers = _layers(state)
    separable = f"{LAYER}1.ds_conv.spatial_conv.weight" in state
    names = ["conv", *["ds_conv.spatial_conv" if separable else "conv"] * (layers - 1)]
    shapes = [state.shape(f"{LAYER}{i}.{name}.weight") for i, name in enumerate(names)]
    channels = [s[0] for s in shapes]
    return {
        "layers": layers,
        "input_channels": shapes[0][1],
        "hidden_channels": channels,
        "input_kern": _size(shapes[0][2:]),
        "hidden_kern": [_size(s[2:]) for s in shapes[1:]],
        "stack": _stack(channels, _maps(state)),
    } | ({"depth_separable": True} if separable else {})


def _maps(state: StateDict) -> int:
    """Number of maps that the core gives to what follows: a ConvGRU, or the readout."""
    if state.names("gru_module."):
        return state.shape("gru_module.gru.reset_gate_input.weight")[1]
    return next(state.shape(n)[1] for n in state.names("readout.") if n.endswith("._features"))


def _stack(channels: list[int], maps: int) -> int:
    """The option ``stack``: -1 for the last layer alone, or -k for the last k."""
    for count in range(1, len(channels) + 1):
        if sum(channels[-count:]) == maps:
            return -count
    raise UserError(
        f"expected {maps} maps of the last layers of {channels} channels; name the layers that the "
        "readout sees as core_dict['stack'] in --config"
    )


def _equivariant_options(state: StateDict) -> dict[str, Any]:
    layers = _layers(state)
    shapes = [state.shape(f"{LAYER}{i}.hermite_conv.coeffs") for i in range(layers)]
    channels = [s[2] for s in shapes]
    rotations = shapes[1][1] // channels[0] if layers > 1 else _maps(state) // channels[0]
    # K (K + 1) / 2 modes make a filter of size K.
    sizes = [(math.isqrt(8 * s[0] + 1) - 1) // 2 for s in shapes]
    return {
        "layers": layers,
        "input_channels": shapes[0][1],
        "hidden_channels": channels,
        "num_rotations": rotations,
        "stack": _stack([c * rotations for c in channels], _maps(state)),
        "input_kern": sizes[0],
        "hidden_kern": sizes[1:],
    }


def _factorised_options(state: StateDict) -> dict[str, Any]:
    layers = _layers(state)
    suffixes = ["", *(f"_{i}" for i in range(1, layers))]
    space, time = (
        [state.shape(f"{LAYER}{i}.{kind}{s}.weight") for i, s in enumerate(suffixes)]
        for kind in ("conv_spatial", "conv_temporal")
    )
    return {
        "layers": layers,
        "input_channels": space[0][1],
        "hidden_channels": [s[0] for s in space],
        "spatial_input_kernel": list(space[0][3:]),
        "temporal_input_kernel": time[0][2],
        "spatial_hidden_kernel": list(space[-1][3:]),
        "temporal_hidden_kernel": time[-1][2],
    }


def _full_options(state: StateDict) -> dict[str, Any]:
    layers = _layers(state)
    names = ["conv", *(f"conv_{i}" for i in range(1, layers))]
    shapes = [state.shape(f"{LAYER}{i}.{name}.weight") for i, name in enumerate(names)]
    return {
        "layers": layers,
        "input_channels": shapes[0][1],
        "hidden_channels": [s[0] for s in shapes],
        "input_kernel": list(shapes[0][2:]),
        "hidden_kernel": list(shapes[-1][2:]),
    }


def _gru_options(state: StateDict) -> dict[str, Any] | None:
    if not state.names("gru_module."):
        return None
    r, c, k_input, _ = state.shape("gru_module.gru.reset_gate_input.weight")
    k = state.shape("gru_module.gru.reset_gate_hidden.weight")[2]
    return {"input_channels": c, "rec_channels": r, "input_kern": k_input, "rec_kern": k}


def _readout_options(state: StateDict) -> tuple[str, dict[str, Any]]:
    names = state.names("readout.")
    if not names:
        raise UserError("expected readout.<session>.* in the state dict, found none")
    session = ".".join(names[0].split(".")[:2])
    bias = f"{session}.bias" in state
    if f"{session}.spatial" in state:
        # Tensors do not show whether masks are normalised; in the starter kit they are not.
        return "factorised", {"bias": bias, "normalize": False, "gamma_readout": 0.0}
    if f"{session}.sigma" not in state:
        raise UserError(
            f"expected {session}.spatial or {session}.sigma in the state dict, found neither: it "
            "is no readout of the starter kit"
        )
    sigma = state.shape(f"{session}.sigma")[2:]
    kinds: dict[tuple[int, ...], str] = {
        (2, 2): "full",
        (1, 2): "uncorrelated",
        (1, 1): "isotropic",
    }
    if sigma not in kinds:
        raise UserError(f"expected {session}.sigma of (1, N, 2, 2), (1, N, 1, 2) or (1, N, 1, 1)")
    gauss = kinds[sigma]
    readout = {"bias": bias, "gauss_type": gauss, "gamma_readout": 0.0}
    weights = [n for n in state.names(f"{session}.mu_transform.") if n.endswith("weight")]
    if weights:
        hidden, dimensions = state.shape(weights[0])
        readout["grid_mean_predictor"] = {
            "type": "cortex",
            "input_dimensions": dimensions,
            "hidden_layers": len(weights) - 1,
            "hidden_features": hidden,
            "final_tanh": True,
        }
    return "gaussian", readout


def _shifter_options(state: StateDict) -> tuple[str, dict[str, Any] | None]:
    names = state.names("shifter.")
    if not names:
        return "MLP", None
    session = ".".join(names[0].split(".")[:2])
    weights = [n for n in state.names(f"{session}.mlp.") if n.endswith("weight")]
    if weights:
        hidden = state.shape(weights[0])[0]
        return "MLP", {"shift_layers": len(weights), "hidden_channels_shifter": hidden}
    return "StaticAffine", {"bias": f"{session}.bias" in state}


def _size(shape: tuple[int, ...]) -> int | list[int]:
    """The size of a kernel [h w]: one number if it is square."""
    return shape[0] if shape[0] == shape[1] else list(shape)
