"""The release's raw layout, and its conversion into a store, trial by trial.

    <session>/data/{videos (H W T), responses (N T), behavior (2 T), pupil_center (2 T)}/<i>.npy
    <session>/meta/neurons/{unit_ids (N), cell_motor_coordinates (N 3)}.npy
    <session>/meta/trials/tiers.npy                                            index = <i>
    <session>/meta/statistics/{videos,responses,behavior,pupil_center}/all/{mean,std}.npy

T differs between sessions; what lies past a trial's end is NaN. Withheld responses are zeros of
full length. (Starter kit, README; counts over the ten mice's public metadata.) Simulated mice
keep their truth in ``<session>/truth``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data import format as store_format
from sensorium_jax.data.format import SessionWriter, Trial, TrialTable
from sensorium_jax.errors import UserError, is_full_disk

FOLDERS = {
    "video": "videos",
    "behavior": "behavior",
    "pupil_center": "pupil_center",
    "response": "responses",
}
OnTrial = Callable[[str, int, int], None]  # session, trials done, trials in all

UNKNOWN = "unknown"  # family of trials that nobody has labelled
FINGERPRINT_FRAMES = 5
FINGERPRINT_BLOCK = 4  # pixels
SAME_CLIP = 0.99  # correlation of fingerprints; repeats are not byte-identical


class RawTrial(NamedTuple):
    """A trial as recorded, cut to its valid frames."""

    trial: Trial
    labelled: bool


class RawSession:
    """One session folder of the release."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.tiers = _load(folder / "meta/trials/tiers.npy").astype(str)
        self.unit_ids = _load(folder / "meta/neurons/unit_ids.npy").astype(np.int64)
        position = _load(folder / "meta/neurons/cell_motor_coordinates.npy")
        self.position_um = _checked(position, (len(self.unit_ids), 3), folder / "meta/neurons")
        unknown = set(self.tiers) - {*protocol.TIERS, protocol.MISSING}
        if unknown:
            raise UserError(
                f"expected the tiers {', '.join(protocol.TIERS)} or {protocol.MISSING} in "
                f"{folder / 'meta/trials/tiers.npy'}, found {', '.join(sorted(unknown))}"
            )
        self.numbers = np.flatnonzero(self.tiers != protocol.MISSING)
        if not len(self.numbers):
            raise UserError(f"expected trials in {folder / 'meta/trials/tiers.npy'}, found none")
        self.frames = _load(self._file("behavior", self.numbers[0])).shape[-1]

    @property
    def simulated(self) -> bool:
        """Whether the truth lies beside the recording."""
        return (self.folder / "truth").is_dir()

    def read(self, number: int) -> RawTrial:
        """One trial, by file number.

        Raises:
            UserError: a file is missing, damaged or of another shape than the others.
        """
        n = len(self.unit_ids)
        shapes = {
            "video": (protocol.HEIGHT, protocol.WIDTH),
            "behavior": (2,),
            "pupil_center": (2,),
            "response": (n,),
        }
        fields = {
            name: np.moveaxis(
                _checked(_load(path := self._file(name, number)), (*shape, self.frames), path),
                -1,
                0,
            )
            for name, shape in shapes.items()
        }
        labelled = bool(fields["response"].any())
        deciding = [x for name, x in fields.items() if labelled or name != "response"]
        frames = min(map(_leading_numbers, deciding))
        trial = Trial(**{name: fields[name][:frames] for name in Trial._fields})
        return RawTrial(trial, labelled)

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """The true rate of a simulated mouse: [T N]."""
        path = self.folder / "truth/rate" / f"{number}.npy"
        return _checked(_load(path), (len(self.unit_ids), self.frames), path).T[:frames]

    def released(self) -> dict[str, np.ndarray]:
        """The released statistics, frame by frame: "released/<field>_{mean,std}" -> [T ...]."""
        return {
            f"released/{name}_{moment}": np.moveaxis(
                _load(self.folder / "meta/statistics" / folder / "all" / f"{moment}.npy"), -1, 0
            ).astype(np.float32)
            for name, folder in FOLDERS.items()
            for moment in ("mean", "std")
        }

    def _file(self, name: str, number: int) -> Path:
        return self.folder / "data" / FOLDERS[name] / f"{number}.npy"


