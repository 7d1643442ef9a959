"""The store: zarr3 arrays and a JSON table per session, written atomically.

    STORE/
      store.json                  the sessions; written last, so a store without it is half-written
      <session>/
        meta.json                 the columns of ``TrialTable``, sizes and provenance
        digests.json              of every file of the session; ``data/digests.py``
        video         [trials T H W]  uint8 where the recording is integer-valued, else float32
        response      [trials T N]    float32 or float16, deconvolved activity
        behavior      [trials T 2]    float32: pupil size, running speed
        pupil_center  [trials T 2]    float32: x, y
        rate          [trials T N]    float32, simulated mice only: the expected response
        position_um   [N 3]  unit_ids [N]
        stills        [trials 16 H W] uint8, frames that identify the clip; ``prepare/labels.py``
        released/<field>_{mean,std}   [T ...] statistics that came with the recording, if any
        framewise/<field>_{mean,std}  [T ...] over trials of the train tier, frame by frame
        pooled/<field>_{mean,std}     [1 ...] over trials and frames of the train tier

Axes: T frames at 30 Hz, H W pixels, N neurons. Every trial is one shard, divided into chunks of 25
frames so that a crop reads few frames beyond its own. Chunks are compressed, bytes by zstd and
floats by lz4 after a shuffle of their bits (smaller than with zstd, and read twice as fast), and
carry a crc32c checksum, compared whenever they are read; that each is in its place is compared when
its file is first used. Frames past a trial's end are 0; ``frames`` says how many are valid.
"""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts

from sensorium_jax import _moved, protocol
from sensorium_jax.data import digests
from sensorium_jax.errors import UserError
from sensorium_jax.files import check_path, file_digest, read_json, write_json

VERSION = 2
STORE_FILE, SESSION_FILE = "store.json", "meta.json"
FIELDS = ("video", "behavior", "pupil_center", "response")
KINDS = ("released", "framewise", "pooled")
CHUNK_FRAMES = 25
META = {  # types of what a session's record holds
    "neurons": int,
    "frames": int,
    "trial_files": int,
    "simulated": bool,
    "made_from": dict,
    "provenance": dict,
    "trials": dict,
}
COLUMNS = {  # types of the entries of ``TrialTable``
    "number": int,
    "tier": str,
    "family": str,
    "clip": str,
    "frames": int,
    "labelled": bool,
}


class TrialTable(NamedTuple):
    """Columns with one entry for each trial, in the order of the arrays' first axis.

    Examples:
        >>> table = TrialTable(
        ...     number=np.array([0, 2]),
        ...     tier=np.array(["train", "oracle"]),
        ...     family=np.array(["natural", "natural"]),
        ...     clip=np.array(["clip00000", "clip00001"]),
        ...     frames=np.array([300, 300]),
        ...     labelled=np.array([True, True]),
        ... )
        >>> table.number[table.tier == "oracle"].tolist()
        [2]
    """

    number: np.ndarray  # [trials] file number in the recording
    tier: np.ndarray  # [trials] see ``protocol.TIERS``
    family: np.ndarray  # [trials] stimulus family, or "unknown"
    clip: np.ndarray  # [trials] clip id: trials of the same film have the same id
    frames: np.ndarray  # [trials] valid frames
    labelled: np.ndarray  # [trials] False where the responses are withheld


class Trial(NamedTuple):
    """One trial, or a crop of it, in stored units: T frames, N neurons."""

    video: np.ndarray  # [T H W]
    behavior: np.ndarray  # [T 2]
    pupil_center: np.ndarray  # [T 2]
    response: np.ndarray  # [T N]


