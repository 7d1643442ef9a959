"""All mice of a folder or store, and what they share."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import SESSION_FILE, STORE_FILE, open_store
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import labels
from sensorium_jax.prepare.doctor import published
from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Diagnosis, Examined, Finding
from sensorium_jax.prepare.doctor.session import examine_session
from sensorium_jax.prepare.raw import RawSession, find_sessions
from sensorium_jax.prepare.recording import OnTrial
from sensorium_jax.prepare.stored import StoredSession


def examine(
    path: Path,
    *,
    raw: Path | None = None,
    on_trial: OnTrial = lambda session, done, total: None,
) -> Diagnosis:
    """Examine a folder of recordings, one recording, or a store.

    Args:
        path: a folder of session folders or zips, or one of them, or a store.
        raw: for a store, the recordings it was made from, to be compared bit for bit.
        on_trial: told of progress.

    Raises:
        UserError: there is neither a recording nor a store.
    """
    stored = (path / STORE_FILE).exists() or any(path.glob(f"*/{SESSION_FILE}"))
    if raw is not None and not stored:
        raise UserError(f"expected a store at {path} to compare with {raw}, found none")
    clips = labels.Clips()
    mice: list[Examined] = []
    found: list[Finding] = []
    for open_one in _stored(path) if stored else _raw(path):
        try:
            recording = open_one()
        except UserError as error:
            found.append(Finding(ERROR, str(path), str(error)))
            continue
        mouse, of_mouse = examine_session(recording, clips, on_trial)
        found += of_mouse
        if mouse is not None:
            mice.append(mouse)
            if stored:
                found += _labels(recording, mouse)
        if raw is not None:
            found += _bit_for_bit(recording, raw, on_trial)
    found += [*_shared(mice), *published.labels(mice)]
    return Diagnosis(str(path), tuple(mice), tuple(found))


def _raw(path: Path) -> Iterator:
    for session in find_sessions(path):
        yield lambda session=session: RawSession(session)


def _stored(path: Path) -> Iterator:
    for session in open_store(path).sessions:
        yield lambda session=session: StoredSession(session)


def _shared(mice: Iterable[Examined]) -> Iterator[Finding]:
    """Clips that were shown to two mice."""
    tiers = {mouse.name: _tiers_of_clips(mouse) for mouse in mice}
    for one, other in itertools.combinations(tiers, 2):
        here, there = tiers[one], tiers[other]
        both = sorted(here.keys() & there.keys())
        if not both:
            continue
        pair = f"{one} and {other}"
        yield Finding(NOTE, pair, f"{len(both)} clips were shown to both")
        moved = [clip for clip in both if here[clip] != there[clip]]
        leaks = [clip for clip in moved if protocol.TRAIN in here[clip] | there[clip]]
        if leaks:
            text = f"{len(leaks)} clips (first: {leaks[0]}) are in train of one and in an "
            text += "evaluation tier of the other: a core shared by both sees them"
            yield Finding(ERROR, pair, f"{text}; edit the tiers of either")
        if len(moved) > len(leaks):
            text = f"{len(moved) - len(leaks)} clips are in different evaluation tiers of both"
            advice = "train on the train tier only, or hidden clips are seen"
            yield Finding(WARNING, pair, f"{text}; {advice}")


def _tiers_of_clips(mouse: Examined) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for clip, tier in zip(mouse.table.clip.tolist(), mouse.table.tier.tolist(), strict=True):
        found[clip].add(tier)
    return found


def _labels(recording: StoredSession, mouse: Examined) -> Iterator[Finding]:
    """Stored families and clips against those that the frames show."""
    stored = recording.session.trials
    if len(stored.number) != len(mouse.table.number):
        return  # damaged trials are told already
    differ = np.flatnonzero(stored.family != mouse.table.family)
    if len(differ):
        first = stored.number[differ[0]]
        text = f"the stored family of {len(differ)} trials is not what their frames show: trial "
        text += f"{first} is {mouse.table.family[differ[0]]}, not {stored.family[differ[0]]}"
        yield Finding(WARNING, mouse.name, text)
    same_stored = stored.clip[:, None] == stored.clip
    same_seen = mouse.table.clip[:, None] == mouse.table.clip
    if (same_stored != same_seen).any():
        text = "stored clips are not what the frames show: other trials share one"
        yield Finding(WARNING, mouse.name, text)


def _bit_for_bit(recording: StoredSession, raw: Path, on_trial: OnTrial) -> Iterator[Finding]:
    """Every stored number against the recording's."""
    by_name = {
        path.stem if path.suffix == ".zip" else path.name: path for path in find_sessions(raw)
    }
    if recording.name not in by_name:
        text = f"not in {raw}, which has {', '.join(by_name)}: not compared"
        yield Finding(ERROR, recording.name, text)
        return
    source = RawSession(by_name[recording.name])
    missing = set(source.numbers.tolist()) - set(recording.numbers.tolist())
    if missing:
        text = f"trials {', '.join(map(str, sorted(missing)))} of {source.source} are not stored"
        yield Finding(NOTE, recording.name, text)
    wrong = 0
    for done, number in enumerate(recording.numbers.tolist(), start=1):
        on_trial(f"{recording.name} against its recording", done, len(recording.numbers))
        try:
            expected, stored = source.read(number), recording.read(number)
        except UserError as error:
            yield Finding(ERROR, recording.name, str(error))
            continue
        for field, x in stored.trial._asdict().items():
            y = getattr(expected.trial, field)
            if field == "response":
                y = y.astype(recording.types()["response"])
            if x.shape != y.shape or not np.array_equal(x, y):
                wrong += 1
                text = f"{field} of trial {number} is not that of {source.source}"
                yield Finding(ERROR, recording.name, f"{text}; convert it again")
    if not wrong:
        text = f"all {len(recording.numbers)} trials equal {source.source}, bit for bit"
        yield Finding(NOTE, recording.name, text)
