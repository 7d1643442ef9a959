"""Stimuli made on the spot, at the benchmark's size and frame rate, each uint8 [T H W].

``natural.py`` makes surrogates of the natural movies, ``artificial.py`` the five out-of-domain
families. Both take a NumPy generator and nothing that must be downloaded.
"""

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli.artificial import (
    OOD,
    drifting_gabor,
    gaussian_dots,
    natural_images,
    pink_noise,
    random_dots,
)
from sensorium_jax.stimuli.natural import natural_clip, natural_image

__all__ = [
    "OOD",
    "clip",
    "drifting_gabor",
    "gaussian_dots",
    "natural_clip",
    "natural_image",
    "natural_images",
    "pink_noise",
    "random_dots",
]


def clip(family: str, rng: np.random.Generator) -> np.ndarray:
    """A clip of ``protocol.NATURAL`` or of one of ``protocol.OOD_FAMILIES``, uint8 [T H W]."""
    return natural_clip(rng) if family == protocol.NATURAL else OOD[family](rng)
