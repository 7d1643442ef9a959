"""Optimisers and schedules as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import optax

from sensorium_jax.errors import check_ranges

__all__ = ["AdamW", "Plateau", "PlateauState"]


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW with torch's defaults, which the starter kit's trainer uses.

    Attributes:
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay, multiplied by the learning rate.
        schedule: "constant" leaves changes to ``Plateau``; "cosine" has a linear warm-up over a
            twentieth of the steps (none with fewer than twenty) and falls to zero at the last step.

    Raises:
        ValueError: another schedule.

    Examples:
        >>> AdamW(schedule="linear")
        Traceback (most recent call last):
        ValueError: expected a schedule of 'constant' or 'cosine', got 'linear'
    """

    learning_rate: float = 0.005
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine"] = "constant"

    def __post_init__(self):
        check_ranges(self, {"learning_rate": (0, math.inf), "weight_decay": (0, math.inf)})
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(
                f"expected a schedule of 'constant' or 'cosine', got {self.schedule!r}"
            )

    def make(self, steps: int) -> optax.GradientTransformation:
        """The optax transformation for a run of ``steps`` steps."""
        rate = self.learning_rate
        if self.schedule == "cosine":
            rate = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps)
        return optax.adamw(rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=self.weight_decay)


class PlateauState(NamedTuple):
    """State of ``Plateau``: the best score, and the epochs and decays since."""

    best: float = float("-inf")
    best_step: int = 0
    waited: int = 0  # epochs since the best score, or since the last decay
    decays: int = 0
    lr_scale: float = 1.0  # multiplies the learning rate

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> PlateauState:
        """The state from a checkpoint; before version 0.2 ``lr_scale`` was called ``rate``.

        Examples:
            >>> PlateauState.from_record({"best": 0.2, "rate": 0.3}).lr_scale
            0.3
        """
        return cls(**{"lr_scale" if k == "rate" else k: v for k, v in record.items()})


Verdict = Literal["better", "wait", "decay", "stop"]


@dataclasses.dataclass(frozen=True)
class Plateau:
    """Lower the learning rate when the score stops rising; stop training after a few rounds.

    After ``patience`` epochs without a better score a round ends: the best weights are restored and
    lr_scale = max(floor, factor lr_scale). At the end of the last of ``rounds`` rounds training
    stops. The starter kit does the same, but lowers the learning rate one epoch after it restores
    the weights.

    Attributes:
        patience: epochs without improvement that end a round.
        factor: the learning rate is multiplied by it (starter kit: 0.3).
        rounds: number of rounds (``lr_decay_steps`` 4 in the benchmark notebook).
        tolerance: smallest rise of the score that counts.
        floor: smallest ``lr_scale`` (starter kit: min_lr 1e-4 of 0.005).
    """

    patience: int = 5
    factor: float = 0.3
    rounds: int = 4
    tolerance: float = 1e-6
    floor: float = 0.02

    def __post_init__(self):
        limits = {"patience": (1, 1_000_000), "rounds": (1, 1_000_000), "factor": (0, 1)}
        check_ranges(self, limits | {"tolerance": (0, math.inf), "floor": (0, 1)})

    def update(
        self, state: PlateauState, score: float, *, step: int
    ) -> tuple[PlateauState, Verdict]:
        """The next state, and the verdict on the score of an epoch that ended at ``step``.

        Examples:
            >>> plateau, state = Plateau(patience=2, rounds=2), PlateauState()
            >>> for score in (0.1, 0.2, 0.2, 0.2):
            ...     state, verdict = plateau.update(state, score, step=0)
            ...     print(verdict, state.lr_scale)
            better 1.0
            better 1.0
            wait 1.0
            decay 0.3
        """
        if score > state.best + self.tolerance:
            return state._replace(best=score, best_step=step, waited=0), "better"
        if state.waited + 1 < self.patience:
            return state._replace(waited=state.waited + 1), "wait"
        if state.decays + 1 >= self.rounds:
            return state._replace(waited=state.waited + 1), "stop"
        scale = max(self.floor, state.lr_scale * self.factor)
        return state._replace(waited=0, decays=state.decays + 1, lr_scale=scale), "decay"
