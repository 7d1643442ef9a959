"""Reading all of a session: what of it is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sensorium_jax.data.digests import NAME
from sensorium_jax.data.format import FIELDS, Session
from sensorium_jax.errors import UserError

OnTrial = Callable[[str, int, int], None]  # session, trials read, trials in all


def damaged_trials(
    session: Session, *, on_trial: OnTrial = lambda session, done, total: None
) -> dict[int, str]:
    """Rows of the trials of which something is damaged, and what: every trial is read whole.

    Examples:
        >>> from types import SimpleNamespace
        >>> table = SimpleNamespace(frames=[])
        >>> damaged_trials(SimpleNamespace(name="mouse", trials=table, simulated=False))
        {}
    """
    damaged = {}
    for row, frames in enumerate(map(int, session.trials.frames)):
        try:
            session.read(row, 0, frames)
            if session.simulated:
                session.read_rate(row, 0, frames)
        except UserError as error:
            damaged[row] = str(error)
        on_trial(session.name, row + 1, len(session.trials.frames))
    return damaged


def damaged_files(session: Session) -> Iterator[str]:
    """What is damaged of a session beside the fields of its trials, in one line each."""
    arrays = _arrays(session)
    for name in arrays:
        if name not in (*FIELDS, "rate"):
            try:
                session.load(name)
            except UserError as error:
                yield str(error)
    yield from _damaged_rates(session)
    for name in session.digests.names():  # of no array: those are compared as they are read
        if not name.startswith(tuple(f"{array}/" for array in arrays)):
            try:
                session.digests.check(name)
            except (ValueError, OSError) as error:
                yield f"expected {session.folder / name} as it was written, found damage ({error})"
    yield from _strangers(session)


def _arrays(session: Session) -> list[str]:
    """The arrays of a session, such as "pooled/video_std"."""
    files = session.digests.names()  # before version 0.2 there are none
    files = files or [
        path.relative_to(session.folder).as_posix() for path in session.folder.rglob("*")
    ]
    return sorted({name.partition("/c/")[0] for name in files if "/c/" in name})


def _damaged_rates(session: Session) -> Iterator[str]:
    for row, frames in enumerate(map(int, session.trials.frames)) if session.simulated else ():
        try:
            session.read_rate(row, 0, frames)
        except UserError as error:
            yield str(error)


def _strangers(session: Session) -> Iterator[str]:
    """Files that were not written with the session; of before version 0.2 that is not known."""
    written = {*session.digests.names(), NAME}
    for path in sorted(session.folder.rglob("*")) if len(written) > 1 else ():
        if path.is_file() and path.relative_to(session.folder).as_posix() not in written:
            yield f"expected files of the conversion in {session.folder}, found {path} too; move it"
