"""Optimisers and schedules as frozen dataclasses."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import optax

__all__ = ["AdamW", "Plateau", "PlateauState"]


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW with torch's defaults, which the starter kit's trainer uses.

    Attributes:
        learning_rate: peak learning rate.
        weight_decay: decoupled, times the learning rate.
        schedule: "constant" leaves it to ``Plateau``; "cosine" warms up over a twentieth of the
            steps (not at all in fewer than twenty) and falls to zero at the last.
    """

    learning_rate: float = 0.005
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine"] = "constant"

    def __post_init__(self):
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(
                f"expected a schedule of 'constant' or 'cosine', got {self.schedule!r}"
            )

    def make(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a run of ``steps`` steps."""
        rate = self.learning_rate
        if self.schedule == "cosine":
            rate = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps)
        return optax.adamw(rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=self.weight_decay)


class PlateauState(NamedTuple):
    """Where a run stands: best score so far, and what was done about the lack of better ones."""

    best: float = float("-inf")
    best_step: int = 0
    waited: int = 0  # epochs since the best, or since the last decay
    decays: int = 0
    lr_scale: float = 1.0  # multiplies the learning rate

    @classmethod
    def from_record(cls, record: dict[str, float]) -> PlateauState:
        """The state that a checkpoint holds; before version 0.2 the scale was called rate."""
        return cls(**{"lr_scale" if k == "rate" else k: v for k, v in record.items()})


Verdict = Literal["better", "wait", "decay", "stop"]


@dataclasses.dataclass(frozen=True)
class Plateau:
    """Lower the learning rate when the score stops rising, and stop when that no longer helps.

    After ``patience`` epochs without a better score the best weights come back and the learning
    rate falls by ``factor``; in the last of ``rounds`` rounds the run ends instead. The starter
    kit means the same, but lowers the rate one epoch after it restores the weights.

    Attributes:
        patience: epochs without improvement that end a round.
        factor: what the learning rate is multiplied by (starter kit: 0.3).
        rounds: number of rounds (``lr_decay_steps`` 4 in the benchmark notebook).
        tolerance: smallest rise that counts.
        floor: smallest multiplier (starter kit: min_lr 1e-4 of 0.005).
    """

    patience: int = 5
    factor: float = 0.3
    rounds: int = 4
    tolerance: float = 1e-6
    floor: float = 0.02

    def update(
        self, state: PlateauState, score: float, *, step: int
    ) -> tuple[PlateauState, Verdict]:
        """Judge the score of an epoch that ended at ``step``."""
        if score > state.best + self.tolerance:
            return state._replace(best=score, best_step=step, waited=0), "better"
        if state.waited + 1 < self.patience:
            return state._replace(waited=state.waited + 1), "wait"
        if state.decays + 1 >= self.rounds:
            return state._replace(waited=state.waited + 1), "stop"
        scale = max(self.floor, state.lr_scale * self.factor)
        return state._replace(waited=0, decays=state.decays + 1, lr_scale=scale), "decay"
