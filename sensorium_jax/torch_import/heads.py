"""Readouts and shifters of the starter kit: options to modules of this package, with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models import Readout, Shifter, rate_of_drive, readouts, shifters
from sensorium_jax.torch_import.options import REQUIRED, read_options, unsupported
from sensorium_jax.torch_import.state import ANY, StateDict
from sensorium_jax.types import Neurons, PyTree

READOUT, SHIFTER = "readout_dict", "shifter_dict"
# Keys that ``make_video_model`` adds to the dictionary, and options of the initial weights.
IGNORED = frozenset(
    {"in_shape_dict", "n_neurons_dict", "loaders", "mean_activity_dict", "source_grids"}
    | {"grid_mean_predictor_type", "init_mu_range", "init_sigma", "init_noise", "fixed_sigma"}
)
UNSHARED = {
    "share_features": False,
    "share_grid": False,
    "share_transform": False,
    "shared_match_ids": None,
    "gamma_grid_dispersion": 0.0,
}


def read_readout(
    readout_type: str, options: Mapping[str, Any], state: StateDict, *, features: int
) -> tuple[Readout, PyTree, Neurons, tuple[str, ...]]:
    """A readout, its weights [S N ...], the neurons and the sessions they belong to.

    Args:
        readout_type: "gaussian" or "factorised".
        options: ``readout_dict``.
        state: the state dict.
        features: number of feature maps.
    """
    readers = {"gaussian": _gaussian, "factorised": _factorised}
    if readout_type not in readers:
        names = ", ".join(readers)
        raise UserError(f"readout_type {readout_type!r} is not supported; known: {names}")
    sessions = tuple(dict.fromkeys(name.split(".")[1] for name in state.names("readout.")))
    if not sessions:
        raise UserError("expected readout.<session>.* in the state dict, found none")
    readout, weights, grids = readers[readout_type](options, state, sessions, features)
    counts = [len(w["features"]) for w in weights]
    width = max(counts)  # N
    rates = [
        rate_of_drive(w.get("bias", np.zeros(n))) for w, n in zip(weights, counts, strict=True)
    ]
    neurons = Neurons(
        np.stack([_pad(_three_columns(grid), width) for grid in grids]),
        np.stack([_pad(np.asarray(rate, np.float32), width) for rate in rates]),
        np.arange(width) < np.array(counts)[:, None],
    )
    return readout, _stack([_pad_weights(w, width) for w in weights]), neurons, sessions


def _gaussian(options, state: StateDict, sessions: Sequence[str], features: int):
    o = read_options(
        READOUT,
        options,
        defaults={
            "bias": REQUIRED,
            "gauss_type": "full",
            "grid_mean_predictor": None,
            "feature_reg_weight": None,
            "gamma_readout": None,
        },
        fixed=UNSHARED | {"batch_sample": True, "align_corners": True},
        ignored=IGNORED,
    )
    sigmas = {"full": (2, 2), "uncorrelated": (1, 2), "isotropic": (1, 1)}
    if o["gauss_type"] not in sigmas:
        raise unsupported(READOUT, "gauss_type", o["gauss_type"], f"known: {', '.join(sigmas)}")
    position_options, layers = _grid_predictor(o["grid_mean_predictor"])
    weights, grids = [], []
    for session in sessions:
        name = f"readout.{session}"
        sigma = state.take(f"{name}.sigma", 1, ANY, *sigmas[o["gauss_type"]])[0]
        n = len(sigma)
        w = {
            "sigma": sigma if o["gauss_type"] == "full" else sigma[:, 0],
            "features": state.take(f"{name}._features", 1, features, 1, n)[0, :, 0].T,
        }
        if o["bias"]:
            w["bias"] = state.take(f"{name}.bias", n)
        if layers is None:
            w["position"] = state.take(f"{name}._mu", 1, n, 1, 2)[0, :, 0]
            grids.append(np.zeros((n, 2), np.float32))
        else:
            for i, (layer, c_in, c) in enumerate(layers):
                w[layer] = _dense(state, f"{name}.mu_transform.{2 * i}", c_in, c)
            grids.append(state.take(f"{name}.source_grid", n, position_options["dimensions"]))
        weights.append(w)
    readout = readouts.Gaussian(
        gauss=o["gauss_type"],
        cortical=layers is not None,
        bias=bool(o["bias"]),
        gamma=_gamma(o, "feature_reg_weight"),
        **position_options,
    )
    return readout, weights, grids


def _grid_predictor(options: Mapping[str, Any] | None):
    """Fields for cortical positions, and (name, inputs, outputs) of each layer or None."""
    if options is None:
        return {}, None
    o = read_options(
        f"{READOUT}['grid_mean_predictor']",
        options,
        defaults={
            "input_dimensions": 2,
            "hidden_layers": 0,
            "hidden_features": 20,
            "final_tanh": False,
        },
        fixed={"type": "cortex"},
    )
    inputs, layers, hidden = o["input_dimensions"], o["hidden_layers"], o["hidden_features"]
    sizes = [inputs, *[hidden] * layers, 2]
    names = [*(f"position{i}" for i in range(layers)), "position_out"]
    fields = {
        "dimensions": inputs,
        "hidden_layers": layers,
        "hidden": hidden,
        "final_tanh": o["final_tanh"],
    }
    return fields, list(zip(names, sizes, sizes[1:], strict=False))


def _factorised(options, state: StateDict, sessions: Sequence[str], features: int):
    o = read_options(
        READOUT,
        options,
        defaults={
            "bias": REQUIRED,
            "normalize": True,
            "constrain_pos": False,
            "spatial_and_feature_reg_weight": None,
            "gamma_readout": None,
        },
        fixed=UNSHARED,
        ignored=IGNORED | {"positive_weights"},  # which the class stores and does not use
    )
    weights, grids = [], []
    for session in sessions:
        name = f"readout.{session}"
        w = {"features": state.take(f"{name}._features", ANY, features)}
        n = len(w["features"])
        w["mask"] = state.take(f"{name}.spatial", n, ANY, ANY)
        if o["bias"]:
            w["bias"] = state.take(f"{name}.bias", n)
        weights.append(w)
        grids.append(np.zeros((n, 2), np.float32))
    readout = readouts.Factorized(
        normalize=o["normalize"],
        positive=o["constrain_pos"],
        bias=bool(o["bias"]),
        gamma=_gamma(o, "spatial_and_feature_reg_weight"),
        all_pairs=True,
    )
    return readout, weights, grids


def _gamma(o: Mapping[str, Any], name: str) -> float:
    """Weight of the penalty: the option of this name, else the old ``gamma_readout``, else one."""
    weights = [o[key] for key in (name, "gamma_readout") if o[key] is not None]
    return float(weights[0]) if weights else 1.0


def read_shifter(
    shifter_type: str, options: Mapping[str, Any] | None, state: StateDict, sessions: Sequence[str]
) -> tuple[Shifter, PyTree]:
    """A shifter and its weights [S ...]."""
    if shifter_type == "MLP":
        o = read_options(
            SHIFTER,
            options,
            defaults={"hidden_channels_shifter": 2, "shift_layers": 1},
            fixed={"input_channels": 2},
            ignored=frozenset({"gamma_shifter", "data_keys", "input_channels_shifter"}),
        )
        layers, hidden = o["shift_layers"], o["hidden_channels_shifter"]
        sizes = [2, *[hidden] * (layers - 1), 2]
        weights = [
            {
                f"dense{i}": _dense(state, f"shifter.{s}.mlp.{2 * i}", sizes[i], sizes[i + 1])
                for i in range(layers)
            }
            for s in sessions
        ]
        return shifters.MLP(layers=layers, hidden=hidden), _stack(weights)
    if shifter_type == "StaticAffine":
        o = read_options(
            SHIFTER,
            options,
            defaults={"bias": True},
            fixed={"input_channels": 2, "output_channels": 2},
            ignored=frozenset({"gamma_shifter", "data_keys"}),
        )
        weights = [{"dense": _dense(state, f"shifter.{s}", 2, 2, bias=o["bias"])} for s in sessions]
        return shifters.StaticAffine(bias=bool(o["bias"])), _stack(weights)
    raise UserError(f"shifter_type {shifter_type!r} is not supported; known: MLP, StaticAffine")


def _dense(state: StateDict, name: str, c_in: int, c: int, *, bias: bool = True) -> PyTree:
    """A linear layer, whose kernel torch stores as [out in]."""
    weights = {"kernel": state.take(f"{name}.weight", c, c_in).T}
    return weights | ({"bias": state.take(f"{name}.bias", c)} if bias else {})


def _pad_weights(weights: PyTree, n: int) -> PyTree:
    """The readout's weights of one session, with zeros for padded neurons."""
    return {k: v if isinstance(v, dict) else _pad(v, n) for k, v in weights.items()}


def _pad(x: np.ndarray, n: int) -> np.ndarray:
    """[N ...] padded with zeros to ``n`` neurons."""
    return np.pad(x, [(0, n - len(x)), *[(0, 0)] * (x.ndim - 1)])


def _three_columns(grid: np.ndarray) -> np.ndarray:
    """Positions [N 2] or [N 3] as [N 3], with zeros."""
    return np.pad(grid, ((0, 0), (0, 3 - grid.shape[1])))


def _stack(trees: list[PyTree]) -> PyTree:
    """One tree of arrays [S ...] from the trees of S sessions."""
    if isinstance(trees[0], dict):
        return {k: _stack([tree[k] for tree in trees]) for k in trees[0]}
    return np.stack(trees)
