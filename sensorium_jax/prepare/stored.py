"""A session of a store, as a recording that can be examined."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Session, Trial
from sensorium_jax.prepare.recording import RawTrial


class StoredSession:
    """A session of a store, as a ``recording.Recording``."""

    choices: dict[str, str] = {}  # those of the conversion are in its record

    def __init__(self, session: Session):
        self.session = session
        self.name, self.source, self.simulated = session.name, session.folder, session.simulated
        self.recorded_name = session.name
        self.numbers = np.sort(session.trials.number)
        names = np.array((protocol.MISSING, *protocol.TIERS))
        self.tiers = np.full(session.trial_files, protocol.MISSING, names.dtype)
        self.tiers[session.trials.number] = session.trials.tier
        self._row = {number: row for row, number in enumerate(session.trials.number.tolist())}
        self.unit_ids, self.position_um = session.load("unit_ids"), session.load("position_um")
        self.frames = session.frames

    def check(self, numbers: Iterable[int]) -> None:
        """Nothing: the table of a session has every trial."""

    def read(self, number: int) -> RawTrial:
        """One trial, by file number; ``UserError`` if its checksums are wrong."""
        row = self._row[number]
        trial = self.session.read(row, 0, int(self.session.trials.frames[row]))
        labelled = bool(self.session.trials.labelled[row])
        return RawTrial(trial, labelled, self.session.provenance["sha256"][row])

    def read_rate(self, number: int, frames: int) -> np.ndarray:
        """The true rate of a simulated mouse: [T N]."""
        return self.session.read_rate(self._row[number], 0, frames)

    def released(self) -> dict[str, np.ndarray]:
        """Statistics that came with the recording."""
        if not self.session.has_released:
            return {}
        names = [f"{field}_{m}" for field in Trial._fields for m in ("mean", "std")]
        return {name: self.session.load(f"released/{name}") for name in names}

    def notes(self) -> list[str]:
        """What was noted when the session was converted."""
        return list(self.session.provenance.get("notes", []))

    def types(self) -> dict[str, str]:
        """Stored dtype of every field."""
        return {field: self.session.dtype(field) for field in Trial._fields}
