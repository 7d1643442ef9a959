"""Generated stimuli at the benchmark's size and frame rate.

``natural.py`` makes surrogates of the natural movies. Each of the five out-of-domain families has a
file with a dataclass of its parameters:

    gabor = stimuli.DriftingGabor(frequencies_hz=(2.0,), segments=8)
    video, segments = stimuli.make_clip(gabor, np.random.default_rng(0))
    clips = stimuli.make_set(gabor, np.random.default_rng(0))  # every condition once

``estimate.py`` estimates conditions from frames. ``sensorium-jax stimuli`` writes pictures and a
table of conditions for all families.
"""

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.stimuli.gabor import DriftingGabor
from sensorium_jax.stimuli.gaussian_dots import GaussianDots
from sensorium_jax.stimuli.natural import natural_clip, natural_image
from sensorium_jax.stimuli.natural_images import NaturalImages
from sensorium_jax.stimuli.pink_noise import PinkNoise
from sensorium_jax.stimuli.random_dots import RandomDots
from sensorium_jax.stimuli.screen import (
    Family,
    Segment,
    Stimulus,
    degrees_per_px,
    make_clip,
    make_set,
)

__all__ = [
    "OOD",
    "DriftingGabor",
    "Family",
    "GaussianDots",
    "NaturalImages",
    "PinkNoise",
    "RandomDots",
    "Segment",
    "Stimulus",
    "clip",
    "degrees_per_px",
    "make_clip",
    "make_set",
    "natural_clip",
    "natural_image",
]

OOD: dict[str, Family] = {
    protocol.GABOR: DriftingGabor(),
    protocol.PINK_NOISE: PinkNoise(),
    protocol.RDK: RandomDots(),
    protocol.GAUSSIAN_DOTS: GaussianDots(),
    protocol.NATURAL_IMAGES: NaturalImages(),
}


def clip(family: str, rng: np.random.Generator) -> np.ndarray:
    """A clip of ``protocol.NATURAL`` or of one of ``protocol.OOD_FAMILIES``, uint8 [T H W].

    Examples:
        >>> clip("drifting_gabor", np.random.default_rng(0)).shape  # 12 segments of 25 frames
        (300, 36, 64)
    """
    return natural_clip(rng) if family == protocol.NATURAL else make_clip(OOD[family], rng).video
