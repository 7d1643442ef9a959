"""Conversion of starter kit checkpoints to folders of weights. The only file that uses PyTorch."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.errors import UserError
from sensorium_jax.files import read_arrays, read_json
from sensorium_jax.runs.weights import TrainedModel
from sensorium_jax.torch_import import from_starter_kit
from sensorium_jax.torch_import.recognise import recognise

# Arguments of make_video_model that have no effect on the model.
UNUSED = {"dataloaders", "seed", "deeplake_ds", "nonlinearity_type", "nonlinearity_config"}
FIELDS = ("videos", "behavior", "pupil_center", "output")


def convert(
    checkpoint: Path,
    out: Path,
    *,
    config: Path | None = None,
    reference: Path | None = None,
    session: str | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Convert a checkpoint into a folder of weights, and print the recognised and assumed options.

    Args:
        checkpoint: a state dict, .pth or .npz.
        out: a new folder for the weights.
        config: JSON file of make_video_model's arguments; None: recognised from the tensors.
        reference: .npz file with inputs and the output of the PyTorch model, to compare with.
        session: session of the reference output; None: the first.
        tolerance: largest difference, relative to the largest entry.

    Raises:
        UserError: the checkpoint is missing or malformed, the options do not fit its tensors, or
            the output differs from the reference.
    """
    state = read_state_dict(checkpoint)
    if config:
        constructor = read_constructor(config)
    else:
        constructor, assumed = recognise(state)
        print(f"Recognised: {json.dumps({k: v for k, v in constructor.items() if v})}")
        print(f"Assumed, as in the published models (--config says otherwise): {assumed}")
    if offset := constructor.pop("elu_offset", 0):
        print(f"Ignored: elu_offset = {offset}, as make_video_model ignores it")
    m = from_starter_kit(state, **constructor)
    check_runs(m)
    if reference:
        compare(m, reference, session=session, tolerance=tolerance)
    m.save(out, constructor=constructor)
    neurons = int(m.neurons.mask.sum())
    print(f"{neurons} neurons of {len(m.sessions)} sessions, written to {out}")


def check_runs(m: TrainedModel) -> None:
    """Predict a few frames of grey, so that no weights are written that cannot run.

    Raises:
        UserError: the weights do not fit each other on films of 36 x 64 pixels.
    """
    core = m.model.core
    frames = core.warmup_frames + 2
    channels = 1 + 2 * core.behavior + 2 * core.gaze
    video = np.zeros((1, channels, frames, protocol.HEIGHT, protocol.WIDTH), np.float32)
    signals = np.zeros((2, 1, 2, frames), np.float32)
    for session in m.sessions:
        m.predict(video, *signals, session=session)


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, from an .npz file or a PyTorch checkpoint; no code in it is executed.

    Raises:
        UserError: the file is missing, or is not a state dict.
    """
    if not path.is_file():
        raise UserError(f"expected a checkpoint in {path}, found no file")
    if path.suffix == ".npz":
        return _read_npz(path)
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            f"expected PyTorch, to read {path}, found none; pip install 'sensorium_jax[bench]', or "
            "give the state dict as .npz"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"expected a state dict of tensors in {path}, which PyTorch cannot read without "
            f"executing code ({reason}); save model.state_dict() alone"
        ) from None
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise UserError(f"expected a state dict, name -> tensor, in {path}, found other values")
    return {name: tensor.float().numpy() for name, tensor in content.items()}


def read_constructor(path: Path) -> dict[str, Any]:
    """Arguments of ``from_starter_kit`` from a JSON file.

    Raises:
        UserError: the file is missing or damaged, or an argument is unknown or missing.
    """
    arguments = read_json(path, advice="write make_video_model's arguments as JSON")
    valid = set(from_starter_kit.__kwdefaults__ or ()) | {
        "core_type",
        "core_dict",
        "readout_type",
        "readout_dict",
    }
    if not isinstance(arguments, dict):
        raise UserError(f"expected a JSON object in {path}, found {type(arguments).__name__}")
    unknown = set(arguments) - valid - UNUSED
    missing = {"core_type", "core_dict", "readout_type", "readout_dict"} - set(arguments)
    if unknown or missing:
        reason = f"found {sorted(unknown)}" if unknown else f"missing {sorted(missing)}"
        raise UserError(f"expected in {path} {', '.join(sorted(valid))}; {reason}")
    return {k: v for k, v in arguments.items() if k in valid}


def compare(m: TrainedModel, path: Path, *, session: str | None, tolerance: float) -> None:
    """Compare the model with a reference output of the PyTorch model.

    Raises:
        UserError: the file is missing or incomplete, or the outputs differ.
    """
    arrays = _read_npz(path)
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        raise UserError(f"expected {', '.join(FIELDS)} in {path}, found no {missing[0]}")
    *inputs, output = (arrays[name] for name in FIELDS)
    rate = m.predict(*inputs, session=session or m.sessions[0])
    if rate.shape != output.shape:
        raise UserError(
            f"expected an output of shape {rate.shape} in {path}, found {output.shape}; check "
            "--session, and the padding and strides in --config"
        )
    error = float(np.abs(rate - output).max() / np.abs(output).max())
    if not error <= tolerance:
        raise UserError(
            f"expected the output in {path} within {tolerance:g} of its largest entry, found a "
            f"difference of {error:.2g}; give the trained model's own options in --config"
        )
    print(f"Equal to the reference output: largest relative difference {error:.1e}")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except (OSError, ValueError) as error:
        raise UserError(f"expected arrays in {path}, which cannot be read ({error})") from None
