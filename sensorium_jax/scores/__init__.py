"""Numbers of responses and predictions: NumPy alone, never JAX.

``correlation``, ``repeats`` and ``likelihood`` are running sums; ``tally`` adds trials to them,
``evaluate`` goes over a tier, ``report`` gathers scores, ``intervals`` draws clips and neurons
again, ``results`` are the files, ``compare`` and ``published`` set runs side by side.
"""

from sensorium_jax.scores.evaluate import Evaluate, Predictions, make_evaluate
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import Score

__all__ = ["Evaluate", "Predictions", "Report", "Score", "make_evaluate"]
