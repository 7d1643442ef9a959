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
import io
import threading
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Trial
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.recording import RawTrial

FOLDERS = {
    "video": "videos",
    "behavior": "behavior",
    "pupil_center": "pupil_center",
    "response": "responses",
}
TIERS_FILE = "meta/trials/tiers.npy"
MOST_BYTES = 2**30  # of one file; the largest files of the release have 27 MB
_FETCH = "fetch that session again"
_FETCH_OR_LEAVE_OUT = "fetch that session again, or leave the trial out (--leave-out)"


class RawSession:
    """One session in the raw layout: a folder, or the zip of one."""

    def __init__(self, path: Path):
        self._files = _Zip(path) if path.suffix == ".zip" else _Folder(path)
        self.source, self.name = path, self._files.name
        self.tiers = self._strings(TIERS_FILE)
        self.unit_ids = self._load("meta/neurons/unit_ids.npy").astype(np.int64)
        self._check_units()
        name = "meta/neurons/cell_motor_coordinates.npy"
        self.position_um = self._load_shape(name, (len(self.unit_ids), 3), _FETCH)
        self.numbers = np.flatnonzero(self.tiers != protocol.MISSING)
        self._check_files()
        name = self._file_name("behavior", self.numbers[0])
        self.frames = self._load(name).shape[-1]

    @property
    def simulated(self) -> bool:
        """Whether the mouse is simulated: the session has a folder ``truth``."""
        return self._files.has("truth/trials.json")

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
        labelled = bool(raw["response"].any())
        frames = min(
            self._valid_frames(x, self._file_name(field, number))
            for field, x in raw.items()
            if labelled or field != "response"  # withheld responses are 0 past the trial's end
        )
        fields: dict[str, np.ndarray] = {
            field: np.ascontiguousarray(x[:frames], np.float32) for field, x in raw.items()
        }
        if _grey_levels(fields["video"]):
            fields["video"] = fields["video"].astype(np.uint8)
        return RawTrial(Trial(**fields), labelled, digest.hexdigest())

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """The true rate of a simulated mouse: [T N]."""
        shape = (len(self.unit_ids), self.frames)
        return self._load_shape(f"truth/rate/{number}.npy", shape, _FETCH).T[:frames]

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
                x = np.moveaxis(self._load_shape(name, shape, _FETCH), -1, 0).astype(np.float32)
                if moment == "std" and not (x > 0).any():
                    raise UserError(
                        f"expected standard deviations above zero in {self._path(name)}, found "
                        f"none; {_FETCH}"
                    )
                statistics[f"{field}_{moment}"] = x
        return statistics

    def types(self) -> dict[str, str]:
        """Recorded dtype of every field."""
        number = self.numbers[0]
        return {field: str(self._load(self._file_name(field, number)).dtype) for field in FOLDERS}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every field's files, time last."""
        shapes = {
            "video": (protocol.HEIGHT, protocol.WIDTH),
            "behavior": (2,),
            "pupil_center": (2,),
            "response": (len(self.unit_ids),),
        }
        return {field: (*shape, self.frames) for field, shape in shapes.items()}

    def _check_units(self) -> None:
        path = self._path("meta/neurons/unit_ids.npy")
        if self.unit_ids.ndim != 1 or not len(self.unit_ids):
            shape = self.unit_ids.shape
            raise UserError(f"expected unit ids [neurons] in {path}, found {shape}; {_FETCH}")
        if len(np.unique(self.unit_ids)) < len(self.unit_ids):
            ids, counts = np.unique(self.unit_ids, return_counts=True)
            raise UserError(
                f"expected every unit id once in {path}, found {ids[counts > 1][0]} "
                f"{counts.max()} times; {_FETCH}"
            )

    def _check_files(self) -> None:
        """Check that all tiers exist, and that the files are those of the trials, in all fields."""
        path = self._path(TIERS_FILE)
        unknown = set(self.tiers) - {*protocol.TIERS, protocol.MISSING}
        if unknown:
            raise UserError(
                f"expected the tiers {', '.join(protocol.TIERS)} or {protocol.MISSING} in {path}, "
                f"found {', '.join(sorted(unknown))}; correct the file, or {_FETCH}"
            )
        if not len(self.numbers):
            raise UserError(f"expected trials in {path}, found none; {_FETCH}")
        for field, folder in FOLDERS.items():
            numbers = self._files.numbers(f"data/{folder}")
            missing = sorted(set(self.numbers.tolist()) - numbers)
            if missing:
                raise UserError(
                    f"expected {self._path(self._file_name(field, missing[0]))}, which is missing "
                    f"({len(missing)} of {len(self.numbers)} {folder} are); {_FETCH_OR_LEAVE_OUT}"
                )
            extra = [n for n in numbers if n >= len(self.tiers)]
            if extra:
                raise UserError(
                    f"expected a tier for every trial in {path}, found {len(self.tiers)} tiers "
                    f"and {self._path(self._file_name(field, max(extra)))}; {_FETCH}"
                )

    def _valid_frames(self, x: np.ndarray, name: str) -> int:
        """Number of leading frames of [T ...] without NaN; all later frames must be NaN."""
        missing = np.isnan(x).reshape(len(x), -1)
        incomplete = missing.any(1)
        frames = int(incomplete.argmax()) if incomplete.any() else len(x)
        if not frames or not missing[frames:].all():
            raise UserError(
                f"expected numbers, then NaN to the end, in {self._path(name)}, found NaN at "
                f"frame {frames} and numbers behind it; {_FETCH_OR_LEAVE_OUT}"
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
                f"{x.shape}; {_FETCH}"
            )
        return x.astype(str)

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
    if raw.suffix == ".zip" and raw.is_file() or (raw / TIERS_FILE).exists():
        return [raw]
    if not raw.is_dir():
        raise UserError(f"expected a folder of recordings at {raw}, found nothing; see --help")
    folders = {p.parents[2].name: p.parents[2] for p in raw.glob(f"*/{TIERS_FILE}")}
    zips = {p.stem: p for p in raw.glob("*.zip")}
    sessions = zips | folders
    if not sessions:
        raise UserError(
            f"expected session folders (with {TIERS_FILE}) or their zips in {raw}, found none; "
            "name the folder that the release was fetched to"
        )
    return [sessions[name] for name in sorted(sessions)]