def find_sessions(raw: Path) -> list[Path]:
    """The session folders in ``raw``, or ``raw`` itself if it is one.

    Raises:
        UserError: it is neither.
    """
    if not raw.is_dir():
        raise UserError(f"expected a folder of recordings at {raw}, found nothing")
    if (raw / "meta/trials/tiers.npy").exists():
        return [raw]
    found = sorted(p.parents[2] for p in raw.glob("*/meta/trials/tiers.npy"))
    if not found:
        raise UserError(
            f"expected session folders (with meta/trials/tiers.npy) in {raw}, found none; "
            "name the folder that the release was unzipped to"
        )
    return found


def convert(
    raw: Path,
    out: Path,
    *,
    sessions: Sequence[str] | None = None,
    on_trial: OnTrial = lambda session, done, total: None,
) -> list[str]:
    """Convert recordings into a store. Sessions that are complete already are kept.

    Args:
        raw: a folder of session folders, or one of them.
        out: the store.
        sessions: session names, or beginnings of them; all by default.
        on_trial: told of progress.

    Returns:
        The names of the sessions in the store.

    Raises:
        UserError: not a recording, a damaged or odd file, no such session, or a full disk.
    """
    folders = find_sessions(raw)
    if sessions is not None:
        for wanted in sessions:
            if not any(f.name.startswith(wanted) for f in folders):
                names = ", ".join(f.name for f in folders)
                raise UserError(f"no session {wanted!r} in {raw}; there are: {names}")
        folders = [f for f in folders if f.name.startswith(tuple(sessions))]
    out.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        convert_session(folder, out, on_trial=on_trial)
    names = [f.name for f in folders]
    store_format.finish_store(out, names)
    return names


def convert_session(
    folder: Path, out: Path, *, on_trial: OnTrial = lambda session, done, total: None
) -> None:
    """Convert one session folder, unless the store has it already."""
    source = str(folder.absolute())
    if store_format.is_complete(out, folder.name, source=source):
        return
    session = RawSession(folder)
    try:
        try:
            _write(session, out, video_dtype="uint8", on_trial=on_trial)
        except _NotGreyLevels:
            _write(session, out, video_dtype="float32", on_trial=on_trial)
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as a ValueError
        if not is_full_disk(error):
            raise
        raise UserError(
            f"no space left in {out} while writing {folder.name}; free some, then run the same "
            "command again: complete sessions are kept"
        ) from error


class _NotGreyLevels(Exception):
    """The video has values other than the integers 0..255."""


def _write(session: RawSession, out: Path, *, video_dtype: str, on_trial: OnTrial) -> None:
    numbers, name = session.numbers, session.folder.name
    frames, labelled, prints = [], [], []
    moments = {field: _Moments() for field in Trial._fields}
    with SessionWriter(
        out,
        name,
        trials=len(numbers),
        frames=session.frames,
        neurons=len(session.unit_ids),
        image=(protocol.HEIGHT, protocol.WIDTH),
        video_dtype=video_dtype,
        simulated=session.simulated,
    ) as writer:
        for row, number in enumerate(numbers):
            trial, has_response = session.read(number)
            if video_dtype == "uint8" and not _grey_levels(trial.video):
                raise _NotGreyLevels
            n = len(trial.video)
            rate = session.read_rate(number, n) if session.simulated else None
            writer.write(row, trial, rate=rate)
            frames.append(n)
            labelled.append(has_response)
            prints.append(_fingerprint(trial.video))
            if session.tiers[number] == protocol.TRAIN:
                for field, x in trial._asdict().items():
                    moments[field].add(x)
            on_trial(name, row + 1, len(numbers))
        tiers = session.tiers[numbers]
        family, clip = _labels(session, tiers, prints)
        pooled = {
            f"pooled/{field}_{moment}": value
            for field, m in moments.items()
            for moment, value in zip(("mean", "std"), m.result(), strict=True)
        }
        writer.finish(
            TrialTable(numbers, tiers, family, clip, np.array(frames), np.array(labelled)),
            {
                "position_um": session.position_um.astype(np.float32),
                "unit_ids": session.unit_ids,
                **session.released(),
                **pooled,
            },
            trial_files=len(session.tiers),
            source=str(session.folder.absolute()),
        )


