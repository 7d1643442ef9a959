"""From a trained model to the zip that is uploaded, a trial at a time."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError, hint
from sensorium_jax.files import whole_file
from sensorium_jax.runs.ensembles import Ensemble
from sensorium_jax.scores.evaluate import frames_cut
from sensorium_jax.scores.tally import PredictedTrial
from sensorium_jax.submission.files import COLUMNS, TRACKS, parquet, submitted

BROTLI_LEVEL = 1  # higher ones take minutes and save a few percent (benchmarks/submission.py)
# Of the 23 that a float has: half the file, so that the bonus track stays below the upload limit.
# The relative error, 2^-13, is far below what could move a correlation.
MANTISSA_BITS = 12


def write(
    trained: Ensemble,
    track: str,
    out: Path,
    *,
    window: str = "starter",
    on_trial: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Path:
    """Write ``out/TRACK.zip``, mouse by mouse, trial by trial: memory holds a few trials.

    Predictions are over the released std of every neuron and frame, as the official loader's
    responses are (competition site, 2023-09-15).

    Args:
        trained: what predicts; ``ensemble(workdir)`` opens it.
        track: "main" or "bonus".
        out: a folder.
        window: "starter" predicts frames 50 to 299, "winners" 50 to 298.
        on_trial: told of the session, its trials done, and its trials in all.

    Returns:
        The zip.

    Raises:
        UserError: another track or window, no trials of a tier, NaN predictions, or no pyarrow.
    """
    if track not in TRACKS:
        raise UserError(f"no track {track!r}; {hint(track, TRACKS)}")
    frames_cut(window)
    parquet()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{track}.zip"
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{track}-") as folder:
        files = {tier: Path(folder) / name for tier, name in TRACKS[track].items()}
        for tier, file in files.items():
            _write_tier(trained, tier, file, window, on_trial)
        with whole_file(path) as beside, zipfile.ZipFile(beside, "w") as archive:  # not compressed
            for file in files.values():
                archive.write(file, file.name)
    return path


def _write_tier(trained: Ensemble, tier: str, path: Path, window: str, on_trial: Callable) -> None:
    recordings = trained.recordings
    sessions = submitted(recordings, tier)
    if not sessions:
        raise UserError(
            f"expected trials of {tier} in {recordings.store.path}, found none; "
            "submit what the store has, or convert the mice that have them"
        )
    with TrialWriter(path) as writer:
        for s in sessions:
            ids, total = recordings.sessions[s].load("unit_ids"), len(recordings.rows(s, tier))
            trials = trained.predictions(trained.params, tier, window=window, sessions=[s])
            for done, trial in enumerate(trials, 1):
                writer.write(*_row(trial, recordings), ids)
                on_trial(f"{tier} {recordings.session_names[s]}", done, total)


def _row(trial: PredictedTrial, recordings: Recordings) -> tuple[str, int, np.ndarray]:
    number = recordings.trials(trial.session).number[trial.row]
    return recordings.session_names[trial.session], int(number), trial.prediction.T


class TrialWriter:
    """A parquet file that grows by one row group a trial.

    Floats are rounded to ``MANTISSA_BITS`` and stored byte by byte position
    (``BYTE_STREAM_SPLIT``), since sign, exponent and zeros compress and the rest does not.
    """

    def __init__(self, path: Path):
        pa, pq = parquet()
        types = pa.string(), pa.int64(), pa.list_(pa.list_(pa.float32())), pa.list_(pa.int64())
        self._schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
        self._pa = pa
        leaf = "prediction.list.element.list.element"
        self._writer: Any = pq.ParquetWriter(
            path,
            self._schema,
            compression="brotli",
            compression_level=BROTLI_LEVEL,
            use_dictionary=False,
            column_encoding={leaf: "BYTE_STREAM_SPLIT"},
            write_statistics=False,
        )

    def write(self, mouse: str, number: int, prediction: np.ndarray, ids: np.ndarray) -> None:
        """Add a trial: its prediction [N T] and unit ids [N]."""
        pa = self._pa
        n, frames = prediction.shape
        values = pa.array(_rounded(prediction).ravel())
        ends = np.arange(n + 1, dtype=np.int32) * frames
        neurons = pa.ListArray.from_arrays(pa.array(ends), values)
        row = [
            pa.array([mouse]),
            pa.array([number], pa.int64()),
            pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), neurons),
            pa.array([np.asarray(ids, np.int64)]),
        ]
        self._writer.write_table(pa.table(row, schema=self._schema))

    def __enter__(self) -> TrialWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.close()


def _rounded(x: np.ndarray) -> np.ndarray:
    """float32 numbers of ``MANTISSA_BITS``, to the nearest."""
    spare = 23 - MANTISSA_BITS
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32) + np.uint32(1 << (spare - 1))
    return (bits & np.uint32(~((1 << spare) - 1) & 0xFFFFFFFF)).view(np.float32)
