"""Training: the loop, its members and programs, and all that a run leaves.

``complete`` trains, scores and writes; ``train`` is the loop of one model.
"""

from sensorium_jax.training.complete import complete
from sensorium_jax.training.ensemble import train_ensemble
from sensorium_jax.training.loop import train, train_members

__all__ = ["complete", "train", "train_ensemble", "train_members"]
