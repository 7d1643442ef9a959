"""Make ``sensorium_jax/simulate/calibration.npz``: what the simulated mice are made to look like.

    python data_prep/calibration.py --statistics STATISTICS.npz --tuning TUNING.npz \\
        --coordinates COORDINATES.npz --out sensorium_jax/simulate/calibration.npz

The three files gather metadata of the ten mice that bryanlimy/ViV1T-closed-loop publishes (commit
d2cbafd, MIT, see calibration.txt beside the result). By mouse letter they hold

    STATISTICS   A/response_{mean,std,max,median} [N], A/behavior_{mean,std} [2],
                 A/pupil_center_{mean,std} [2], A/video_{mean,std} []
    TUNING       B/OSI, B/DSI [N], for the mice that saw drifting Gabors and whose responses to
                 them are public
    COORDINATES  A [N 3] micrometres

Of every mouse 512 neurons are kept, chosen so that they stand for all of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from sensorium_jax.cli.programs import exit_code
from sensorium_jax.errors import UserError
from sensorium_jax.files import whole_file

NEURONS = 512  # kept of every mouse
DRAWS = 100  # of which the best is kept
LETTERS = "ABCDEFGHIJ"


def main(argv: list[str] | None = None) -> int:
    """Run the program; 0 when the table is written, 2 for bad input."""
    flags = _parser().parse_args(argv)
    return exit_code(lambda: _write(flags))


def _write(flags: argparse.Namespace) -> int:
    sources = [_load(path) for path in (flags.statistics, flags.tuning, flags.coordinates)]
    table, distance = _table(*sources)
    with whole_file(Path(flags.out)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **table)
    size = Path(flags.out).stat().st_size
    print(f"{flags.out}: {size / 1000:.0f} kB; from all neurons at most {distance:.3f} (KS)")
    return 0


def _table(statistics, tuning, coordinates) -> tuple[dict[str, np.ndarray], float]:
    """The arrays of the table, and how far the kept neurons' distributions are from all."""
    mice, worst = [], 0.0
    for letter in LETTERS:
        columns = {
            name: statistics[f"{letter}/response_{name}"]
            for name in ("mean", "std", "max", "median")
        }
        for name in ("OSI", "DSI"):
            unknown = np.full(len(columns["mean"]), np.nan, np.float32)
            columns[name.lower()] = tuning.get(f"{letter}/{name}", unknown)
        rows, distance = _stand_ins(columns)
        worst = max(worst, distance)
        mouse = {name: values[rows] for name, values in columns.items()}
        mice.append(mouse | {"position_um": coordinates[letter][rows].astype(np.int16)})
    table = {name: np.stack([mouse[name] for mouse in mice]) for name in mice[0]}
    for name in ("behavior", "pupil_center", "video"):
        pairs = [
            [statistics[f"{letter}/{name}_{moment}"] for moment in ("mean", "std")]
            for letter in LETTERS
        ]
        table[name] = np.array(pairs, np.float32)  # [mice 2 ...] mean, std
    return {"mouse": np.array(list(LETTERS))} | table, worst


def _stand_ins(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """Rows whose distributions are nearest to all rows': one of each 512th by mean response."""
    order = np.argsort(columns["mean"])
    edges = np.linspace(0, len(order), NEURONS + 1).astype(int)
    known = [values for values in columns.values() if np.isfinite(values).all()]
    known += [columns["std"] / columns["mean"], columns["max"] / columns["std"]]
    best, least = order, np.inf
    for seed in range(DRAWS):
        rows = order[np.random.default_rng(seed).integers(edges[:-1], edges[1:])]
        worst = max(ks_2samp(values[rows], values).statistic for values in known)
        if worst < least:
            best, least = rows, worst
    return best, least


def _load(path: str) -> dict[str, np.ndarray]:
    try:
        return dict(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f"expected an .npz file at {path}, got: {error}; check the path") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("statistics", "tuning", "coordinates"):
        parser.add_argument(f"--{name}", required=True, metavar="NPZ", help=f"see {name.upper()}")
    parser.add_argument("--out", required=True, metavar="NPZ", help="the table to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
