"""The results of an examination."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import TrialTable

ERROR, WARNING, NOTE = "error", "warning", "note"


class Finding(NamedTuple):
    """One result: errors make scores wrong, warnings may do so, notes are for information."""

    level: str  # ERROR, WARNING or NOTE
    where: str  # session, or file
    what: str  # the expected and the actual value, and what to do


class Examined(NamedTuple):
    """Sizes, trial table and example stills of one examined mouse."""

    name: str
    simulated: bool
    neurons: int
    frames: int  # length of the time axis
    table: TrialTable
    types: dict[str, str]  # field -> dtype on disk
    examples: dict[str, np.ndarray]  # family -> a still, uint8 [H W]

    def tiers(self) -> dict[str, int]:
        """Number of trials of every tier."""
        return {tier: int((self.table.tier == tier).sum()) for tier in protocol.TIERS}

    def families(self) -> dict[str, int]:
        """Number of trials of every stimulus family."""
        families, counts = np.unique(self.table.family, return_counts=True)
        return dict(zip(families.tolist(), counts.tolist(), strict=True))


class Diagnosis(NamedTuple):
    """The results for all mice.

    Examples:
        >>> note = Finding(NOTE, "mouse", "responses are withheld (zeros) in final_test_main")
        >>> diagnosis = Diagnosis("STORE", (), (note,))
        >>> diagnosis.healthy, len(diagnosis.select(NOTE)), diagnosis.select(ERROR)
        (True, 1, [])
    """

    path: str
    sessions: tuple[Examined, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there are no errors."""
        return all(finding.level != ERROR for finding in self.findings)

    def select(self, level: str) -> list[Finding]:
        """The findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    of = select  # the name before version 0.2
