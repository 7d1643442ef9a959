"""Examination of all mice of a folder or store, and of the clips that they share."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import SESSION_FILE, STORE_FILE, open_store
from sensorium_jax.data.verify import damaged_files
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import labels
from sensorium_jax.prepare.convert import identity
from sensorium_jax.prepare.doctor import published
from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Diagnosis, Examined, Finding
from sensorium_jax.prepare.doctor.session import examine_session
from sensorium_jax.prepare.raw import RawSession, find_sessions, open_sessions
from sensorium_jax.prepare.raw_files import session_roots
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
        raw: for a store, the recordings that it was made from, to compare bit for bit.
        on_trial: called with the session, the number of trials examined, and their total.

    Raises:
        UserError: there is neither a recording nor a store.

    Examples:
        >>> examine(Path("nowhere"))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected a folder of recordings at nowhere, found ...
    """
    is_store = (path / STORE_FILE).exists() or any(path.glob(f"*/{SESSION_FILE}"))
    if raw is not None and not is_store:
        raise UserError(f"expected a store at {path} to compare with {raw}, found none")
    clips = labels.Clips()
    mice: list[Examined] = []
    findings: list[Finding] = []
    for open_recording in _stored_recordings(path) if is_store else _raw_recordings(path):
        try:
            recording = open_recording()
            recording.check(recording.numbers.tolist())
        except UserError as error:
            findings.append(Finding(ERROR, str(path), str(error)))
            continue
        mouse, mouse_findings = examine_session(recording, clips, on_trial)
        findings += mouse_findings
        if mouse is not None:
            mice.append(mouse)
            if isinstance(recording, StoredSession):
                findings += _compare_labels(recording, mouse)
                findings += _check_files(recording)
        if raw is not None and isinstance(recording, StoredSession):
            findings += _compare_raw(recording, raw, on_trial)
    findings += [*_check_shared_clips(mice), *published.labels(mice)]
    return Diagnosis(str(path), tuple(mice), tuple(findings))


def _raw_recordings(path: Path) -> Iterator[Callable[[], RawSession]]:
    """Functions that open the recordings of a folder, one each."""
    for source in find_sessions(path):
        for root in session_roots(source):
            yield lambda source=source, root=root: RawSession(source, root=root)


def _stored_recordings(path: Path) -> Iterator[Callable[[], StoredSession]]:
    """Functions that open the sessions of a store as recordings, one each."""
    for session in open_store(path).sessions:
        yield lambda session=session: StoredSession(session)


def _check_shared_clips(mice: Iterable[Examined]) -> Iterator[Finding]:
    """Clips that were shown to two mice, and whether their tiers agree."""
    tiers = {mouse.name: _clip_tiers(mouse) for mouse in mice}
    for a, b in itertools.combinations(tiers, 2):
        tiers_a, tiers_b = tiers[a], tiers[b]
        shared = sorted(tiers_a.keys() & tiers_b.keys())
        if not shared:
            continue
        pair = f"{a} and {b}"
        yield Finding(NOTE, pair, f"{len(shared)} clips were shown to both")
        different = [clip for clip in shared if tiers_a[clip] != tiers_b[clip]]
        leaks = [clip for clip in different if protocol.TRAIN in tiers_a[clip] | tiers_b[clip]]
        if leaks:
            text = f"{len(leaks)} clips (first: {leaks[0]}) are in train of one and in an "
            text += "evaluation tier of the other: a core shared by both sees them"
            yield Finding(ERROR, pair, f"{text}; edit the tiers of either")
        if len(different) > len(leaks):
            text = f"{len(different) - len(leaks)} clips are in different evaluation tiers of both"
            advice = "train on the train tier only, or hidden clips are seen"
            yield Finding(WARNING, pair, f"{text}; {advice}")


def _clip_tiers(mouse: Examined) -> dict[str, set[str]]:
    """The tiers of every clip of a mouse."""
    tiers: dict[str, set[str]] = defaultdict(set)
    for clip, tier in zip(mouse.table.clip.tolist(), mouse.table.tier.tolist(), strict=True):
        tiers[clip].add(tier)
    return tiers


def _check_files(recording: StoredSession) -> Iterator[Finding]:
    """Read what examination of the trials does not: statistics, true rates, records."""
    for damage in damaged_files(recording.session):
        yield Finding(ERROR, recording.name, damage)


def _compare_labels(recording: StoredSession, mouse: Examined) -> Iterator[Finding]:
    """Compare stored families and clips with those computed from the frames."""
    stored = recording.session.trials
    if len(stored.number) != len(mouse.table.number):
        return  # damaged trials are reported already
    differ = np.flatnonzero(stored.family != mouse.table.family)
    if len(differ):
        first = stored.number[differ[0]]
        text = f"the stored family of {len(differ)} trials is not what their frames show: trial "
        text += f"{first} is {mouse.table.family[differ[0]]}, not {stored.family[differ[0]]}"
        yield Finding(WARNING, mouse.name, text)
    stored_pairs = stored.clip[:, None] == stored.clip
    frame_pairs = mouse.table.clip[:, None] == mouse.table.clip
    if (stored_pairs != frame_pairs).any():
        text = "stored clips are not what the frames show: other trials share one"
        yield Finding(WARNING, mouse.name, text)


def _find_source(recording: StoredSession, raw: Path) -> RawSession:
    """The recording that a session was made from: of the same tiers and neurons.

    Raises:
        UserError: there is none, or one in ``raw`` is damaged.
    """
    made_from = recording.session.made_from
    seconds = made_from.get("choices", {}).get("fill_gaps", "").removesuffix(" s")
    fill_gaps = float(seconds) if seconds else None
    sources = [s for path in find_sessions(raw) for s in open_sessions(path, fill_gaps=fill_gaps)]
    same = [s for s in sources if identity(s) == made_from["recording"]]
    for source in (*same, *sources):
        if source.name == recording.name:
            return source
    if same:  # it was renamed
        return same[0]
    names = ", ".join(s.name for s in sources)
    raise UserError(f"not in {raw}, which has {names}: not compared")


def _compare_raw(recording: StoredSession, raw: Path, on_trial: OnTrial) -> Iterator[Finding]:
    """Compare every stored array with the recording's, bit for bit."""
    try:
        source = _find_source(recording, raw)
    except UserError as error:
        yield Finding(ERROR, recording.name, str(error))
        return
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
