"""From recordings to a store: trial by trial, in bounded memory, a session whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data import format as store_format
from sensorium_jax.data.writer import SessionWriter
from sensorium_jax.errors import UserError, is_full_disk
from sensorium_jax.prepare import labels, release
from sensorium_jax.prepare.raw import RawSession, find_sessions
from sensorium_jax.prepare.recording import OnTrial, Recording, trials
from sensorium_jax.prepare.survey import Survey


class Options(NamedTuple):
    """How recordings become a store.

    Attributes:
        response: stored type of the responses. "float16" halves their size; its error is in the
            session's provenance.
        leave_out: trials that are not to be stored, as "SESSION:NUMBER" with a session's name or
            its beginning. The release's two corrupt trials always are (``release.CORRUPT``).
        command: what the user ran, for the provenance.
    """

    response: Literal["float32", "float16"] = "float32"
    leave_out: tuple[str, ...] = ()
    command: str = ""


def convert(
    raw: Path,
    out: Path,
    *,
    sessions: Sequence[str] | None = None,
    options: Options = Options(),  # noqa: B008 - immutable
    on_trial: OnTrial = lambda session, done, total: None,
) -> list[str]:
    """Convert recordings of the release. Sessions that are complete already are kept.

    Args:
        raw: a folder of session folders or zips, or one of them.
        out: the store; sessions that it holds already stay in it.
        sessions: session names, or beginnings of them; all by default.
        options: see ``Options``.
        on_trial: told of progress.

    Returns:
        The names of the sessions in the store.

    Raises:
        UserError: not a recording, a damaged or odd file, no such session, or a full disk.
    """
    found = find_sessions(raw)
    if sessions is not None:
        for wanted in sessions:
            if not any(p.name.startswith(wanted) for p in found):
                names = ", ".join(p.name for p in found)
                raise UserError(f"no session {wanted!r} in {raw}; there are: {names}")
        found = [p for p in found if p.name.startswith(tuple(sessions))]
    _check(options, [p.name for p in found])
    out.mkdir(parents=True, exist_ok=True)
    for path in found:
        convert_recording(RawSession(path), out, options=options, on_trial=on_trial)
    return store_format.finish_store(out)


def convert_recording(
    recording: Recording,
    out: Path,
    *,
    options: Options = Options(),  # noqa: B008 - immutable
    on_trial: OnTrial = lambda session, done, total: None,
) -> None:
    """Convert one session, unless the store has it already; ``finish_store`` when all are in."""
    left_out = _left_out(recording, options)
    made_from = {
        "recording": _identity(recording),
        "response": options.response,
        "left_out": left_out,
    }
    if store_format.is_complete(out, recording.name, made_from=made_from):
        return
    if not (recording.tiers[recording.numbers] == protocol.TRAIN).any():
        raise UserError(
            f"expected trials of the tier {protocol.TRAIN!r} in {recording.source}, found none: "
            "nothing to learn from or to normalise by; correct its tiers"
        )
    write = _Write(recording, out, options, left_out, made_from, on_trial)
    try:
        try:
            write.session(video_dtype="uint8")
        except _NotGreyLevels:
            write.session(video_dtype="float32")
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as a ValueError
        if not is_full_disk(error):
            raise
        raise UserError(
            f"no space left in {out} while writing {recording.name}; free some, then run the same "
            "command again: complete sessions are kept"
        ) from error


class _NotGreyLevels(Exception):
    """The video has values other than the integers 0..255."""


class _Write(NamedTuple):
    """One session on its way into a store."""

    recording: Recording
    out: Path
    options: Options
    left_out: list[int]
    made_from: dict[str, Any]
    on_trial: OnTrial

    def session(self, *, video_dtype: str) -> None:
        recording = self.recording
        numbers = [n for n in recording.numbers.tolist() if n not in self.left_out]
        released = {f"released/{name}": x for name, x in recording.released().items()}
        survey = Survey(recording, _known_clips(self.out, but=recording.name))
        rounding = _Rounding()
        with SessionWriter(
            self.out,
            recording.name,
            trials=len(numbers),
            frames=recording.frames,
            neurons=len(recording.unit_ids),
            image=(protocol.HEIGHT, protocol.WIDTH),
            video_dtype=video_dtype,
            response_dtype=self.options.response,
            simulated=recording.simulated,
        ) as writer:
            for row, seen in enumerate(trials(recording, numbers)):
                if video_dtype == "uint8" and seen.trial.video.dtype != np.uint8:
                    raise _NotGreyLevels
                rate = None
                if recording.simulated:
                    rate = recording.read_rate(seen.number, len(seen.trial.video))
                if self.options.response == "float16":
                    rounding.add(seen.trial.response, where=f"{recording.source}, {seen.number}")
                writer.write(row, seen.trial, rate=rate)
                survey.add(seen)
                self.on_trial(recording.name, row + 1, len(numbers))
            writer.finish(
                survey.table(),
                {
                    "position_um": recording.position_um.astype(np.float32),
                    "unit_ids": recording.unit_ids,
                    "stills": survey.stills(),
                    **released,
                    **survey.statistics(),
                },
                trial_files=len(recording.tiers),
                made_from=self.made_from,
                provenance={
                    "source": str(recording.source.absolute()),
                    "command": self.options.command,
                    "left_out": self.left_out,
                    "float16_error": rounding.report(),
                    "sha256": survey.sha256,
                },
            )


class _Rounding:
    """What storing responses as float16 changes."""

    def __init__(self):
        self._error = self._square = self._signal = 0.0

    def add(self, response: np.ndarray, *, where: str) -> None:
        highest = float(max(response.max(), -response.min()))
        if highest > np.finfo(np.float16).max:
            raise UserError(
                f"expected responses within float16's range of 65504 in {where}, found {highest}; "
                "store them as float32"
            )
        error = response - response.astype(np.float16)
        self._error = max(self._error, float(error.max()), float(-error.min()))
        self._square += float(np.vdot(error, error))
        self._signal += float(np.vdot(response, response))

    def report(self) -> dict[str, float] | None:
        """The largest error, and the root mean square error over that of the responses."""
        if not self._signal:
            return None
        return {"largest": self._error, "relative_rms": (self._square / self._signal) ** 0.5}


def _known_clips(store: Path, *, but: str) -> labels.Clips:
    """The clips of the sessions that the store has already: ids are shared between mice."""
    clips = labels.Clips()
    for file in sorted(store.glob(f"[!.]*/{store_format.SESSION_FILE}")):
        if file.parent.name == but:
            continue
        session = store_format.Session(file.parent)
        for clip, stills in zip(session.trials.clip, session.load("stills"), strict=True):
            clips.add(str(clip), stills)
    return clips


def _identity(recording: Recording) -> str:
    """Tells a recording from another, wherever it lies."""
    digest = hashlib.sha256("\n".join(recording.tiers).encode())
    digest.update(np.ascontiguousarray(recording.unit_ids).tobytes())
    digest.update(np.ascontiguousarray(recording.position_um).tobytes())
    return digest.hexdigest()


def _left_out(recording: Recording, options: Options) -> list[int]:
    known = release.known(recording.name)
    chosen = {release.CORRUPT[known.letter]} if known and known.letter in release.CORRUPT else set()
    for entry in options.leave_out:
        session, _, number = entry.rpartition(":")
        if recording.name.startswith(session):
            chosen.add(int(number))
    return sorted(chosen & set(recording.numbers.tolist()))


def _check(options: Options, names: Sequence[str]) -> None:
    if options.response not in ("float32", "float16"):
        raise UserError(f"expected responses as float32 or float16, got {options.response!r}")
    for entry in options.leave_out:
        session, _, number = entry.rpartition(":")
        if not session or not number.isdigit():
            raise UserError(
                f"expected SESSION:NUMBER to leave out, as in dynamic29513-3-5:668, got {entry!r}"
            )
        if not any(name.startswith(session) for name in names):
            raise UserError(
                f"no session {session!r} to leave trial {number} out of; there are: "
                f"{', '.join(names)}"
            )
