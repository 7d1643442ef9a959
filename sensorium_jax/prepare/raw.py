"""The raw layout of the release, as a folder or a zip, read trial by trial.

    <session>/data/{videos (H W T), responses (N T), behavior (2 T), pupil_center (2 T)}/<i>.npy
    <session>/meta/neurons/{unit_ids (N), cell_motor_coordinates (N 3)}.npy
    <session>/meta/trials/tiers.npy                                            index = <i>
    <session>/meta/statistics/{videos,responses,behavior,pupil_center}/all/{mean,std}.npy

T differs between sessions; frames past a trial's end are NaN. Withheld responses are zeros of full
length. (Starter kit, README; counts over the ten mice's public metadata.) Simulated mice also have
``<session>/truth``, with their true rates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Trial
from sensorium_jax.errors import UserError
from sensorium_jax.files import read_array
from sensorium_jax.prepare.gaps import Gaps
from sensorium_jax.prepare.raw_files import (
    FETCH,
    TIERS_FILE,
    FolderFiles,
    ZipFiles,
    is_zip,
    session_roots,
)
from sensorium_jax.prepare.recording import RawTrial

FOLDERS = {
    "video": "videos",
    "behavior": "behavior",
    "pupil_center": "pupil_center",
    "response": "responses",
}
_FETCH_OR_LEAVE_OUT = "fetch that session again, or leave the trial out (--leave-out)"


class RawSession:
    """One session in the raw layout: a folder, or the zip of one."""

    def __init__(
        self,
        path: Path,
        *,
        root: str | None = None,
        name: str | None = None,
        fill_gaps: float | None = None,
    ):
        """Open a session.

        Args:
            path: a session folder, or a zip.
            root: the session's folder in a zip of several.
            name: another name for the session.
            fill_gaps: gaps in behaviour that are interpolated, in seconds at most.

        Raises:
            UserError: what describes the session is missing, damaged or of another kind.
        """
        self._gaps = Gaps(fill_gaps)
        self.choices = self._gaps.choices
        self._files = ZipFiles(path, root) if is_zip(path) else FolderFiles(path)
        self.source, self.name = path, name or self._files.name
        self.recorded_name = self._files.name
        self.tiers = self._strings(TIERS_FILE)
        self.unit_ids = self._read_unit_ids()
        self.position_um = self._read_positions()
        self.numbers = np.flatnonzero(self.tiers != protocol.MISSING)
        self._check_files()
        self.frames = self._first("behavior").shape[-1]
        self.tracks_pupil = any(_has_signal(x) for x in self._sound("pupil_center"))
        self._lacks_size = not self.tracks_pupil and not any(
            _has_signal(x[:1]) for x in self._sound("behavior")
        )
        self._unequal: list[int] = []  # trials whose fields end at different frames

    @property
    def simulated(self) -> bool:
        """Whether the mouse is simulated: the session has a folder ``truth``."""
        return self._files.has("truth/trials.json")

    def check(self, numbers: Iterable[int]) -> None:
        """Raise ``UserError`` unless these trials have files in all fields."""
        expected = set(numbers)
        for field, folder in FOLDERS.items():
            missing = sorted(expected - self._files.numbers(f"data/{folder}"))
            if missing:
                raise UserError(
                    f"expected {self._path(self._file_name(field, missing[0]))}, which is missing "
                    f"({len(missing)} of {len(expected)} {folder} are); {_FETCH_OR_LEAVE_OUT}"
                )

    def read(self, number: int) -> RawTrial:
        """One trial, by file number: video in grey levels, the other fields float32.

        Raises:
            UserError: a file is missing, damaged or of another shape than the others, or has NaN
                before its last valid frame.
        """
        digest = hashlib.sha256()
        raw = {}
        for field, shape in self._shapes().items():
            name = self._file_name(field, number)
            data = self._files.read(name)
            digest.update(hashlib.sha256(data).digest())
            array = _parse(data, self._path(name))
            x = self._check_shape(array, shape, name, _FETCH_OR_LEAVE_OUT)
            raw[field] = np.moveaxis(x, -1, 0)
        self._complete_pupil(raw)
        for field in ("behavior", "pupil_center"):
            raw[field] = self._gaps.fill(raw[field])
        labelled = bool(raw["response"].any())
        lengths = {
            self._valid_frames(x, self._file_name(field, number))
            for field, x in raw.items()
            if labelled or field != "response"  # withheld responses are 0 past the trial's end
        }
        frames = min(lengths)
        if len(lengths) > 1:
            self._unequal.append(number)
        fields: dict[str, np.ndarray] = {}
        for field, x in raw.items():
            with np.errstate(over="ignore"):
                fields[field] = np.ascontiguousarray(x[:frames], np.float32)
            if not np.isfinite(fields[field]).all():
                raise UserError(
                    f"expected numbers within float32's range of 3.4e38 in "
                    f"{self._path(self._file_name(field, number))}, found larger ones; "
                    f"{_FETCH_OR_LEAVE_OUT}"
                )
        if _grey_levels(fields["video"]):
            fields["video"] = fields["video"].astype(np.uint8)
        return RawTrial(Trial(**fields), labelled, digest.hexdigest())

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """The true rate of a simulated mouse: [T N]."""
        shape = (len(self.unit_ids), self.frames)
        return self._load_shape(f"truth/rate/{number}.npy", shape, FETCH).T[:frames]

    def released(self) -> dict[str, np.ndarray]:
        """The released statistics of each frame: "<field>_{mean,std}" -> [T ...].

        {} if the session has no statistics at all.

        Raises:
            UserError: some of the statistics are missing, or a standard deviation is 0 everywhere.
        """
        if not self._files.has("meta/statistics"):
            return {}
        statistics = {}
        for field, shape in self._shapes().items():
            for moment in ("mean", "std"):
                name = f"meta/statistics/{FOLDERS[field]}/all/{moment}.npy"
                x = np.moveaxis(self._load_shape(name, shape, FETCH), -1, 0).astype(np.float32)
                if moment == "std" and field in ("video", "response") and not (x > 0).any():
                    raise UserError(
                        f"expected standard deviations above zero in {self._path(name)}, found "
                        f"none; {FETCH}"
                    )
                statistics[f"{field}_{moment}"] = x
        return statistics

    def types(self) -> dict[str, str]:
        """Recorded dtype of every field."""
        return {field: str(self._first(field).dtype) for field in FOLDERS}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every field's files, time last."""
        return {field: (*self._values(field), self.frames) for field in FOLDERS}

    def _values(self, field: str) -> tuple[int, ...]:
        """Shape of a field's values at one time."""
        if field == "video":
            return protocol.HEIGHT, protocol.WIDTH
        return (len(self.unit_ids) if field == "response" else 2,)

    def notes(self) -> list[str]:
        """What is unusual about the session, for people."""
        notes = self._gaps.notes()
        if self._unequal:
            numbers = ", ".join(map(str, sorted(self._unequal)))
            notes.append(f"trials whose fields differ in length end with the shortest ({numbers})")
        if not self.tracks_pupil:
            what = "its size and centre are" if self._lacks_size else "its centre is"
            notes.append(f"the pupil was not tracked: {what} stored as 0; train without gaze")
        return notes

    def _complete_pupil(self, raw: dict[str, np.ndarray]) -> None:
        """Zeros for a pupil that no trial has; NaN stay past the end of the running speed."""
        if self.tracks_pupil:
            return
        behavior = raw["behavior"]
        zeros = np.where(np.isnan(behavior[:, 1:]), np.nan, 0.0)
        raw["pupil_center"] = np.repeat(zeros, 2, axis=1)
        if self._lacks_size:
            raw["behavior"] = np.concatenate([zeros, behavior[:, 1:]], axis=1)

    def _read_unit_ids(self) -> np.ndarray:
        name = "meta/neurons/unit_ids.npy"
        ids, where = self._load(name), self._path(name)
        if ids.ndim != 1 or not len(ids):
            raise UserError(f"expected unit ids [neurons] in {where}, found {ids.shape}; {FETCH}")
        ids = _as_numbers(ids)
        if ids.dtype.kind not in "fiu" or not (np.isfinite(ids) & (ids == np.rint(ids))).all():
            raise UserError(
                f"expected whole numbers as unit ids in {where}, found {_first_odd(ids)}; number "
                "the units, or fetch that session again"
            )
        ids = ids.astype(np.int64)
        if len(np.unique(ids)) < len(ids):
            values, counts = np.unique(ids, return_counts=True)
            raise UserError(
                f"expected every unit id once in {where}, found {values[counts > 1][0]} "
                f"{counts.max()} times; {FETCH}"
            )
        return ids

    def _read_positions(self) -> np.ndarray:
        name = "meta/neurons/cell_motor_coordinates.npy"
        positions = self._load_shape(name, (len(self.unit_ids), 3), FETCH)
        bad = np.flatnonzero(~np.isfinite(positions).all(1))
        if len(bad):
            raise UserError(
                f"expected a place of every neuron in {self._path(name)}, found NaN or infinity "
                f"for {len(bad)} of {len(positions)} (the first is unit {self.unit_ids[bad[0]]}); "
                "give them a place, or remove those neurons"
            )
        return positions

    def _check_files(self) -> None:
        """Check that all tiers exist, and that every file has one."""
        path = self._path(TIERS_FILE)
        unknown = set(self.tiers) - {*protocol.TIERS, protocol.MISSING}
        if unknown:
            raise UserError(
                f"expected the tiers {', '.join(protocol.TIERS)} or {protocol.MISSING} in {path}, "
                f"found {', '.join(sorted(unknown))}; correct the file, or {FETCH}"
            )
        if not len(self.numbers):
            raise UserError(f"expected trials in {path}, found none; {FETCH}")
        for field, folder in FOLDERS.items():
            extra = [n for n in self._files.numbers(f"data/{folder}") if n >= len(self.tiers)]
            if extra:
                raise UserError(
                    f"expected a tier for every trial in {path}, found {len(self.tiers)} tiers "
                    f"and {self._path(self._file_name(field, max(extra)))}; {FETCH}"
                )

    def _valid_frames(self, x: np.ndarray, name: str) -> int:
        """Number of leading frames of [T ...] without NaN; all later frames must be NaN."""
        missing = np.isnan(x).reshape(len(x), -1)
        incomplete = missing.any(1)
        frames = int(incomplete.argmax()) if incomplete.any() else len(x)
        if not frames or not missing[frames:].all():
            gaps = (
                "interpolate short gaps (--fill-gaps SECONDS), or " if x.shape[1:] == (2,) else ""
            )
            raise UserError(
                f"expected numbers, then NaN to the end, in {self._path(name)}, found NaN at "
                f"frame {frames} and numbers behind it; {gaps}{_FETCH_OR_LEAVE_OUT}"
                if frames
                else f"expected numbers in {self._path(name)}, found NaN from the first frame on; "
                f"{_FETCH_OR_LEAVE_OUT}"
            )
        if not np.isfinite(x[:frames]).all():
            raise UserError(
                f"expected finite numbers in {self._path(name)}, found infinity; "
                f"{_FETCH_OR_LEAVE_OUT}"
            )
        return frames

    def _strings(self, name: str) -> np.ndarray:
        x = self._load(name)
        if x.ndim != 1 or x.dtype.kind not in "US":
            raise UserError(
                f"expected a list of tier names in {self._path(name)}, found {x.dtype} of shape "
                f"{x.shape}; {FETCH}"
            )
        return x.astype(str)

    def _first(self, field: str) -> np.ndarray:
        """The first file of a field that is sound; ``UserError`` if none is."""
        for x in self._sound(field):
            return x
        return self._load(self._file_name(field, self.numbers[0]))

    def _sound(self, field: str) -> Iterator[np.ndarray]:
        """The files of a field, but for damaged ones: ``read`` tells, unless they are left out."""
        for number in self.numbers.tolist():
            try:
                x = self._load(self._file_name(field, number))
            except UserError:
                continue
            if x.dtype.kind in "fiu" and x.shape[:-1] == self._values(field):
                yield x

    def _load_shape(self, name: str, shape: tuple[int, ...], advice: str) -> np.ndarray:
        return self._check_shape(self._load(name), shape, name, advice)

    def _check_shape(
        self, x: np.ndarray, shape: tuple[int, ...], name: str, advice: str
    ) -> np.ndarray:
        if x.shape != shape:
            raise UserError(
                f"expected an array of shape {shape} in {self._path(name)}, found {x.shape}; "
                f"{advice}"
            )
        if x.dtype.kind not in "fiu":
            raise UserError(f"expected numbers in {self._path(name)}, found {x.dtype}; {advice}")
        return x

    def _load(self, name: str) -> np.ndarray:
        return _parse(self._files.read(name), self._path(name))

    def _path(self, name: str) -> str:
        return str(self.source / name)

    def _file_name(self, field: str, number: int) -> str:
        return f"data/{FOLDERS[field]}/{number}.npy"


