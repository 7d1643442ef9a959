"""Is a file what the benchmark asks for? Read a trial at a time, and scored where that can be."""

from __future__ import annotations

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
from sensorium_jax.submission.files import COLUMNS, TIERS, parquet, submitted

_READ_BYTES = 1 << 20  # of a column at a time
SCALE = 10  # mean predictions further than this factor from mean responses are in other units


class Checked(NamedTuple):
    """What a sound file holds."""

    tier: str
    trials: int
    window: str  # see ``protocol.WINDOWS``
    warnings: tuple[str, ...]
    correlation: dict[str, float]  # session -> single-trial correlation, where responses are public
    constant: dict[str, int]  # session -> neurons of these whose prediction or response is constant


class _Row(NamedTuple):
    mouse: str
    number: int
    prediction: np.ndarray  # [N T]
    ids: np.ndarray  # [N]


def check(path: Path, recordings: Recordings) -> list[Checked]:
    """Check a submission's zip, or one of its parquet files, against the store it is about.

    Raises:
        UserError: the first thing that the benchmark would not take, with the file and trial.
    """
    try:
        path.stat()  # which says so if there is no such file
        if not zipfile.is_zipfile(path):
            return [_check_file(path, _tier(path.name, path.name), path.name, recordings)]
        checked = []
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            for name in archive.namelist():
                where = f"{path.name}: {name}"
                tier = _tier(name, where)
                file = Path(archive.extract(name, folder))  # a zip is slow to read here and there
                checked.append(_check_file(file, tier, where, recordings))
                file.unlink()
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if is_full_disk(error):  # where the zip is unpacked
            raise
        raise UserError(f"expected a submission, {path} cannot be read ({error})") from None
    tracks = [sorted(tiers) for tiers in protocol.TRACKS.values()]
    if sorted(c.tier for c in checked) not in tracks:
        raise UserError(
            f"expected the live and the final file of one track in {path.name}, found "
            f"{', '.join(c.tier for c in checked) or 'none'}; write the zip again"
        )
    return checked


def _tier(name: str, where: str) -> str:
    if name not in TIERS:
        raise UserError(f"expected a file named {' or '.join(TIERS)}, got {where}; rename it")
    return TIERS[name]


def _check_file(path: Path, tier: str, where: str, recordings: Recordings) -> Checked:
    sessions = submitted(recordings, tier)
    wanted = {
        (recordings.session_names[s], int(recordings.trials(s).number[row])): (s, int(row))
        for s in sessions
        for row in recordings.rows(s, tier)
    }
    meters = {s: _Meter(recordings, s) for s in sessions}
    missing, left_out = dict(wanted), set()
    for row in _rows(path, where):
        here = f"{where}, trial {row.number} of {row.mouse}"
        if (row.mouse, row.number) not in wanted:
            raise UserError(
                f"expected only trials of {tier}, got one that the store has not: {here}; "
                "predict those that recordings.rows names"
            )
        if missing.pop((row.mouse, row.number), None) is None:
            raise UserError(f"expected each trial once, found another row of {here}; remove it")
        session, position = wanted[row.mouse, row.number]
        left_out.add(meters[session].add(position, row, here))
    if missing:
        mouse, number = next(iter(missing))
        raise UserError(
            f"expected {len(wanted)} trials in {where}, {len(missing)} are missing, such as "
            f"{number} of {mouse}; predict them too"
        )
    if len(left_out) > 1:
        raise UserError(
            f"expected one window of frames in {where}, found trials with the last frame and "
            "trials without; predict all alike"
        )
    scores = {m.name: m.correlation() for m in meters.values() if m.scored}
    return Checked(
        tier,
        len(wanted),
        next(name for name, n in protocol.WINDOWS.items() if n in left_out),
        tuple(warning for meter in meters.values() for warning in meter.warnings(where)),
        {name: float(score.value.mean()) for name, score in scores.items()},
        {name: int(score.constant.sum()) for name, score in scores.items()},
    )


def _rows(path: Path, where: str) -> Iterator[_Row]:
    """Row by row, and page by page where all rows are in one group, as a data frame writes them."""
    pa, pq = parquet()
    try:
        source = pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES)
        found = source.schema_arrow.names
        absent = [column for column in COLUMNS if column not in found]
        if absent:
            raise UserError(
                f"expected the columns {', '.join(COLUMNS)} in {where}, found {', '.join(found)}; "
                "write it again"
            )
        _check_types(source.schema_arrow, where)
        for batch in source.iter_batches(batch_size=1, columns=list(COLUMNS)):
            yield _row(*(batch.column(column)[0] for column in COLUMNS), where)
    except pa.ArrowException as error:
        first = str(error).splitlines()[0]
        raise UserError(f"expected parquet in {where}, it cannot be read ({first})") from None


