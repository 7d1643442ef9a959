"""What was found, against what is published of the release's ten mice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import TrialTable
from sensorium_jax.prepare import release
from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Examined, Finding
from sensorium_jax.prepare.recording import Recording


def counts(recording: Recording, table: TrialTable) -> Iterator[Finding]:
    """Neurons, frames and trials of a mouse. Simulated ones may be thinned out."""
    known = release.known(recording.name)
    if recording.simulated:
        yield Finding(NOTE, recording.name, "simulated: nothing found here is true of a mouse")
    elif known is None:
        text = "not one of the release's ten mice: its counts are compared with nothing"
        yield Finding(NOTE, recording.name, text)
    if known is None:
        return
    expected = {"length of the time axis": known.frames}
    found = {"length of the time axis": recording.frames}
    if not recording.simulated:
        expected["neurons"], found["neurons"] = known.neurons, len(recording.unit_ids)
    kept = ~np.isin(known.trials.number, _left_out(known, table))
    for tier in protocol.TIERS:
        expected[f"{tier} trials"] = int((kept & (known.trials.tier == tier)).sum())
        found[f"{tier} trials"] = int((table.tier == tier).sum())
    for what, number in expected.items():
        if number != found[what]:
            text = f"expected {number} {what}, as published, found {found[what]}"
            level = NOTE if recording.simulated else ERROR
            yield Finding(level, recording.name, f"{text}; fetch that session again")


def labels(mice: Iterable[Examined]) -> Iterator[Finding]:
    """Family, valid frames and withheld responses of every trial; clips, over all mice."""
    clips: set[tuple[str, str]] = set()  # ours, published
    names = []
    for mouse in mice:
        known = release.known(mouse.name)
        if known is None:
            continue
        names.append(mouse.name)
        _, here, there = np.intersect1d(
            mouse.table.number, known.trials.number, return_indices=True
        )
        ours, theirs = (
            TrialTable(*(column[rows] for column in table))
            for table, rows in ((mouse.table, here), (known.trials, there))
        )
        clips |= set(zip(ours.clip.tolist(), theirs.clip.tolist(), strict=True))
        for what in ("tier", "family", "frames", "labelled"):
            x, y = getattr(ours, what), getattr(theirs, what)
            if (differ := np.flatnonzero(x != y)).size:
                first = differ[0]
                text = f"{what} of {len(differ)} trials is not as published: trial "
                text += f"{ours.number[first]} has {x[first]}, not {y[first]}"
                yield Finding(WARNING, mouse.name, text)
    if not names:
        return
    ours, theirs = (len({pair[side] for pair in clips}) for side in (0, 1))
    if ours == theirs == len(clips):  # each of ours stands for one of theirs
        text = f"all {len(clips)} clips, and the trials that share them, are as published"
        yield Finding(NOTE, ", ".join(names), text)
    else:
        text = f"found {ours} clips where {theirs} are published: other trials share one"
        yield Finding(WARNING, ", ".join(names), text)


def _left_out(known: release.Mouse, table: TrialTable) -> list[int]:
    """The corrupt trial, if it was not stored."""
    corrupt = release.CORRUPT.get(known.letter)
    return [] if corrupt is None or corrupt in table.number else [corrupt]
