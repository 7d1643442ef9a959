"""Readouts and shifters of the starter kit: options to modules of ours, tensors to weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models import Readout, Shifter, rate_of_drive, readouts, shifters
from sensorium_jax.torch_import.options import REQUIRED, read, refused
from sensorium_jax.torch_import.state import ANY, StateDict
from sensorium_jax.types import Neurons, PyTree

READOUT, SHIFTER = "readout_dict", "shifter_dict"
# What ``make_video_model`` adds to the dictionary itself, and how weights were once drawn.
ADDED = frozenset(
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
    readout_type: str, given: Mapping[str, Any], state: StateDict, *, features: int, offset: float
) -> tuple[Readout, PyTree, Neurons, tuple[str, ...]]:
    """A readout, its weights [S N ...], the neurons and the sessions they belong to.

    Args:
        readout_type: "gaussian" or "factorised".
        given: ``readout_dict``.
        state: the state dict.
        features: maps that it reads.
        offset: ``elu_offset``, for the rate that a bias stands for.
    """
    readers = {"gaussian": _gaussian, "factorised": _factorised}
    if readout_type not in readers:
        known = ", ".join(readers)
        raise UserError(f"readout_type {readout_type!r} is not supported; known: {known}")
    sessions = tuple(dict.fromkeys(name.split(".")[1] for name in state.names("readout.")))
    if not sessions:
        raise UserError("expected readout.<session>.* in the state dict, found none")
    readout, weights, grids = readers[readout_type](given, state, sessions, features)
    counts = [len(w["features"]) for w in weights]
    most = max(counts)
    rates = [
        rate_of_drive(w.get("bias", np.zeros(n)) + offset)
        for w, n in zip(weights, counts, strict=True)
    ]
    neurons = Neurons(
        np.stack([_widen(_three_columns(grid), most) for grid in grids]),
        np.stack([_widen(np.asarray(rate, np.float32), most) for rate in rates]),
        np.arange(most) < np.array(counts)[:, None],
    )
    return readout, _stacked([_widened(w, most) for w in weights]), neurons, sessions


def _gaussian(given, state: StateDict, sessions: Sequence[str], features: int):
    o = read(
        READOUT,
        given,
        defaults={
            "bias": REQUIRED,
            "gauss_type": "full",
            "grid_mean_predictor": None,
            "feature_reg_weight": None,
            "gamma_readout": None,
        },
        fixed=UNSHARED | {"batch_sample": True, "align_corners": True},
        ignored=ADDED,
    )
    sigmas = {"full": (2, 2), "uncorrelated": (1, 2), "isotropic": (1, 1)}
    if o["gauss_type"] not in sigmas:
        raise refused(READOUT, "gauss_type", o["gauss_type"], f"known: {', '.join(sigmas)}")
    options, layers = _grid_predictor(o["grid_mean_predictor"])
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
            for i, (ours, c_in, c) in enumerate(layers):
                w[ours] = _dense(state, f"{name}.mu_transform.{2 * i}", c_in, c)
            grids.append(state.take(f"{name}.source_grid", n, options["dimensions"]))
        weights.append(w)
    readout = readouts.Gaussian(
        gauss=o["gauss_type"],
        cortical=layers is not None,
        bias=bool(o["bias"]),
        gamma=_gamma(o, "feature_reg_weight"),
        **options,
    )
    return readout, weights, grids


def _grid_predictor(given: Mapping[str, Any] | None):
    """Options of cortical positions, and (our name, inputs, outputs) of each layer, or None."""
    if given is None:
        return {}, None
    o = read(
        f"{READOUT}['grid_mean_predictor']",
        given,
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
    options = {
        "dimensions": inputs,
        "hidden_layers": layers,
        "hidden": hidden,
        "final_tanh": o["final_tanh"],
    }
    return options, list(zip(names, sizes, sizes[1:], strict=False))


def _factorised(given, state: StateDict, sessions: Sequence[str], features: int):
    o = read(
        READOUT,
        given,
        defaults={
            "bias": REQUIRED,
            "normalize": True,
            "constrain_pos": False,
            "spatial_and_feature_reg_weight": None,
            "gamma_readout": None,
        },
        fixed=UNSHARED,
        ignored=ADDED | {"positive_weights"},  # which the class stores and does not use
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
    """Weight of the penalty: by its new name, else by the old ``gamma_readout``, else one."""
    given = [o[key] for key in (name, "gamma_readout") if o[key] is not None]
    return float(given[0]) if given else 1.0


def read_shifter(
    shifter_type: str, given: Mapping[str, Any] | None, state: StateDict, sessions: Sequence[str]
) -> tuple[Shifter, PyTree]:
    """A shifter and its weights [S ...]."""
    if shifter_type == "MLP":
        o = read(
            SHIFTER,
            given,
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
        return shifters.MLP(layers=layers, hidden=hidden), _stacked(weights)
    if shifter_type == "StaticAffine":
        o = read(
            SHIFTER,
            given,
            defaults={"bias": True},
            fixed={"input_channels": 2, "output_channels": 2},
            ignored=frozenset({"gamma_shifter", "data_keys"}),
        )
        weights = [{"dense": _dense(state, f"shifter.{s}", 2, 2, bias=o["bias"])} for s in sessions]
        return shifters.StaticAffine(bias=bool(o["bias"])), _stacked(weights)
    raise UserError(f"shifter_type {shifter_type!r} is not supported; known: MLP, StaticAffine")


def _dense(state: StateDict, name: str, c_in: int, c: int, *, bias: bool = True) -> PyTree:
    """A linear layer; torch keeps its kernel (out, in)."""
    weights = {"kernel": state.take(f"{name}.weight", c, c_in).T}
    return weights | ({"bias": state.take(f"{name}.bias", c)} if bias else {})


def _widened(weights: PyTree, n: int) -> PyTree:
    """The readout's weights of one session with zeros for padded neurons."""
    return {k: v if isinstance(v, dict) else _widen(v, n) for k, v in weights.items()}


def _widen(x: np.ndarray, n: int) -> np.ndarray:
    return np.pad(x, [(0, n - len(x)), *[(0, 0)] * (x.ndim - 1)])


def _three_columns(grid: np.ndarray) -> np.ndarray:
    return np.pad(grid, ((0, 0), (0, 3 - grid.shape[1])))


def _stacked(trees: list[PyTree]) -> PyTree:
    """One tree whose arrays lead with the session."""
    if isinstance(trees[0], dict):
        return {k: _stacked([tree[k] for tree in trees]) for k in trees[0]}
    return np.stack(trees)
