"""Comparison with the published counts and labels of the release's ten mice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import TrialTable
from sensorium_jax.prepare import release
from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Examined, Finding
from sensorium_jax.prepare.recording import Recording


def counts(recording: Recording, table: TrialTable) -> Iterator[Finding]:
    """Compare neurons, frames and trials of a mouse; a simulated mouse may have fewer."""
    mouse = release.find_mouse(recording.name)
    if recording.simulated:
        yield Finding(NOTE, recording.name, "simulated: nothing found here is true of a mouse")
    elif mouse is None:
        text = "not one of the release's ten mice: its counts are compared with nothing"
        yield Finding(NOTE, recording.name, text)
    if mouse is None:
        return
    expected = {"length of the time axis": mouse.frames}
    actual = {"length of the time axis": recording.frames}
    if not recording.simulated:
        expected["neurons"], actual["neurons"] = mouse.neurons, len(recording.unit_ids)
    included = ~np.isin(mouse.trials.number, _excluded_trials(mouse, table))
    for tier in protocol.TIERS:
        expected[f"{tier} trials"] = int((included & (mouse.trials.tier == tier)).sum())
        actual[f"{tier} trials"] = int((table.tier == tier).sum())
    for name, number in expected.items():
        if number != actual[name]:
            text = f"expected {number} {name}, as published, found {actual[name]}"
            level = NOTE if recording.simulated else ERROR
            yield Finding(level, recording.name, f"{text}; fetch that session again")


def labels(mice: Iterable[Examined]) -> Iterator[Finding]:
    """Compare tier, family, valid frames and withheld responses of trials; clips of all mice."""
    clips: set[tuple[str, str]] = set()  # computed id, published id
    names = []
    for mouse in mice:
        known_mouse = release.find_mouse(mouse.name)
        if known_mouse is None:
            continue
        names.append(mouse.name)
        _, rows, published_rows = np.intersect1d(
            mouse.table.number, known_mouse.trials.number, return_indices=True
        )
        computed = TrialTable(*(column[rows] for column in mouse.table))
        published = TrialTable(*(column[published_rows] for column in known_mouse.trials))
        clips |= set(zip(computed.clip.tolist(), published.clip.tolist(), strict=True))
        for name in ("tier", "family", "frames", "labelled"):
            x, y = getattr(computed, name), getattr(published, name)
            if (differ := np.flatnonzero(x != y)).size:
                first = differ[0]
                text = f"{name} of {len(differ)} trials is not as published: trial "
                text += f"{computed.number[first]} has {x[first]}, not {y[first]}"
                yield Finding(WARNING, mouse.name, text)
    if not names:
        return
    computed_count, published_count = (len({pair[side] for pair in clips}) for side in (0, 1))
    if computed_count == published_count == len(clips):  # one-to-one
        text = f"all {len(clips)} clips, and the trials that share them, are as published"
        yield Finding(NOTE, ", ".join(names), text)
    else:
        text = f"found {computed_count} clips where {published_count} are published: other trials "
        text += "share one"
        yield Finding(WARNING, ", ".join(names), text)


def _excluded_trials(mouse: release.Mouse, table: TrialTable) -> list[int]:
    """File number of the mouse's corrupt trial, if it is not in the table."""
    corrupt = release.CORRUPT.get(mouse.letter)
    return [] if corrupt is None or corrupt in table.number else [corrupt]
