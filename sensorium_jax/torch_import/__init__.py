"""Import of trained weights of the official PyTorch starter kit.

    m = sensorium_jax.torch_import.from_starter_kit(state_dict, core_type=..., core_dict=..., ...)
    m.predict(videos, behavior, pupil_center, session=KEY)

takes the arguments of the starter kit's ``make_video_model`` as they are. On the command line:
``sensorium-jax import-torch CHECKPOINT.pth --out DIR``.

Sources for the meaning of the options: ecker-lab/sensorium_2023 (49547d9) and
sinzlab/neuralpredictors (a2055cd; the published models were trained with this commit, not with the
older one that the starter kit pins, which cannot run them).
"""

from __future__ import annotations

import warnings
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
    """Convert a state dict of the starter kit's video model to a model of this package.

    Predictions, and the penalty that the starter kit's trainer adds (core and readout), are the
    same to float32 rounding. Neurons get their cortical positions from the readout's source grid,
    in the grid's units, and their mean response from the readout's bias.

    Args:
        state_dict: arrays by name.
        core_type: "2D", "2D_equivariant", "3D" or "3D_factorised".
        core_dict: options of the core.
        readout_type: "gaussian" or "factorised".
        readout_dict: options of the readout.
        use_gru: whether there is a ConvGRU between core and readout.
        gru_dict: options of the ConvGRU.
        use_shifter: whether gaze shifts the readout.
        shifter_type: "MLP" or "StaticAffine".
        shifter_dict: options of the shifter.
        elu_offset: ignored, with a warning unless it is 0: ``make_video_model`` takes it and does
            not pass it on.

    Raises:
        UserError: an option is not supported, or options and tensors do not fit; the message names
            the tensors and their shapes.
    """
    if elu_offset:
        text = f"elu_offset = {elu_offset} is ignored, as make_video_model ignores it"
        warnings.warn(text, stacklevel=2)
    state = StateDict(state_dict)
    gru = (gru_dict or {}) if use_gru else None
    try:
        core, core_weights, stats = read_core(core_type, core_dict, state, gru)
    except ValueError as error:  # raised by a core that checks its fields
        raise UserError(f"core_dict: {error}") from None
    features = (core.recurrence and core.recurrence.channels) or core.maps
    readout, readout_weights, neurons, sessions = read_readout(
        readout_type, readout_dict, state, features=features
    )
    weights = {"core": core_weights, "readout": readout_weights}
    shifter = None
    if use_shifter:
        shifter, weights["shifter"] = read_shifter(shifter_type, shifter_dict, state, sessions)
    state.check_all_taken()
    model = Model(core, readout, shifter)
    return TrainedModel(model, Params(weights, stats), neurons, sessions)
