"""Trained weights of the official PyTorch starter kit, as a model of ours.

    m = sensorium_jax.torch_import.from_starter_kit(state_dict, core_type=..., core_dict=..., ...)
    m.predict(videos, behavior, pupil_center, session=KEY)

takes the arguments of the starter kit's ``make_video_model`` as they are. On the command line,
``python -m sensorium_jax.torch_import CHECKPOINT.pth --out DIR``.

Source of what the options mean: ecker-lab/sensorium_2023 (49547d9) and sinzlab/neuralpredictors
(a2055cd; the published models were trained with that, not with the older commit that the starter
kit pins, which cannot run them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.models import Model
from sensorium_jax.runs.weights import TrainedModel
from sensorium_jax.torch_import.core import read_core
from sensorium_jax.torch_import.heads import read_readout, read_shifter
from sensorium_jax.torch_import.state import StateDict
from sensorium_jax.types import Params


def from_starter_kit(
    state_dict: Mapping[str, np.ndarray],
    *,
    core_type: str,
    core_dict: Mapping[str, Any],
    readout_type: str,
    readout_dict: Mapping[str, Any],
    use_gru: bool = False,
    gru_dict: Mapping[str, Any] | None = None,
    use_shifter: bool = False,
    shifter_type: str = "MLP",
    shifter_dict: Mapping[str, Any] | None = None,
    elu_offset: float = 0.0,
) -> TrainedModel:
    """Map a state dict of the starter kit's video model to a model of ours.

    Predictions and the penalty that the starter kit's trainer adds (core and readout) are the
    same to float32 rounding. Neurons take their cortical positions from the readout's source
    grid, in its own units, and their mean response from the readout's bias.

    Args:
        state_dict: name -> array.
        core_type: "2D", "2D_equivariant", "3D" or "3D_factorised".
        core_dict: the core's options.
        readout_type: "gaussian" or "factorised".
        readout_dict: the readout's options.
        use_gru: a ConvGRU stands between core and readout.
        gru_dict: its options.
        use_shifter: gaze shifts the readout.
        shifter_type: "MLP" or "StaticAffine".
        shifter_dict: its options.
        elu_offset: added to every drive (the starter kit itself passes on 0, whatever is asked).

    Raises:
        UserError: an option is not supported, or options and tensors do not fit; names and shapes
            are given.
    """
    state = StateDict(state_dict)
    gru = (gru_dict or {}) if use_gru else None
    try:
        core, core_weights, stats = read_core(core_type, core_dict, state, gru)
    except ValueError as error:  # of a core that checks its own fields
        raise UserError(f"core_dict: {error}") from None
    features = (core.recurrence and core.recurrence.channels) or core.maps
    readout, readout_weights, neurons, sessions = read_readout(
        readout_type, readout_dict, state, features=features, offset=elu_offset
    )
    weights = {"core": core_weights, "readout": readout_weights}
    shifter = None
    if use_shifter:
        shifter, weights["shifter"] = read_shifter(shifter_type, shifter_dict, state, sessions)
    state.check_all_taken()
    try:
        model = Model(core, readout, shifter, elu_offset=float(elu_offset))
    except ValueError as error:
        raise UserError(str(error)) from None
    return TrainedModel(model, Params(weights, stats), neurons, sessions)
