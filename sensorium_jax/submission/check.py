"""Check of submission files: read trial by trial, and scored where responses are public."""

from __future__ import annotations

import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError, is_full_disk
from sensorium_jax.scores.correlation import Correlation, SingleTrialCorrelation
from sensorium_jax.submission.files import COLUMNS, TIERS, parquet, sessions_to_predict

_READ_BYTES = 1 << 20  # of a column that are read at a time
DAMAGE = OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError  # of zips
SCALE = 10  # largest ratio of mean predictions and mean responses in the same units


class Checked(NamedTuple):
    """The result for a valid file."""

    tier: str
    trials: int  # number of trials
    window: str  # see ``protocol.WINDOWS``
    warnings: tuple[str, ...]
    correlation: dict[str, float]  # single-trial correlation of sessions with public responses
    constant: dict[str, int]  # of the same sessions: neurons with constant prediction or response


class _Row(NamedTuple):
    mouse: str
    number: int
    prediction: np.ndarray  # [N T]
    ids: np.ndarray  # [N]


def check(path: Path, recordings: Recordings) -> list[Checked]:
    """Check a submission's zip, or one of its parquet files, against the store of its mice.

    Args:
        path: the zip or parquet file.
        recordings: the sessions of the store.

    Returns:
        One result for each file.

    Raises:
        UserError: the first error for which the benchmark would reject the file, with its trial.

    Examples:
        >>> check(Path("main.zip"), recordings=None)
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected a submission, main.zip cannot be read (...)
    """
    try:
        path.stat()  # raises OSError if there is no such file
        if not zipfile.is_zipfile(path):
            return [_check_file(path, _tier(path.name, path.name), path.name, recordings)]
        checked = []
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            for name in archive.namelist():
                source = f"{path.name}: {name}"
                tier = _tier(name, source)
                file = Path(archive.extract(name, folder))  # random access in a zip is slow
                checked.append(_check_file(file, tier, source, recordings))
                file.unlink()
    except DAMAGE as error:
        if is_full_disk(error):  # of the temporary folder
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"expected a submission, {path} cannot be read ({reason})") from None
    tracks = [sorted(tiers) for tiers in protocol.TRACKS.values()]
    if sorted(c.tier for c in checked) not in tracks:
        raise UserError(
            f"expected the live and the final file of one track in {path.name}, found "
            f"{', '.join(c.tier for c in checked) or 'none'}; write the zip again"
        )
    return checked


def _tier(name: str, source: str) -> str:
    if name not in TIERS:
        raise UserError(f"expected a file named {' or '.join(TIERS)}, got {source!r}; rename it")
    return TIERS[name]


def _check_file(path: Path, tier: str, source: str, recordings: Recordings) -> Checked:
    """Check one parquet file; ``source`` names it in errors."""
    sessions = sessions_to_predict(recordings, tier)
    expected = {  # (mouse, file number) -> (session, row of its trial table)
        (recordings.session_names[s], int(recordings.trials(s).number[row])): (s, int(row))
        for s in sessions
        for row in recordings.rows(s, tier)
    }
    meters = {s: _Meter(recordings, s) for s in sessions}
    missing, cuts = dict(expected), set()
    for row in _rows(path, source):
        label = f"{source}, trial {row.number} of {row.mouse}"
        if (row.mouse, row.number) not in expected:
            raise UserError(
                f"expected only trials of {tier}, got one that the store has not: {label}; "
                "predict those that recordings.rows names"
            )
        if missing.pop((row.mouse, row.number), None) is None:
            raise UserError(f"expected each trial once, found another row of {label}; remove it")
        session, table_row = expected[row.mouse, row.number]
        cuts.add(meters[session].add(table_row, row, label))
    if missing:
        mouse, number = next(iter(missing))
        raise UserError(
            f"expected {len(expected)} trials in {source}, {len(missing)} are missing, such as "
            f"{number} of {mouse}; predict them too"
        )
    if len(cuts) > 1:
        raise UserError(
            f"expected one window of frames in {source}, found trials with the last frame and "
            "trials without; predict all alike"
        )
    scores = {m.name: m.correlation() for m in meters.values() if m.scored}
    return Checked(
        tier,
        len(expected),
        next(name for name, n in protocol.WINDOWS.items() if n in cuts),
        tuple(warning for meter in meters.values() for warning in meter.warnings(source)),
        {name: float(score.value.mean()) for name, score in scores.items()},
        {name: int(score.constant.sum()) for name, score in scores.items()},
    )


def _rows(path: Path, source: str) -> Iterator[_Row]:
    """The rows of a file, one at a time, in bounded memory even if all are in one row group."""
    pa, pq = parquet()
    try:
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES)
        columns = file.schema_arrow.names
        if any(column not in columns for column in COLUMNS):
            raise UserError(
                f"expected the columns {', '.join(COLUMNS)} in {source}, found "
                f"{', '.join(columns)}; write it again"
            )
        _check_types(file.schema_arrow, source)
        for batch in file.iter_batches(batch_size=1, columns=list(COLUMNS)):
            mouse, number, prediction, ids = (batch.column(column)[0] for column in COLUMNS)
            yield _row(mouse, number, prediction, ids, source)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"expected parquet in {source}, it cannot be read ({reason})") from None


