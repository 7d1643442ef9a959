"""Every score of responses and predictions, by name: correlations, repeats, likelihood."""

from sensorium_jax.scores.correlation import (
    Correlation,
    CorrelationSums,
    Defined,
    SingleTrialCorrelation,
    correlate,
)
from sensorium_jax.scores.likelihood import PoissonSums
from sensorium_jax.scores.repeats import Example, Repeats

__all__ = [
    "Correlation",
    "CorrelationSums",
    "Defined",
    "Example",
    "PoissonSums",
    "Repeats",
    "SingleTrialCorrelation",
    "correlate",
]
