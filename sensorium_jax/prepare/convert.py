"""Conversion of recordings into a store: trial by trial, in bounded memory, sessions atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Session, TrialTable, finish_store, stored_sessions
from sensorium_jax.data.writer import SessionWriter, check_store_folder, is_complete, recover
from sensorium_jax.errors import UserError, hint, is_full_disk
from sensorium_jax.files import check_path, lock, refuse_overlap
from sensorium_jax.prepare import labels, release
from sensorium_jax.prepare.raw import find_sessions, open_sessions
from sensorium_jax.prepare.recording import OnTrial, Recording, trials
from sensorium_jax.prepare.survey import Survey


class Options(NamedTuple):
    """Options of the conversion.

    Attributes:
        response: stored dtype of the responses. "float16" halves their size; the rounding error is
            recorded in the session's provenance.
        leave_out: trials that are not stored, as "SESSION:NUMBER" with a name that
            ``match_recording`` takes. The release's two corrupt trials are never stored
            (``release.CORRUPT``).
        command: the user's command, for the provenance.
        rename: other names of sessions, as "OLD=NEW" with the name of the session or its file.
        fill_gaps: gaps in the behaviour of the release's layout, such as blinks, that are
            interpolated, in seconds at most; None: a gap is an error.

    Examples:
        >>> Options(leave_out=("dynamic29513-3-5:668",)).response
        'float32'
    """

    response: Literal["float32", "float16"] = "float32"
    leave_out: tuple[str, ...] = ()
    command: str = ""
    rename: tuple[str, ...] = ()
    fill_gaps: float | None = None

    def names(self) -> dict[str, str]:
        """New name of a session by its old one.

        Raises:
            UserError: an entry that is no OLD=NEW, or a name that cannot be a folder's.
        """
        names = {}
        for entry in self.rename:
            old, equals, new = entry.rpartition("=")
            if not (old and equals and new) or new.startswith(".") or set(new) & set("/\\:"):
                raise UserError(f"expected OLD=NEW to rename a session, got {entry!r}")
            names[old] = new
        return names


def convert(
    raw: Path,
    out: Path,
    *,
    sessions: Sequence[str] | None = None,
    options: Options = Options(),  # noqa: B008 - immutable
    on_trial: OnTrial = lambda session, done, total: None,
) -> list[str]:
    """Convert recordings of the release. Sessions that are already complete are kept.

    Args:
        raw: a folder of session folders or zips, or one of them.
        out: the store; the sessions that it holds already stay in it.
        sessions: names that ``match_recording`` takes; None: all.
        options: see ``Options``.
        on_trial: called with the session, the number of trials converted, and their total.

    Returns:
        The names of the sessions in the store.

    Raises:
        UserError: there is no recording or no such session, a file is damaged, or the disk is full.
    """
    names = options.names()
    recordings = [
        recording
        for path in find_sessions(raw)
        for recording in open_sessions(path, names=names, fill_gaps=options.fill_gaps)
    ]
    if sessions is not None:
        chosen = {id(match_recording(name, recordings)) for name in sessions}
        recordings = [r for r in recordings if id(r) in chosen]
    return convert_all(recordings, out, sources=[raw], options=options, on_trial=on_trial)


def convert_all(
    recordings: Sequence[Recording],
    out: Path,
    *,
    sources: Sequence[Path] = (),
    options: Options = Options(),  # noqa: B008 - immutable
    on_trial: OnTrial = lambda session, done, total: None,
) -> list[str]:
    """Convert recordings into one store, one process at a time, and declare it complete.

    Args:
        recordings: the sessions.
        out: the store: a new folder, an empty one, or a store of ours.
        sources: what is read, beside the recordings themselves.
        options: see ``Options``.
        on_trial: called with the session, the number of trials converted, and their total.

    Returns:
        The names of the sessions in the store.

    Raises:
        UserError: the store lies in what is read or holds what no conversion wrote, two recordings
            have one name, a recording is damaged, or the disk is full.
    """
    check_path(out)
    refuse_overlap(out, [*sources, *(r.source for r in recordings)], option="--out")
    _check_names(recordings)
    _check_options(options, recordings)
    check_store_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".convert.lock", wait=True):
        recover(out)
        for recording in recordings:
            convert_recording(recording, out, options=options, on_trial=on_trial)
        return finish_store(out)


def match_recording(name: str, recordings: Sequence[Recording]) -> Recording:
    """A recording by its whole name, that without "-Video-...", or the name of its file.

    Raises:
        UserError: there is none, or more than one.
    """
    matches = [r for r in recordings if name in (r.name, r.source.name, r.source.stem)]
    matches = matches or [r for r in recordings if name in short_names(r.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        sources = ", ".join(f"{r.name} in {r.source}" for r in matches)
        raise UserError(f"expected one session {name!r}, found {len(matches)} ({sources})")
    raise UserError(f"no session {name!r}; {hint(name, [r.name for r in recordings])}")


def short_names(session: str) -> tuple[str, str]:
    """A session's name without "-Video-...", and that without "dynamic" too.

    Examples:
        >>> short_names("dynamic29515-10-12-Video-9b4f")
        ('dynamic29515-10-12', '29515-10-12')
    """
    return session.partition("-Video-")[0], protocol.short_name(session)


def _check_names(recordings: Sequence[Recording]) -> None:
    """Raise ``UserError`` where two recordings would become one session."""
    sources: dict[str, Path] = {}
    for recording in recordings:
        name, source = recording.name, recording.source
        if name in sources:
            one = source.name if source.name != sources[name].name else source
            raise UserError(
                f"expected a name of its own for every session, found {name} in {sources[name]} "
                f"and in {source}; rename one with --rename {one}=NAME"
            )
        sources[name] = source


def convert_recording(
    recording: Recording,
    out: Path,
    *,
    options: Options = Options(),  # noqa: B008 - immutable
    on_trial: OnTrial = lambda session, done, total: None,
) -> None:
    """Convert one session, unless the store has it already.

    Call ``data.writer.finish_store`` once all sessions are converted.

    Raises:
        UserError: the recording is damaged or has no train tier, or the disk is full.
    """
    excluded = _excluded_trials(recording, options)
    made_from = {
        "recording": identity(recording),
        "response": options.response,
        "left_out": excluded,
    }
    if recording.choices:  # how it was read: another choice is converted anew
        made_from["choices"] = recording.choices
    if is_complete(out, recording.name, made_from=made_from):
        return
    if not (recording.tiers[recording.numbers] == protocol.TRAIN).any():
        raise UserError(
            f"expected trials of the tier {protocol.TRAIN!r} in {recording.source}, found none: "
            "nothing to learn from or to normalise by; correct its tiers"
        )
    conversion = _Conversion(recording, out, options, excluded, made_from, on_trial)
    try:
        try:
            conversion.run(video_dtype="uint8")
        except _NotGreyLevels:
            conversion.run(video_dtype="float32")
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as a ValueError
        if not is_full_disk(error):
            raise
        raise UserError(
            f"no space left in {out} while writing {recording.name}; free some, then run the same "
            "command again: complete sessions are kept"
        ) from error


def _short_trials(table: TrialTable) -> list[str]:
    """A note on trials that end before the first scored frame."""
    short = (table.tier != protocol.TRAIN) & (table.frames <= protocol.SKIP_FRAMES)
    if not short.any():
        return []
    numbers = ", ".join(map(str, table.number[short]))
    return [f"{short.sum()} trials are too short to be scored ({numbers}), and left out of scores"]


class _NotGreyLevels(Exception):
    """The video has values other than the integers 0..255."""


class _Conversion(NamedTuple):
    """The conversion of one session into a store."""

    recording: Recording
    out: Path
    options: Options
    excluded: list[int]  # file numbers of trials that are not stored
    made_from: dict[str, Any]
    on_trial: OnTrial

    def run(self, *, video_dtype: str) -> None:
        """Write the session; ``_NotGreyLevels`` if its video does not fit uint8."""
        recording = self.recording
        numbers = [n for n in recording.numbers.tolist() if n not in self.excluded]
        recording.check(numbers)
        released = {f"released/{name}": x for name, x in recording.released().items()}
        survey = Survey(recording, _stored_clips(self.out, exclude=recording.name))
        rounding, levels = _Rounding(), _Levels()
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
            for row, item in enumerate(trials(recording, numbers)):
                if video_dtype == "uint8" and item.trial.video.dtype != np.uint8:
                    raise _NotGreyLevels
                rate = None
                if recording.simulated:
                    rate = recording.read_rate(item.number, len(item.trial.video))
                if self.options.response == "float16":
                    rounding.add(item.trial.response, source=f"{recording.source}, {item.number}")
                levels.add(item.trial.video)
                writer.write(row, item.trial, rate=rate)
                survey.add(item)
                self.on_trial(recording.name, row + 1, len(numbers))
            levels.check(recording.source)
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
                    "left_out": self.excluded,
                    "float16_error": rounding.report(),
                    "sha256": survey.sha256,
                    "notes": [*recording.notes(), *_short_trials(survey.table())],
                },
            )


class _Levels:
    """Lowest and highest number of a session's films."""

    def __init__(self):
        self._low, self._high = np.inf, -np.inf

    def add(self, video: np.ndarray) -> None:
        self._low, self._high = min(self._low, video.min()), max(self._high, video.max())

    def check(self, source: Path) -> None:
        """Raise ``UserError`` unless these are grey levels 0 to 255: models are made for those."""
        if self._low < 0 or self._high > 255 or self._high <= 1:
            raise UserError(
                f"expected grey levels 0 to 255 in the films of {source}, found {self._low:g} to "
                f"{self._high:g}; scale them (NWB: --grey-levels LOW:HIGH)"
            )


