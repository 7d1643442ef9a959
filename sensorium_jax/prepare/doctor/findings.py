"""What an examination brings to light."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import TrialTable

ERROR, WARNING, NOTE = "error", "warning", "note"


class Finding(NamedTuple):
    """One thing found: errors make results wrong, warnings may, notes are to be known."""

    level: str
    where: str  # session, or file
    what: str  # what was expected and found, and what to do


class Examined(NamedTuple):
    """One mouse, in numbers."""

    name: str
    simulated: bool
    neurons: int
    frames: int  # length of the time axis
    table: TrialTable
    types: dict[str, str]  # field -> dtype on disk
    examples: dict[str, np.ndarray]  # family -> a still, uint8 [H W]

    def tiers(self) -> dict[str, int]:
        """Trials of every tier."""
        return {tier: int((self.table.tier == tier).sum()) for tier in protocol.TIERS}

    def families(self) -> dict[str, int]:
        """Trials of every stimulus family."""
        found, counts = np.unique(self.table.family, return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))


class Diagnosis(NamedTuple):
    """All that was found, in all mice."""

    path: str
    sessions: tuple[Examined, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there are no errors."""
        return all(finding.level != ERROR for finding in self.findings)

    def of(self, level: str) -> list[Finding]:
        """Findings of one level."""
        return [finding for finding in self.findings if finding.level == level]
