"""Make options_2d.npz and options_2d.json: cores with options that no published model has.

    python tests/golden/make_options.py        needs torch and neuralpredictors 0.3.0

That version predates Python 3.10 and NumPy 2, and imports torchvision for cores not used here.
"""

import collections
import collections.abc
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch

collections.Iterable = collections.abc.Iterable
for name in ("torchvision", "skimage", "skimage.transform"):
    sys.modules.setdefault(name, types.ModuleType(name))

import neuralpredictors.layers.hermite as hermite  # noqa: E402
from neuralpredictors.layers.cores import conv2d  # noqa: E402

hermite.math = types.SimpleNamespace(factorial=lambda x: math.factorial(int(x)))
FOLDER = Path(__file__).parent
NEURONS = 3
BASE = {
    "input_channels": 1,
    "hidden_channels": 4,
    "input_kern": 5,
    "hidden_kern": 3,
    "layers": 3,
    "gamma_input": 2.0,
    "gamma_hidden": 3.0,
    "laplace_padding": None,
    "input_regularizer": "LaplaceL2norm",
    "use_avg_reg": False,
    "final_nonlinearity": False,
    "pad_input": True,
}
PLAIN = "2D", conv2d.Stacked2dCore
ROTATED = "2D_equivariant", conv2d.RotationEquivariant2dCore
CASES = {
    "stack_all": (*PLAIN, {"stack": None}),
    "stack_two": (*PLAIN, {"stack": -2}),
    "depth_separable": (*PLAIN, {"stack": -1, "depth_separable": True}),
    "upsampling_1": (*ROTATED, {"stack": -1, "upsampling": 1, "num_rotations": 4}),
    "upsampling_3": (*ROTATED, {"stack": None, "upsampling": 3, "num_rotations": 4}),
}


def main():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    video = rng.normal(size=(1, 1, 2, 18, 22)).astype(np.float32)
    arrays, constructors = {"video": video}, {}
    for name, (kind, cls, changes) in CASES.items():
        options = BASE | changes
        core = randomised(cls(**options))
        with torch.no_grad():
            features = core(torch.tensor(video[0]).permute(1, 0, 2, 3)).double().numpy()
            # Version 0.3.0 cannot compute the penalty of the rotation-equivariant core.
            penalty = float(core.regularizer()) if kind == "2D" else math.nan
        maps, h, w = features.shape[1:]
        readout = {
            "spatial": rng.normal(size=(NEURONS, h, w)) / math.sqrt(h * w),
            "_features": rng.normal(size=(NEURONS, maps)) / math.sqrt(maps),
            "bias": rng.normal(size=NEURONS),
        }
        readout = {k: x.astype(np.float32) for k, x in readout.items()}
        drive = np.einsum("tchw,nhw,nc->tn", features, readout["spatial"], readout["_features"])
        drive += readout["bias"]
        state = {f"core.{k}": x.numpy() for k, x in core.state_dict().items()}
        state |= {f"readout.a.{k}": x for k, x in readout.items()}
        arrays |= {f"{name}/param/{k}": x for k, x in state.items()}
        arrays[f"{name}/output"] = np.where(drive > 0, drive + 1, np.exp(drive)).astype(np.float32)
        arrays[f"{name}/penalty"] = np.float32(penalty)
        constructors[name] = {
            "core_type": kind,
            "core_dict": options,
            "readout_type": "factorised",
            "readout_dict": {"bias": True, "normalize": False, "gamma_readout": 0.0},
        }
    np.savez_compressed(FOLDER / "options_2d.npz", **arrays)
    (FOLDER / "options_2d.json").write_text(json.dumps(constructors, indent=1) + "\n")


def randomised(core):
    """The core with random statistics, scales and offsets, in evaluation mode."""
    for part in core.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            part.weight.data.normal_(1, 0.2)
            part.bias.data.normal_(0, 0.3)
    for parameter in core.parameters():
        if parameter.requires_grad and parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return core.eval()


if __name__ == "__main__":
    main()
