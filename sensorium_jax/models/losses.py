"""The elementwise Poisson loss, and its reduction to a scalar."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp

from sensorium_jax.types import Array, Statistics

EPSILON = 1e-8  # keeps the logarithm of a zero rate finite (neuralpredictors' PoissonLoss)

__all__ = ["Scaling", "poisson"]


def poisson(rate: Array, response: Array, *, epsilon: float = EPSILON, full: bool = False) -> Array:
    """loss = rate - response log(rate + epsilon), the negative Poisson log-likelihood, elementwise.

    Args:
        rate: expected response.
        response: recorded response, of the same shape.
        epsilon: added to the rate in the logarithm.
        full: add Stirling's approximation of log(response!), which does not depend on the rate and
            so changes no gradient (neuralpredictors' ``full_loss``).

    Examples:
        >>> rate = jnp.array([1.0, 2.0, 3.0])
        >>> poisson(rate, jnp.zeros(3)).tolist()  # without a response the loss is the rate
        [1.0, 2.0, 3.0]
        >>> int(poisson(rate, 2.0).argmin())  # smallest where the rate equals the response
        1
    """
    loss = rate - response * jnp.log(rate + epsilon)
    return loss + _log_factorial(response) if full else loss


def _log_factorial(x: Array) -> Array:
    """Stirling's approximation where x > 1, and zero elsewhere, as in torch."""
    safe = jnp.maximum(x, 1)
    return jnp.where(x > 1, x * jnp.log(safe) - x + jnp.log(2 * jnp.pi * safe) / 2, 0)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Reduction of the elementwise losses and the penalties to a scalar.

        "mean":      sum_s sums_s / sum_s counts_s + core + readouts
        "reference": sum_s sums_s sqrt(trials_s / B) + S core + readouts

    over mice s, with their numbers of trial files ``trials_s`` and the batch size B.

    Attributes:
        kind: "mean" averages over every scored frame of every neuron, so that the loss depends on
            neither batch size, clip length nor padding. "reference" is the starter kit's, for
            which the published penalty weights were chosen.

    Raises:
        ValueError: another kind.

    Examples:
        >>> moments = (None,) * 4
        >>> args = jnp.array([6.0, 2.0]), jnp.array([3, 1]), (0.5, 0.25)
        >>> statistics = Statistics(*moments, trials=jnp.array([16.0, 4.0]))
        >>> float(Scaling("mean")(*args, statistics=statistics, trials=4))  # 8 / 4 + 0.5 + 0.25
        2.75
        >>> float(Scaling("reference")(*args, statistics=statistics, trials=4))  # 12 + 2 + 1 + 0.25
        15.25
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
            sums: [S] sum of the elementwise loss over each mouse's batch.
            counts: [S] number of elements in each sum.
            penalties: of the core [] and of the readouts [].
            statistics: of the same mice; its ``trials`` is used.
            trials: batch size B.
        """
        core, readouts = penalties
        if self.kind == "mean":
            return jnp.sum(sums) / jnp.sum(counts) + core + readouts
        data = jnp.sum(sums * jnp.sqrt(statistics.trials / trials))
        return data + len(sums) * core + readouts