def find_sessions(raw: Path) -> list[Path]:
    """The session folders and zips in ``raw``, or ``raw`` itself if it is one, sorted by name.

    A session that is there as a folder and as a zip is read from its folder.

    Raises:
        UserError: ``raw`` does not exist, or holds no session.

    Examples:
        >>> find_sessions(Path("nowhere"))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected a folder of recordings at nowhere, found ...
    """
    if is_zip(raw) or (raw / TIERS_FILE).exists():
        return [raw]
    if not raw.is_dir():
        raise UserError(f"expected a folder of recordings at {raw}, found nothing; see --help")
    zips = {p.stem: p for p in raw.iterdir() if is_zip(p) and not p.name.startswith(".")}
    sessions = zips | _session_folders(raw)
    if not sessions:
        raise UserError(
            f"expected session folders (with {TIERS_FILE}) or their zips in {raw}, found none; "
            "name the folder that the release was fetched to"
        )
    return [sessions[name] for name in sorted(sessions)]


def _session_folders(raw: Path) -> dict[str, Path]:
    """Session folders in a folder, or in the only level of folders below it."""
    for pattern in (f"*/{TIERS_FILE}", f"*/*/{TIERS_FILE}"):
        if found := sorted(raw.glob(pattern)):
            return {file.parents[2].name: file.parents[2] for file in found}
    return {}