class Session:
    """One mouse in a store. Arrays are opened on first use, so that a session can be pickled."""

    def __init__(self, folder: Path):
        self.folder = folder
        advice = f"remove {folder}, then {remedy(folder.parent)}"
        self.digests = digests.Digests(folder, advice=advice)
        meta = read_json(folder / SESSION_FILE, advice=advice, keys=tuple(META))
        _check_meta(meta, folder)
        self._check_record(advice)
        self.name = folder.name
        self.neurons: int = meta["neurons"]
        self.frames: int = meta["frames"]
        self.trial_files: int = meta["trial_files"]
        self.simulated: bool = meta["simulated"]
        self.provenance: dict[str, Any] = meta["provenance"]
        self.made_from: dict[str, Any] = meta["made_from"]
        self._stores_zeros: bool = meta.get("stores_zeros", False)  # before 0.2: a chunk less
        self.trials = TrialTable(*(np.asarray(meta["trials"][f]) for f in TrialTable._fields))

    def _check_record(self, advice: str) -> None:
        try:
            self.digests.check(SESSION_FILE)
        except ValueError as error:
            path = self.folder / SESSION_FILE
            raise UserError(f"expected {path} as it was written ({error}); {advice}") from None

    def with_tiers(self, tier: np.ndarray) -> Session:
        """The same session with other tiers [trials]."""
        other = copy.copy(self)
        other.trials = self.trials._replace(tier=tier)
        return other

    def read(self, row: int, start: int, stop: int) -> Trial:
        """Frames ``start`` to ``stop`` (exclusive) of the trial at ``row`` of the table."""
        futures = {f: self._read(f, row, start, stop) for f in Trial._fields}
        return Trial(**{f: self._result(f, row, future) for f, future in futures.items()})

    def read_rate(self, row: int, start: int, stop: int) -> np.ndarray:
        """The true rate of a simulated mouse, in units of its responses: [T N]."""
        return self._result("rate", row, self._read("rate", row, start, stop))

    def _read(self, name: str, row: int, start: int, stop: int) -> ts.Future:
        array = self._array(name)
        chunk = "/".join([str(row), *"0" * (array.rank - 1)])
        try:
            self._check_file(f"{name}/c/{chunk}")
        except (ValueError, OSError) as error:
            raise self._damage(name, row, str(error)) from None
        return array[row, start:stop].read()

    def _check_file(self, name: str) -> None:
        """Raise ``ValueError`` for a file that is missing, or in another's place."""
        if self._stores_zeros and not (self.folder / name).is_file():  # tensorstore reads zeros
            raise ValueError("its file is missing")
        self.digests.check(name)

    def _result(self, name: str, row: int, future: ts.Future) -> np.ndarray:
        try:
            return future.result()
        except (ValueError, OSError) as error:  # tensorstore: a checksum, or the disk
            raise self._damage(name, row, str(error).splitlines()[0][:200]) from None

    def _damage(self, name: str, row: int, reason: str) -> UserError:
        return UserError(
            f"expected {name} of trial {self.trials.number[row]} in {self.folder}, which is "
            f"damaged ({reason}); remove that folder, then {remedy(self.folder.parent)}; training "
            "goes on without that trial with --skip-damaged"
        )

    @property
    def recorded_trials(self) -> int:
        """Number of trials that the recording has files of, with those that were left out.

        The length of the official loader's data set, by which it scales the loss.
        """
        return len(self.trials.number) + len(self.provenance.get("left_out", ()))

    @property
    def has_released(self) -> bool:
        """Whether the recording came with statistics."""
        return (self.folder / "released").exists()

    def dtype(self, name: str) -> str:
        """The stored dtype of an array, such as "uint8"."""
        return self._array(name).dtype.name

    def load(self, name: str) -> np.ndarray:
        """A whole array, such as "position_um" or "released/video_std".

        Raises:
            UserError: it is missing or damaged.
        """
        array = self._array(name)
        try:
            self._check_file(f"{name}/c/{'/'.join('0' * array.rank)}")
            return array.read().result()
        except (ValueError, OSError) as error:
            raise self._array_damage(name, error) from None

    def _array(self, name: str) -> ts.TensorStore:
        if name not in self._open:
            try:
                self.digests.check(f"{name}/zarr.json")
                array = ts.open(array_spec(self.folder / name), open=True).result()
                self._check_shape(name, array)
            except (ValueError, OSError) as error:
                raise self._array_damage(name, error) from None
            self._open[name] = array
        return self._open[name]

    def _check_shape(self, name: str, array: ts.TensorStore) -> None:
        """Raise ``ValueError`` for an array of other trials, frames or neurons than recorded."""
        chunk = array.chunk_layout.write_chunk.shape or ()
        expected = chunk  # a single one
        if name in (*FIELDS, "rate"):
            expected = len(self.trials.number), self.frames, *chunk[2:]
        if name in ("position_um", "unit_ids"):
            expected = self.neurons, *chunk[1:]
        if name.rpartition("/")[2].startswith(("response", "rate")):
            expected = *expected[:-1], self.neurons
        if array.shape != expected:
            raise ValueError(f"its shape is {array.shape}, not {expected}")

    def _array_damage(self, name: str, error: Exception) -> UserError:
        return UserError(
            f"expected the array {name} in {self.folder}, which is missing or damaged "
            f"({str(error).splitlines()[0][:200]}); remove that folder, then "
            f"{remedy(self.folder.parent)}"
        )

    @functools.cached_property
    def _open(self) -> dict[str, ts.TensorStore]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_open"}


