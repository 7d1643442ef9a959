"""Cores of the starter kit: options to a core of this package, tensors to its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models.cores.layered import LayeredCore
from sensorium_jax.models.nn.recurrent import ConvGRU
from sensorium_jax.torch_import.core_2d import read_equivariant, read_stacked
from sensorium_jax.torch_import.core_3d import read_factorised, read_full
from sensorium_jax.torch_import.options import REQUIRED, read_options, unsupported
from sensorium_jax.torch_import.state import StateDict
from sensorium_jax.types import PyTree

GATES = ("reset_gate", "update_gate", "out_gate")


def read_core(
    core_type: str, options: Mapping[str, Any], state: StateDict, gru: Mapping[str, Any] | None
) -> tuple[LayeredCore, PyTree, PyTree]:
    """A core, its weights and its running statistics.

    Args:
        core_type: "2D", "2D_equivariant", "3D" or "3D_factorised".
        options: ``core_dict``.
        state: the state dict.
        gru: ``gru_dict``; None: no ConvGRU.
    """
    readers = {
        "2D": read_stacked,
        "2D_equivariant": read_equivariant,
        "3D_factorised": read_factorised,
        "3D": read_full,
    }
    if core_type not in readers:
        raise UserError(f"core_type {core_type!r} is not supported; known: {', '.join(readers)}")
    core, weights, layers = readers[core_type](options, state)
    stats = {}
    has_bias = any(layer.offset is not None for layer in layers)
    for i, (scale, offset, moments) in enumerate(layers):
        offset = np.zeros_like(scale) if offset is None else offset
        if moments is not None:
            weights[f"norm{i}"] = {"scale": scale} | ({"bias": offset} if has_bias else {})
            stats[f"norm{i}"] = dict(zip(("mean", "var"), moments, strict=True))
        elif has_bias:
            weights[f"bias{i}"] = offset
    channels = options["input_channels"]
    core = core.clone(bias=has_bias, behavior=channels in (3, 5), gaze=channels == 5)
    if gru is not None:
        recurrence, weights["recurrence"] = _gru(gru, state, core.maps)
        core = core.clone(recurrence=recurrence)
    return core, weights, stats


def _gru(options: Mapping[str, Any], state: StateDict, maps: int) -> tuple[ConvGRU, PyTree]:
    """The ConvGRU on a core's maps, and its weights."""
    o = read_options(
        "gru_dict",
        options,
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
            f"expected gru_dict['input_channels'] = {maps}, the maps of the core; "
            f"found {o['input_channels']}"
        )
    for name, size, padded in (("input_kern", k_input, o["pad_input"]), ("rec_kern", k, True)):
        if padded and size % 2 == 0:
            reason = "a padded kernel is odd, so that the map stays"
            raise unsupported("gru_dict", name, size, reason)

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