class _Rounding:
    """The rounding error of responses that are stored as float16."""

    def __init__(self):
        self._error = self._square = self._signal = 0.0

    def add(self, response: np.ndarray, *, source: str) -> None:
        """Add the responses [T N] of a trial; ``source`` names it in errors."""
        highest = float(max(response.max(), -response.min()))
        if highest > np.finfo(np.float16).max:
            raise UserError(
                f"expected responses within float16's range of 65504 in {source}, found {highest}; "
                "store them as float32"
            )
        error = response - response.astype(np.float16)
        self._error = max(self._error, float(error.max()), float(-error.min()))
        self._square += float(np.vdot(error, error))
        self._signal += float(np.vdot(response, response))

    def report(self) -> dict[str, float] | None:
        """Largest error, and RMS error over the RMS of responses; None if no response was added."""
        if not self._signal:
            return None
        return {"largest": self._error, "relative_rms": (self._square / self._signal) ** 0.5}


def _stored_clips(store: Path, *, exclude: str) -> labels.Clips:
    """The clips of all sessions of the store but one: clip ids are shared between mice."""
    clips = labels.Clips()
    for folder in stored_sessions(store):
        if folder.name == exclude:
            continue
        session = Session(folder)
        for clip, stills in zip(session.trials.clip, session.load("stills"), strict=True):
            clips.add(str(clip), stills)
    return clips