class Store(NamedTuple):
    """A complete store."""

    path: Path
    sessions: tuple[Session, ...]


def _check_meta(meta: dict[str, Any], folder: Path) -> None:
    """Raise ``UserError`` for a record of a session whose values cannot be."""
    wrong = [name for name, kind in META.items() if type(meta[name]) is not kind]
    wrong = wrong or _wrong_columns(meta) or _wrong_provenance(meta)
    if wrong:
        raise UserError(
            f"expected other values of {', '.join(wrong)} in {folder / SESSION_FILE}, which is "
            f"damaged; remove {folder}, then {remedy(folder.parent)}"
        )


def _wrong_columns(meta: dict[str, Any]) -> list[str]:
    """The columns of a session's table of trials whose values cannot be."""
    columns = {name: meta["trials"].get(name) for name in COLUMNS}
    length = len(columns["number"]) if isinstance(columns["number"], list) else 0
    valid = {
        "number": lambda x: 0 <= x < meta["trial_files"],
        "tier": lambda x: x in protocol.TIERS,
        "frames": lambda x: 0 < x <= meta["frames"],
    }
    return [
        f"trials.{name}"
        for name, kind in COLUMNS.items()
        if not isinstance(x := columns[name], list)
        or len(x) != length
        or not all(type(value) is kind and valid.get(name, lambda _: True)(value) for value in x)
        or (name == "number" and len(set(x)) < length)
    ]


def _wrong_provenance(meta: dict[str, Any]) -> list[str]:
    """What is needed of a session's provenance, and is not as it was written."""
    digests, notes = (meta["provenance"].get(name, []) for name in ("sha256", "notes"))
    if not isinstance(digests, list) or len(digests) != len(meta["trials"]["number"]):
        return ["provenance.sha256"]
    return [] if isinstance(notes, list) else ["provenance.notes"]


