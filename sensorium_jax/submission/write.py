"""Writing the zip of a submission from a trained model, trial by trial."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError, hint
from sensorium_jax.files import check_output, whole_file
from sensorium_jax.runs.ensembles import Ensemble
from sensorium_jax.scores.evaluate import frames_cut
from sensorium_jax.scores.tally import PredictedTrial
from sensorium_jax.submission.files import COLUMNS, TRACKS, parquet, sessions_to_predict

BROTLI_LEVEL = 1  # higher levels take minutes and save a few percent (benchmarks/submission.py)
# Of the 52 bits of a double's mantissa: the others are 0 and compress to nothing, so that the bonus
# track stays below the upload limit. The relative error, 2^-13, is far too small to change a
# correlation.
MANTISSA_BITS = 12
_MARK = b"written by sensorium_jax"  # comment of the zip, so that no other one is replaced


def write(
    trained: Ensemble,
    track: str,
    out: Path,
    *,
    window: str = "starter",
    on_trial: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Path:
    """Write ``out/TRACK.zip``, mouse by mouse and trial by trial, in the memory of a few trials.

    Predictions are divided by the released std of every neuron and frame, as the official loader's
    responses are (competition site, 2023-09-15).

    Args:
        trained: the model, from ``ensemble(workdir)``.
        track: "main" or "bonus".
        out: the folder of the zip.
        window: "starter" predicts frames 50 to 299, "winners" 50 to 298.
        on_trial: called with tier and session, the number of its trials done, and their total.

    Returns:
        The path of the zip.

    Raises:
        UserError: an unknown track or window, a tier without trials, NaN predictions, pyarrow is
            not installed, or the zip exists and another program wrote it.

    Examples:
        >>> write(None, "man", Path("submission"))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: no track 'man'; did you mean main?
    """
    if track not in TRACKS:
        raise UserError(f"no track {track!r}; {hint(track, TRACKS)}")
    frames_cut(window)
    parquet()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{track}.zip"
    check_output(path, _MARK)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{track}-") as folder:
        files = {tier: Path(folder) / name for tier, name in TRACKS[track].items()}
        for tier, file in files.items():
            _write_tier(trained, tier, file, window, on_trial)
        with whole_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:  # uncompressed
            for file in files.values():
                archive.write(file, file.name)
            archive.comment = _MARK
    return path


def _write_tier(trained: Ensemble, tier: str, path: Path, window: str, on_trial: Callable) -> None:
    recordings = trained.recordings
    sessions = sessions_to_predict(recordings, tier)
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
    prediction = trial.prediction / trial.released_std  # official units
    return recordings.session_names[trial.session], int(number), prediction.T


class TrialWriter:
    """Writes a parquet file, one row group for each trial.

    Columns have the types of the starter kit's files: string, int64, lists of double and of int64.
    Doubles are rounded to ``MANTISSA_BITS``, and their bytes are stored in separate streams
    (``BYTE_STREAM_SPLIT``): sign, exponent and the zeros of the mantissa compress well.
    """

    def __init__(self, path: Path):
        pa, pq = parquet()
        types = pa.string(), pa.int64(), pa.list_(pa.list_(pa.float64())), pa.list_(pa.int64())
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
        values = pa.array(_round_mantissa(prediction).ravel())
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


def _round_mantissa(x: np.ndarray) -> np.ndarray:
    """x as float64, rounded to ``MANTISSA_BITS`` of the mantissa.

    Examples:
        >>> _round_mantissa(np.array([1 + 2**-12, 1 + 2**-20])).tolist()
        [1.000244140625, 1.0]
    """
    dropped = 52 - MANTISSA_BITS
    bits = np.ascontiguousarray(x, np.float64).view(np.uint64) + np.uint64(1 << (dropped - 1))
    return ((bits >> np.uint64(dropped)) << np.uint64(dropped)).view(np.float64)