def identity(recording: Recording) -> str:
    """Digest of a recording's tiers and neurons: identifies it independently of its path."""
    digest = hashlib.sha256("\n".join(recording.tiers).encode())
    digest.update(np.ascontiguousarray(recording.unit_ids).tobytes())
    digest.update(np.ascontiguousarray(recording.position_um).tobytes())
    return digest.hexdigest()


def _excluded_trials(recording: Recording, options: Options) -> list[int]:
    """File numbers of trials that are not stored: corrupt ones, and those of the options."""
    mouse = release.find_mouse(recording.recorded_name)
    corrupt = release.CORRUPT.get(mouse.letter) if mouse else None
    excluded = set() if corrupt is None else {corrupt}
    for entry in options.leave_out:
        session, _, number = entry.rpartition(":")
        names = recording.name, recording.source.name, recording.source.stem
        if session in (*names, *short_names(recording.name)):
            excluded.add(int(number))
    return sorted(excluded & set(recording.numbers.tolist()))


def _check_options(options: Options, recordings: Sequence[Recording]) -> None:
    """Raise ``UserError`` for an option that is not valid for these sessions."""
    if options.response not in ("float32", "float16"):
        raise UserError(f"expected responses as float32 or float16, got {options.response!r}")
    for entry in options.leave_out:
        session, _, number = entry.rpartition(":")
        if not session or not (number.isascii() and number.isdecimal()):
            raise UserError(
                f"expected SESSION:NUMBER to leave out, as in dynamic29513-3-5:668, got {entry!r}"
            )
        match_recording(session, recordings)