def open_store(path: Path) -> Store:
    """Open a store.

    Raises:
        UserError: the path does not exist or is no store, or the store is half-written or of
            another version.

    Examples:
        >>> open_store(Path("nowhere"))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: no store at nowhere; name the folder it was moved ...
    """
    check_path(path)
    if not path.exists():
        raise UserError(
            f"no store at {path}; name the folder it was moved to (--data), or make one with "
            "sensorium-jax prepare"
        )
    if not (path / STORE_FILE).exists():
        if any(path.glob(f"*/{SESSION_FILE}")) or any(path.glob(".*.partial")):
            raise UserError(f"the store at {path} is half-written; {remedy(path)}")
        raise UserError(
            f"expected a store (with {STORE_FILE}) at {path}, found none; recordings are "
            "converted by sensorium-jax prepare"
        )
    meta = read_json(path / STORE_FILE, advice=remedy(path), keys=("version", "sessions"))
    if meta.get("version") != VERSION:
        raise UserError(
            f"expected version {VERSION} of the store format in {path / STORE_FILE}, found "
            f"{meta.get('version')}; convert the recordings again with this sensorium_jax"
        )
    names = meta["sessions"]
    if not isinstance(names, list) or not names or not all(isinstance(s, str) for s in names):
        raise UserError(
            f"expected sessions in {path / STORE_FILE}, found {names!r}; {remedy(path)}"
        )
    missing = [s for s in names if not (path / s / SESSION_FILE).exists()]
    if missing:
        raise UserError(f"the store at {path} lacks {', '.join(missing)}; {remedy(path)}")
    _check_sessions(path, meta.get("digests", {}))
    return Store(path, tuple(Session(path / s) for s in names))


def _check_sessions(path: Path, expected: dict[str, str]) -> None:
    """Raise ``UserError`` for a session whose digests are not those that ``store.json`` knows."""
    for name, digest in expected.items():
        file = path / name / digests.NAME
        if not file.is_file() or file_digest(file) != digest:
            raise UserError(
                f"expected {file} as {path / STORE_FILE} knows it, found it changed or missing: "
                f"that session is damaged or half-written; {remedy(path)}"
            )


def finish_store(path: Path) -> list[str]:
    """Declare a store complete: write ``store.json``, and return the names of its sessions.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     finish_store(Path(folder))
        []
    """
    folders = stored_sessions(path)
    files = [folder / SESSION_FILE for folder in folders]
    sessions = [folder.name for folder in folders]
    commands = list(dict.fromkeys(command for file in files for command in read_commands(file)))
    sealed = [folder for folder in folders if (folder / digests.NAME).exists()]
    record = {
        "version": VERSION,
        "sessions": sessions,
        "commands": commands,
        "digests": {folder.name: file_digest(folder / digests.NAME) for folder in sealed},
    }
    write_json(path / STORE_FILE, record, sealed=True)
    return sessions


def stored_sessions(path: Path) -> list[Path]:
    """The folders of a store's sessions, of this version of the format."""
    return [
        file.parent
        for file in sorted(path.glob(f"[!.]*/{SESSION_FILE}"))
        if is_session_record(file)
    ]


def is_session_record(file: Path, *, version: int | None = VERSION) -> bool:
    """Whether a file is the record of a session of ours, of a version (None: of any)."""
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    keys = {"version", "neurons", "trials", "trial_files"}
    return isinstance(meta, dict) and keys <= meta.keys() and version in (None, meta["version"])


def remedy(store: Path) -> str:
    """Advice on a damaged store: run again the commands that made it, as its files record them.

    Examples:
        >>> remedy(Path("nowhere"))
        'run the command that made it again (sensorium-jax prepare, or simulate)'
    """
    commands = read_commands(store / STORE_FILE)
    for file in sorted(store.glob(f"*/{SESSION_FILE}")):
        commands += read_commands(file)
    commands = list(dict.fromkeys(commands))
    if not commands:
        return "run the command that made it again (sensorium-jax prepare, or simulate)"
    return f"to mend it, run again: {'; then '.join(commands)}"


def read_commands(file: Path) -> list[str]:
    """The commands that a JSON file of a store records; [] if the file is damaged."""
    try:
        record = json.loads(file.read_text())
        commands = record.get("commands") or [record.get("provenance", {}).get("command")]
        return [command for command in commands if isinstance(command, str) and command]
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        return []


def array_spec(path: Path) -> dict[str, Any]:
    """The tensorstore spec of an array of the store."""
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path.resolve())}}


def __getattr__(name: str):  # names from before version 0.2
    return _moved.look_up(__name__, name)