class _Folder:
    """Files of a session folder."""

    def __init__(self, path: Path):
        self._path, self.name = path, path.absolute().name

    def has(self, name: str) -> bool:
        return (self._path / name).exists()

    def numbers(self, folder: str) -> set[int]:
        """The <i> of every <i>.npy in a folder."""
        return _numbers(p.name for p in (self._path / folder).glob("*.npy"))

    def read(self, name: str) -> bytes:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            raise UserError(f"expected {self._path / name}, which is missing; {_FETCH}") from None
        except OSError as error:
            raise UserError(
                f"expected to read {self._path / name}, which failed ({error.strerror}); check its "
                "permissions and the disk"
            ) from None


class _Zip:
    """Files of a zipped session folder, as the release is published."""

    def __init__(self, path: Path):
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(
                f"expected a zip at {path}, which is damaged ({error}); {_FETCH}"
            ) from None
        self._path = path
        names = [n for n in self._zip.namelist() if not n.startswith("__MACOSX")]
        roots = [n.removesuffix(TIERS_FILE) for n in names if n.endswith(TIERS_FILE)]
        if len(roots) != 1:
            raise UserError(
                f"expected one session (with {TIERS_FILE}) in {path}, found {len(roots)}; {_FETCH}"
            )
        self._root = roots[0]
        self._names = {n.removeprefix(self._root) for n in names if n.startswith(self._root)}
        self.name = Path(self._root).name or path.stem

    def has(self, name: str) -> bool:
        return any(n == name or n.startswith(f"{name}/") for n in self._names)

    def numbers(self, folder: str) -> set[int]:
        """The <i> of every <i>.npy in a folder."""
        return _numbers(Path(n).name for n in self._names if n.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes:
        if name not in self._names:
            raise UserError(f"expected {self._path / name}, which is missing; {_FETCH}")
        size = self._zip.getinfo(self._root + name).file_size
        if size > MOST_BYTES:
            raise UserError(
                f"expected {self._path / name} to hold at most {MOST_BYTES:,} bytes, it says "
                f"{size:,}: not a recording; {_FETCH}"
            )
        try:
            return self._zip.read(self._root + name)
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:
            raise UserError(
                f"expected {self._path / name}, which is damaged ({error}); {_FETCH}"
            ) from None


def _numbers(names: Iterable[str]) -> set[int]:
    stems = (name.removesuffix(".npy") for name in names if name.endswith(".npy"))
    return {int(stem) for stem in stems if stem.isdigit()}


# Headers are Python literals, and CPython 3.11 sometimes fails (SystemError: "AST constructor
# recursion depth mismatch") when several threads parse literals at once.
_HEADER_LOCK = threading.Lock()


def _parse(data: bytes, path: str) -> np.ndarray:
    """The array of an .npy file, without a copy; object arrays are refused, never unpickled."""
    try:
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with _HEADER_LOCK:
            shape, fortran, dtype = header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        size = int(np.prod(shape, dtype=np.int64))
        x = np.frombuffer(data, dtype, count=size, offset=file.tell())
        return x.reshape(shape, order="F" if fortran else "C")
    except (ValueError, EOFError, KeyError) as error:
        raise UserError(
            f"expected a NumPy array in {path}, which is damaged ({error}); {_FETCH}"
        ) from None


def _grey_levels(video: np.ndarray) -> bool:
    """Whether all values are integers 0..255."""
    return bool((video == np.clip(np.rint(video), 0, 255)).all())
