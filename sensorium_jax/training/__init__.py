"""Training of experiments.

``complete`` trains, scores and writes the files of a run; ``train`` is the training loop of one
model, ``train_ensemble`` that of an ensemble; ``reproduce`` shows again a step that was not finite.
"""

from sensorium_jax.training.complete import complete
from sensorium_jax.training.ensemble import train_ensemble
from sensorium_jax.training.health import reproduce
from sensorium_jax.training.loop import train, train_members

__all__ = ["complete", "reproduce", "train", "train_ensemble", "train_members"]
