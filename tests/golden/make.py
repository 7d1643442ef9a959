"""Cut the small golden arrays of this folder out of the full set computed with the reference code.

    python tests/golden/make.py FOLDER    with a_*.npz to e_*.npz, components and trainstep_b there

The full set was made with the public PyTorch code: ecker-lab/sensorium_2023 49547d9,
sinzlab/neuralpredictors 43faede (a, d) and a2055cd (b, c, e, trainstep_b), torch 2.13 on CPU. It
holds numbers, none of that code.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
MODELS = (
    "a_gru_equivariant",
    "b_factorised",
    "c_full3d",
    "d_gru_stacked2d",
    "e_factorised_readout",
)
KEPT = ("constructor", "data_key", "other_session_key", "float32_vs_float64")


def model(full: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights, inputs, outputs, losses, gradients; feature maps as moments over (h, w)."""
    kept = ("loss/", "grad/", "grad_data/", "output_eval")
    arrays = {k: full[k] for k in full if k.startswith(kept)}
    arrays |= {k: full[k] for k in full if k.startswith("param/") and ".rotate_hermite." not in k}
    for name in ("core_eval", "gru_eval", "core_train"):
        moments = [f"{name}/{k}" for k in ("mean_hw", "rms_hw")]
        arrays |= {k: full[k] for k in moments if k in full}
    return arrays | inputs(full, "input/")


def inputs(full: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The inputs; of the video only the first channel, as the others repeat the behaviour."""
    names = ("responses", "behavior", "pupil_center")
    arrays = {f"{prefix}{name}": full[f"{prefix}{name}"] for name in names}
    return arrays | {f"{prefix}videos": full[f"{prefix}videos"][:, 0]}


def components(full: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    unused = ("viv1t/", "softplus/", "cycler/", "early_stopping/", "gmp/")
    return {k: full[k] for k in full if not k.startswith(unused)}


def trainstep(full: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first of its two steps."""
    kept = ("param0/", "param1/", "micro0/", "micro1/", "grad_step1/")
    arrays = {k: full[k] for k in full if k.startswith(kept) and not k.endswith("/grid")}
    for session in dict.fromkeys(k.split("/")[1] for k in full if k.startswith("input/")):
        arrays |= inputs(full, f"input/{session}/")
    return arrays


def main(source: Path) -> None:
    cuts = dict.fromkeys(MODELS, model) | {"components": components, "trainstep_b": trainstep}
    for name, cut in cuts.items():
        with np.load(source / f"{name}.npz") as full:
            np.savez_compressed(HERE / f"{name}.npz", **cut(full))
        print(name, (HERE / f"{name}.npz").stat().st_size)
    records = {name: json.loads((source / f"{name}.json").read_text()) for name in MODELS}
    kept = {name: {k: record[k] for k in KEPT} for name, record in records.items()}
    (HERE / "models.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
