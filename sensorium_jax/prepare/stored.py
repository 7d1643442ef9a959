"""A session of a store, as a recording that can be examined."""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Session, Trial, remedy
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.recording import RawTrial


class StoredSession:
    """A session of a store, as a ``recording.Recording``."""

    def __init__(self, session: Session):
        self.session = session
        self.name, self.source, self.simulated = session.name, session.folder, session.simulated
        self.numbers = np.sort(session.trials.number)
        names = np.array((protocol.MISSING, *protocol.TIERS))
        self.tiers = np.full(session.trial_files, protocol.MISSING, names.dtype)
        self.tiers[session.trials.number] = session.trials.tier
        self._row = {number: row for row, number in enumerate(session.trials.number.tolist())}
        self.unit_ids, self.position_um = session.load("unit_ids"), session.load("position_um")
        self.frames = session.frames

    def read(self, number: int) -> RawTrial:
        """One trial, by file number; ``UserError`` if its checksums are wrong."""
        row = self._row[number]
        try:
            trial = self.session.read(row, 0, int(self.session.trials.frames[row]))
        except (ValueError, OSError) as error:  # tensorstore
            raise UserError(
                f"expected trial {number} in {self.source}, which is damaged "
                f"({str(error).splitlines()[0][:200]}); remove that folder, then "
                f"{remedy(self.source.parent)}"
            ) from None
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

    def types(self) -> dict[str, str]:
        """Stored dtype of every field."""
        return {field: self.session.dtype(field) for field in Trial._fields}