def _labels(
    session: RawSession, tiers: np.ndarray, prints: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Stimulus family and clip id of every trial."""
    if session.simulated:
        truth = json.loads((session.folder / "truth/trials.json").read_text())
        row = {number: i for i, number in enumerate(truth["number"])}
        order = [row[number] for number in session.numbers]
        return np.array(truth["family"])[order], np.array(truth["clip"])[order]
    family = np.where([t.endswith("bonus") for t in tiers], UNKNOWN, protocol.NATURAL)
    return family, _clips_by_content(tiers, prints)


def _clips_by_content(tiers: np.ndarray, prints: list[np.ndarray]) -> np.ndarray:
    """Group the trials of the evaluation tiers that show the same film.

    Train clips are shown once (counts over the ten mice), so each is its own.
    """
    clips: list[str] = []
    known: list[np.ndarray] = []
    for i, (tier, print_) in enumerate(zip(tiers, prints, strict=True)):
        if tier == protocol.TRAIN:
            clips.append(f"train{i:04d}")
            continue
        likeness = [float(print_ @ k) for k in known]
        if not likeness or max(likeness) < SAME_CLIP:
            known.append(print_)
            likeness.append(1.0)
        clips.append(f"clip{int(np.argmax(likeness)):04d}")
    return np.array(clips)


def _fingerprint(video: np.ndarray) -> np.ndarray:
    """A few frames in coarse blocks, without their mean, of unit norm: [k]."""
    at = np.linspace(0, len(video) - 1, FINGERPRINT_FRAMES + 2).astype(int)[1:-1]
    t, h, w = video[at].shape
    b = FINGERPRINT_BLOCK
    blocks = video[at].reshape(t, h // b, b, w // b, b).mean((2, 4)).ravel()
    blocks = blocks - blocks.mean()
    return blocks / max(np.linalg.norm(blocks), 1e-12)


class _Moments:
    """Mean and std over all frames added, element by element."""

    def __init__(self):
        self._n, self._sum, self._square = 0, 0.0, 0.0

    def add(self, x: np.ndarray) -> None:
        x = x.astype(np.float64)
        self._n += len(x)
        self._sum = self._sum + x.sum(0)
        self._square = self._square + (x**2).sum(0)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """[1 ...] each, float32."""
        if not self._n:
            raise UserError(
                f"expected trials of the tier {protocol.TRAIN!r}, found none: nothing to "
                "normalise by"
            )
        mean = self._sum / self._n
        std = np.sqrt(np.maximum(self._square / self._n - mean**2, 0))
        return mean[None].astype(np.float32), std[None].astype(np.float32)


def _grey_levels(video: np.ndarray) -> bool:
    return bool((video == np.clip(np.rint(video), 0, 255)).all())


def _leading_numbers(x: np.ndarray) -> int:
    """How many leading frames of [T ...] hold no NaN."""
    missing = np.isnan(x).reshape(len(x), -1).any(1)
    return int(missing.argmax()) if missing.any() else len(x)


def _checked(x: np.ndarray, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if x.shape != shape:
        raise UserError(
            f"expected an array of shape {shape} in {path}, found {x.shape}; "
            "fetch that session again"
        )
    return x


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"expected {path}, which is missing; fetch that session again") from None
    except (ValueError, EOFError) as error:
        raise UserError(
            f"expected a NumPy array in {path}, which is damaged ({error}); fetch it again"
        ) from None
