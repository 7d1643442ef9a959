"""Losses: elementwise, and reduced once."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp

from sensorium_jax.types import Array, Statistics

EPSILON = 1e-8  # keeps the logarithm of a zero rate finite (neuralpredictors' PoissonLoss)

__all__ = ["Scaling", "poisson"]


def poisson(rate: Array, response: Array, *, epsilon: float = EPSILON, full: bool = False) -> Array:
    """Negative Poisson log-likelihood, elementwise.

    Args:
        rate: expected response.
        response: what was recorded, of the same shape.
        epsilon: added to the rate in the logarithm.
        full: add Stirling's approximation of log(response!), a term of the response alone that
            changes no gradient (neuralpredictors' ``full_loss``).
    """
    loss = rate - response * jnp.log(rate + epsilon)
    return loss + _log_factorial(response) if full else loss


def _log_factorial(x: Array) -> Array:
    """Stirling's approximation where x > 1, and zero elsewhere, as in torch."""
    safe = jnp.maximum(x, 1)
    return jnp.where(x > 1, x * jnp.log(safe) - x + jnp.log(2 * jnp.pi * safe) / 2, 0)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How elementwise losses become one number.

    Attributes:
        kind: "mean" averages over every scored frame of every neuron, so that the loss depends
            neither on batch size, clip length nor padding. "reference" is the starter kit's: the
            sum of each session times sqrt(trial files / batch size), summed over sessions, and
            the core's penalty counted once a session. The published penalty weights belong to it.
    """

    kind: Literal["mean", "reference"] = "mean"

    def __post_init__(self):
        if self.kind not in ("mean", "reference"):
            raise ValueError(f"expected a scaling of 'mean' or 'reference', got {self.kind!r}")

    def __call__(
        self,
        sums: Array,
        counts: Array,
        penalties: tuple[Array, Array],
        *,
        statistics: Statistics,
        trials: int,
    ) -> Array:
        """Reduce to a scalar.

        Args:
            sums: [S] sum of the elementwise loss over each session's batch.
            counts: [S] number of elements in each sum.
            penalties: the core's [] and the readouts' [].
            statistics: of the sessions, for the number of trial files.
            trials: batch size B.
        """
        core, readouts = penalties
        if self.kind == "mean":
            return jnp.sum(sums) / jnp.sum(counts) + core + readouts
        data = jnp.sum(sums * jnp.sqrt(statistics.trials / trials))
        return data + len(sums) * core + readouts
