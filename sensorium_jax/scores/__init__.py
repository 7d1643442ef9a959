"""Scores of predictions against responses, in NumPy, without JAX.

``correlation``, ``repeats`` and ``likelihood`` are running sums over frames; ``tally`` adds trials
to them and ``evaluate`` all trials of a tier; ``report`` collects scores, ``intervals`` resamples
clips and neurons, ``results`` reads and writes the files; ``compare`` compares two runs, and
``published`` ranks runs beside published results.
"""

from sensorium_jax.scores.evaluate import Evaluate, Predictions, make_evaluate
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import Score

__all__ = ["Evaluate", "Predictions", "Report", "Score", "make_evaluate"]