def _check_types(schema: Any, where: str) -> None:
    """Of columns that are lists; the others are looked at row by row."""
    pa, _ = parquet()

    def items(kind: Any) -> Any:
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return kind.value_type if lists else pa.null()

    prediction, ids = (schema.field(name).type for name in COLUMNS[2:])
    number = items(items(prediction))
    if not (pa.types.is_floating(number) or pa.types.is_integer(number)):
        raise UserError(
            f"expected lists of neurons, each a list of numbers, as prediction in {where}, found "
            f"{prediction}; write [N T]"
        )
    if not pa.types.is_integer(items(ids)):
        raise UserError(f"expected lists of whole numbers as neuron_ids in {where}, found {ids}")


def _row(mouse: Any, number: Any, prediction: Any, ids: Any, where: str) -> _Row:
    """One row from pyarrow scalars; trial "1.npy", as the README has it, is trial 1."""
    trial = str(number.as_py()).removesuffix(".npy")
    if not trial.isdecimal():
        raise UserError(f"expected file numbers as trial_indices in {where}, got {trial!r}")
    here = f"{where}, trial {trial} of {mouse.as_py()}"
    neurons = prediction.values
    lengths = set() if neurons is None else set(neurons.value_lengths().to_pylist())
    if len(lengths) != 1 or None in lengths:
        raise UserError(
            f"expected a list of neurons, each a list of as many frames, as prediction of {here}; "
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
        # What a neuron's mean is in the scorer's units, in the middle of a clip.
        self._expected = float((statistics.mean[session, :, :n] / self._std).mean())
        self._sum, self._values = 0.0, 0
        self._score = SingleTrialCorrelation(n)
        self.scored = 0

    def add(self, row: int, trial: _Row, here: str) -> int:
        """Check a trial; the number of frames that it leaves out at its end."""
        if len(trial.prediction) != self.neurons:
            raise UserError(
                f"expected {self.neurons} neurons in {here}, got {len(trial.prediction)}; "
                "predict every neuron of the mouse, as [N T]"
            )
        if not np.array_equal(trial.ids, self._ids):
            same = np.array_equal(np.sort(trial.ids), np.sort(self._ids))
            found = "those in another order" if same else "others"
            raise UserError(f"expected the neuron_ids of the recording in {here}, got {found}")
        table = self._session.trials
        length = min(int(table.frames[row]), protocol.CLIP_FRAMES)
        frames = trial.prediction.shape[1]
        left_out = length - protocol.SKIP_FRAMES - frames
        if left_out not in protocol.WINDOWS.values():
            full = length - protocol.SKIP_FRAMES
            raise UserError(
                f"expected {full} or {full - 1} frames in {here}, got {frames}; "
                f"predict those after the first {protocol.SKIP_FRAMES}, of at most "
                f"{protocol.CLIP_FRAMES}"
            )
        if not np.isfinite(trial.prediction).all():
            bad = int((~np.isfinite(trial.prediction)).any(1).sum())
            raise UserError(f"expected numbers in {here}, {bad} neurons have NaN or infinite ones")
        self._sum += float(trial.prediction.sum())
        self._values += trial.prediction.size
        if table.labelled[row]:
            self._add_score(row, trial.prediction.T, str(table.clip[row]))
        return left_out

    def _add_score(self, row: int, prediction: np.ndarray, clip: str) -> None:
        stop = protocol.SKIP_FRAMES + len(prediction)
        response = self._session.read(row, protocol.SKIP_FRAMES, stop).response
        frames = np.minimum(np.arange(protocol.SKIP_FRAMES, stop), len(self._std) - 1)
        self._score.add(clip, response / self._std[frames], prediction)
        self.scored += 1

    def correlation(self) -> Correlation:
        """Single-trial correlations: [N]."""
        return self._score.correlation()

    def warnings(self, where: str) -> Iterator[str]:
        """What is allowed, and hardly meant."""
        mean = self._sum / max(1, self._values)
        if not self._expected / SCALE < mean < self._expected * SCALE:
            yield (
                f"{where}: predictions for {self.name} are {mean:.3g} on average, responses in "
                f"the scorer's units about {self._expected:.3g}; divide by the released std"
            )