def _check_types(schema: Any, source: str) -> None:
    """Check the types of the columns of lists; the others are checked row by row."""
    pa, _ = parquet()

    def items(kind: Any) -> Any:
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return kind.value_type if lists else pa.null()

    prediction, ids = (schema.field(name).type for name in COLUMNS[2:])
    number = items(items(prediction))
    if not (pa.types.is_floating(number) or pa.types.is_integer(number)):
        raise UserError(
            f"expected lists of neurons, each a list of numbers, as prediction in {source}, found "
            f"{prediction}; write [N T]"
        )
    if not pa.types.is_integer(items(ids)):
        raise UserError(f"expected lists of whole numbers as neuron_ids in {source}, found {ids}")


def _row(mouse: Any, number: Any, prediction: Any, ids: Any, source: str) -> _Row:
    """One row from pyarrow scalars; "1.npy", as in the starter kit's README, is trial 1."""
    trial = str(number.as_py()).removesuffix(".npy")
    if not trial.isdecimal():
        raise UserError(f"expected file numbers as trial_indices in {source}, got {trial!r}")
    label = f"{source}, trial {trial} of {mouse.as_py()}"
    neurons = prediction.values
    lengths = set() if neurons is None else set(neurons.value_lengths().to_pylist())
    if neurons is None or len(lengths) != 1 or None in lengths:
        raise UserError(
            f"expected a list of neurons, each a list of as many frames, as prediction of {label}; "
            "write [N T]"
        )
    values = np.asarray(neurons.flatten(), np.float64).reshape(len(neurons), *lengths)
    units = np.asarray([] if ids.values is None else ids.values)
    return _Row(mouse.as_py(), int(trial), values, units)


class _Meter:
    """Checks and scores the trials of one mouse."""

    def __init__(self, recordings: Recordings, session: int):
        self._session = recordings.sessions[session]
        n = self.neurons = self._session.neurons
        self.name = recordings.session_names[session]
        self._ids = self._session.load("unit_ids")
        statistics = recordings.statistics("released").response
        self._std = statistics.std[session, :, :n]  # [f N]
        # Mean response over neurons and frames, in the scorer's units.
        self._expected = float((statistics.mean[session, :, :n] / self._std).mean())
        self._sum, self._values = 0.0, 0
        self._score = SingleTrialCorrelation(n)
        self.scored = 0  # number of trials

    def add(self, row: int, trial: _Row, label: str) -> int:
        """Check a trial, and return the number of frames that it leaves out at its end."""
        if len(trial.prediction) != self.neurons:
            raise UserError(
                f"expected {self.neurons} neurons in {label}, got {len(trial.prediction)}; "
                "predict every neuron of the mouse, as [N T]"
            )
        if not np.array_equal(trial.ids, self._ids):
            permuted = np.array_equal(np.sort(trial.ids), np.sort(self._ids))
            ids = "those in another order" if permuted else "others"
            raise UserError(f"expected the neuron_ids of the recording in {label}, got {ids}")
        table = self._session.trials
        length = min(int(table.frames[row]), protocol.CLIP_FRAMES)
        frames = trial.prediction.shape[1]
        cut = length - protocol.SKIP_FRAMES - frames
        if cut not in protocol.WINDOWS.values():
            full = length - protocol.SKIP_FRAMES
            raise UserError(
                f"expected {full} or {full - 1} frames in {label}, got {frames}; "
                f"predict those after the first {protocol.SKIP_FRAMES}, of at most "
                f"{protocol.CLIP_FRAMES}"
            )
        if not np.isfinite(trial.prediction).all():
            bad = int((~np.isfinite(trial.prediction)).any(1).sum())
            raise UserError(f"expected numbers in {label}, {bad} neurons have NaN or infinite ones")
        self._sum += float(trial.prediction.sum())
        self._values += trial.prediction.size
        if table.labelled[row]:
            self._add_score(row, trial.prediction.T, str(table.clip[row]))
        return cut

    def _add_score(self, row: int, prediction: np.ndarray, clip: str) -> None:
        stop = protocol.SKIP_FRAMES + len(prediction)
        response = self._session.read(row, protocol.SKIP_FRAMES, stop).response
        frames = np.minimum(np.arange(protocol.SKIP_FRAMES, stop), len(self._std) - 1)
        self._score.add(clip, response / self._std[frames], prediction)
        self.scored += 1

    def correlation(self) -> Correlation:
        """Single-trial correlations: [N]."""
        return self._score.correlation()

    def warnings(self, source: str) -> Iterator[str]:
        """Predictions that are valid, but probably in other units."""
        mean = self._sum / max(1, self._values)
        if not self._expected / SCALE < mean < self._expected * SCALE:
            yield (
                f"{source}: predictions for {self.name} are {mean:.3g} on average, responses in "
                f"the scorer's units about {self._expected:.3g}; divide by the released std"
            )