def open_sessions(
    path: Path, *, names: Mapping[str, str] | None = None, fill_gaps: float | None = None
) -> list[RawSession]:
    """The sessions of a folder or zip: one, or as many as a zip holds.

    Args:
        path: one of ``find_sessions``.
        names: other names of sessions, by the name of the file or folder, or of the session.
        fill_gaps: see ``RawSession``.

    Raises:
        UserError: a session is damaged.
    """
    names = names or {}
    roots = session_roots(path)
    alone = len(roots) == 1
    sessions = []
    for root in roots:
        session = RawSession(path, root=root, fill_gaps=fill_gaps)
        keys = [session.name, *([path.name, path.stem, str(path)] if alone else [])]
        session.name = next((names[key] for key in keys if key in names), session.name)
        sessions.append(session)
    return sessions


def _parse(data: bytes, path: str) -> np.ndarray:
    """The array of an .npy file, without a copy; object arrays are refused, never unpickled."""
    try:
        return read_array(data)
    except ValueError as error:
        raise UserError(
            f"expected a NumPy array in {path}, which is damaged ({error}); {FETCH}"
        ) from None


def _has_signal(x: np.ndarray) -> bool:
    """Whether a signal was recorded: anything but NaN and 0."""
    return bool((np.isfinite(x) & (x != 0)).any())


def _as_numbers(ids: np.ndarray) -> np.ndarray:
    """Unit ids that were saved as text, as integers if all are numerals."""
    if ids.dtype.kind not in "US" or not all(_is_numeral(x) for x in ids.astype(str)):
        return ids
    return ids.astype(str).astype(np.int64)


def _is_numeral(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19  # within int64


def _first_odd(ids: np.ndarray) -> str:
    """The first unit id that is no whole number."""
    if ids.dtype.kind in "US":
        return repr(next(str(x) for x in ids if not _is_numeral(str(x))))
    if ids.dtype.kind != "f":
        return str(ids.dtype)
    return f"{ids[~(np.isfinite(ids) & (ids == np.rint(ids)))][0]:g}"


def _grey_levels(video: np.ndarray) -> bool:
    """Whether all values are integers 0..255."""
    return bool((video == np.clip(np.rint(video), 0, 255)).all())
