"""The floor of the official scores of a stored mouse, before any model (``scores.units``)."""

from __future__ import annotations

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Session
from sensorium_jax.data.recordings import response_moments
from sensorium_jax.prepare.doctor.findings import NOTE, Finding
from sensorium_jax.scores.correlation import SingleTrialCorrelation


class Floors:
    """What each neuron's mean rate scores in official units, by tier, from the responses alone."""

    def __init__(self, session: Session):
        self._session = session
        self._std = response_moments(session, "released").std  # [f N]
        self._tiers: dict[str, SingleTrialCorrelation] = {}

    def add(self, tier: str, response: np.ndarray) -> None:
        """Add a trial's responses [T N]."""
        frames = np.arange(protocol.SKIP_FRAMES, min(len(response), protocol.CLIP_FRAMES))
        if tier in protocol.EVALUATION_TIERS and len(frames):
            std = self._std[np.minimum(frames, len(self._std) - 1)]
            meter = self._tiers.setdefault(tier, SingleTrialCorrelation(response.shape[1]))
            meter.add("all", response[frames] / std, 1 / std)

    def values(self) -> dict[str, float]:
        """The floor of every tier that has trials, mean over neurons."""
        meters = {t: self._tiers[t] for t in protocol.EVALUATION_TIERS if t in self._tiers}
        return {tier: float(meter.correlation().value.mean()) for tier, meter in meters.items()}

    def finding(self) -> Finding:
        """The floors in words."""
        floors = ", ".join(f"{floor:.3f} on {tier}" for tier, floor in self.values().items())
        trials = int((self._session.trials.tier == protocol.TRAIN).sum())
        text = f"a constant rate scores {floors} in official units, whose std is that of {trials} "
        text += "train trials, and 0 in raw units (docs/floor.md)"
        return Finding(NOTE, self._session.name, text)
