"""Cut the small golden arrays of this folder out of the full set computed with the reference code.

    python tests/golden/make.py FOLDER    with a_gru_equivariant.npz and components.npz in FOLDER

The full set was made with the public PyTorch code: ecker-lab/sensorium_2023 49547d9,
sinzlab/neuralpredictors 43faede, torch 2.13 on CPU. It holds numbers, none of that code.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def gru_baseline(folder: Path) -> dict[str, np.ndarray]:
    full = np.load(folder / "a_gru_equivariant.npz")
    kept = ("readout_mu", "loss/", "grad/", "output_eval")
    arrays = {
        k: full[k]
        for k in full
        if k.startswith(kept) or (k.startswith("param/") and ".Rs." not in k and ".H" not in k)
    }
    for name in ("core_eval", "gru_eval", "core_train"):
        arrays |= {f"{name}/{k}": full[f"{name}/{k}"] for k in ("frames", "mean_hw", "rms_hw")}
    for name in ("core_eval", "gru_eval"):
        arrays[f"{name}/sub"] = full[f"{name}/sub"][:1]  # one trial: [1 C frames h w]
    for name in ("responses", "behavior", "pupil_center"):
        arrays[f"input/{name}"] = full[f"input/{name}"]
    arrays["input/videos"] = full["input/videos"][:, 0]  # the other channels repeat the behaviour
    return arrays


def components(folder: Path) -> dict[str, np.ndarray]:
    full = np.load(folder / "components.npz")
    unused = ("viv1t/", "softplus/", "cycler/", "early_stopping/", "gmp/")
    return {k: full[k] for k in full if not k.startswith(unused)}


if __name__ == "__main__":
    source = Path(sys.argv[1])
    for name, cut in (("gru_baseline", gru_baseline), ("components", components)):
        np.savez_compressed(HERE / f"{name}.npz", **cut(source))
        print(name, (HERE / f"{name}.npz").stat().st_size)
