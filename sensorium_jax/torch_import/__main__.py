"""Convert trained weights of the official PyTorch starter kit.

    python -m sensorium_jax.torch_import CHECKPOINT.pth --out DIR

CHECKPOINT.pth is the state dict of a model made by the starter kit's make_video_model, read with
PyTorch (pip install torch) and without executing anything in it; or the same as .npz, name ->
array, which needs no PyTorch. DIR gets weights.safetensors and config.json, which
sensorium_jax.load_weights(DIR) opens.

The architecture is recognised from the tensors. What they cannot show (strides, padding,
nonlinearities, penalties) is taken from the published models and printed; --config gives the
real thing, as a JSON file of make_video_model's arguments:

    {"core_type": "3D_factorised", "core_dict": {...}, "readout_type": "gaussian", ...}

--reference compares with an output of the PyTorch model: a .npz file with videos (B, C, T, H, W),
behavior (B, 2, T) and pupil_center (B, 2, T), normalised, and the model's output (B, T', N).
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError, one_line
from sensorium_jax.files import read_json
from sensorium_jax.torch_import import from_starter_kit
from sensorium_jax.torch_import.recognise import recognise
from sensorium_jax.weights import TrainedModel

# Arguments of make_video_model that do not reach the model it makes.
UNUSED = {"dataloaders", "seed", "deeplake_ds", "nonlinearity_type", "nonlinearity_config"}
FIELDS = ("videos", "behavior", "pupil_center", "output")


def main() -> None:
    """Run the command; bad input ends it with one line and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m sensorium_jax.torch_import",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="state dict, .pth or .npz")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the weights")
    parser.add_argument("--config", type=Path, help="JSON file of make_video_model's arguments")
    parser.add_argument("--reference", type=Path, help=".npz file with inputs and an output")
    parser.add_argument("--session", help="whose output --reference holds (default: the first)")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative (default 1e-4)")
    flags = parser.parse_args()
    try:
        convert(flags)
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)


def convert(flags: argparse.Namespace) -> None:
    """Read, map, compare, write."""
    state = read_state_dict(flags.checkpoint)
    if flags.config:
        constructor = read_constructor(flags.config)
    else:
        constructor, assumed = recognise(state)
        print(f"Recognised: {json.dumps({k: v for k, v in constructor.items() if v})}")
        print(f"Assumed, as in the published models (--config says otherwise): {assumed}")
    m = from_starter_kit(state, **constructor)
    if flags.reference:
        compare(m, flags.reference, session=flags.session, tolerance=flags.tolerance)
    m.save(flags.out, constructor=constructor)
    neurons = int(m.neurons.mask.sum())
    print(f"{neurons} neurons of {len(m.sessions)} sessions, written to {flags.out}")


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Name -> array, from a .npz file or a PyTorch checkpoint, executing nothing in it."""
    if not path.is_file():
        raise UserError(f"expected a checkpoint in {path}, found no file")
    if path.suffix == ".npz":
        return _read_npz(path)
    try:
        import torch
    except ImportError:
        raise UserError(
            f"expected PyTorch, to read {path}, found none; pip install torch, or give the "
            "state dict as .npz"
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
    """Arguments of ``from_starter_kit`` from a JSON file."""
    given = read_json(path, advice="write make_video_model's arguments as JSON")
    known = set(from_starter_kit.__kwdefaults__) | {
        "core_type",
        "core_dict",
        "readout_type",
        "readout_dict",
    }
    if not isinstance(given, dict):
        raise UserError(f"expected a JSON object in {path}, found {type(given).__name__}")
    unknown = set(given) - known - UNUSED
    missing = {"core_type", "core_dict", "readout_type", "readout_dict"} - set(given)
    if unknown or missing:
        what = f"found {sorted(unknown)}" if unknown else f"missing {sorted(missing)}"
        raise UserError(f"expected in {path} {', '.join(sorted(known))}; {what}")
    return {k: v for k, v in given.items() if k in known}


def compare(m: TrainedModel, path: Path, *, session: str | None, tolerance: float) -> None:
    """Check the model against an output of the original; ``UserError`` if they differ."""
    arrays = _read_npz(path)
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        raise UserError(f"expected {', '.join(FIELDS)} in {path}, found no {missing[0]}")
    *inputs, output = (arrays[name] for name in FIELDS)
    found = m.predict(*inputs, session=session or m.sessions[0])
    if found.shape != output.shape:
        raise UserError(
            f"expected an output of shape {found.shape} in {path}, found {output.shape}; check "
            "--session, and the padding and strides in --config"
        )
    error = float(np.abs(found - output).max() / np.abs(output).max())
    if not error <= tolerance:
        raise UserError(
            f"expected the output in {path} within {tolerance:g} of its largest entry, found a "
            f"difference of {error:.2g}; give the trained model's own options in --config"
        )
    print(f"Equal to the reference output: largest relative difference {error:.1e}")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"expected arrays in {path}, which cannot be read ({error})") from None


if __name__ == "__main__":
    main()
