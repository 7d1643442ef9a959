"""Surrogates of natural movies: dead-leaves scenes with camera motion and cuts.

The benchmark's clips come from cinema and sports films and cannot be redistributed. Dead-leaves
scenes have the statistics that matter to early vision: edges and occlusion, an amplitude spectrum
of about 1/f, skewed luminance, parallax, camera motion and scene cuts.

A shot has three layers (ground, middle, near). Each is a periodic canvas at twice the resolution of
the video, sampled at the nearest pixel along its path. A periodic canvas has no border.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sensorium_jax import protocol

# Chosen so that the pooled mean is about 80 and the standard deviation about 58 grey levels, as in
# the release (mean 77.5-81.9, std 56.8-59.8 over the ten mice, train tier).
LEVEL_BETA = (0.85, 1.95)  # grey levels of leaves, as a share of 255
TEXTURE_SHARE = (0.03, 0.13)  # std of a leaf's texture, as a share of 255

LIGHT = (0.8, 1.2)  # luminance factor of a shot

CUTS_MEAN, CUTS_MAX = 1.6, 4  # cuts per 300 frames; published clips show up to about four
SHORTEST_SHOT_FRAMES = 20

OVERSAMPLING = 2  # canvas pixels per video pixel
CANVAS = (128, 256)  # canvas pixels, powers of two so that wrapping is a bit mask
TEXTURES, TEXTURE_SIZE = 4, 256  # number of textures, canvas pixels
LEAF_RADIUS = (4.0, 48.0)  # canvas pixels; density r**-3 makes the scene scale-invariant

# Leaves per canvas and factor on the smallest radius, from ground to near.
LAYERS = ((50, 1.6), (8, 2.5), (3, 5.0))
_CLEAR = -1e6  # marks canvas pixels that no leaf covers
PAN_STD_PX = 0.3  # std of the camera's velocity, video pixels per frame
LAYER_STD_PX = 0.4  # the same for the middle and near layers, relative to the ground
TREMOR_STD_PX = 0.04  # hand-held camera
STATIC_SHARE = 0.3  # share of shots with a static camera: no pan and no zoom
ZOOM_STD = 0.002  # log-magnification per frame


def natural_clip(rng: np.random.Generator, *, frames: int = protocol.CLIP_FRAMES) -> np.ndarray:
    """A movie clip, uint8 [T H W], grey levels at 30 Hz.

    Examples:
        >>> natural_clip(np.random.default_rng(0), frames=30).shape
        (30, 36, 64)
        >>> a, b = (natural_clip(np.random.default_rng(0), frames=5) for _ in range(2))
        >>> bool((a == b).all())  # equal seeds give equal frames
        True
    """
    starts = [0, *_cuts(rng, frames), frames]
    lengths = np.diff(starts).tolist()
    return np.concatenate([_shot(rng, length) for length in lengths])


def natural_image(rng: np.random.Generator) -> np.ndarray:
    """A static scene, uint8 [H W].

    Examples:
        >>> image = natural_image(np.random.default_rng(0))
        >>> image.shape, image.dtype.name
        ((36, 64), 'uint8')
    """
    return _shot(rng, 1)[0]


def _cuts(rng, frames: int) -> list[int]:
    """First frames of all shots but the first, ascending, at least SHORTEST_SHOT_FRAMES apart."""
    n_cuts = min(rng.poisson(CUTS_MEAN * frames / protocol.CLIP_FRAMES), CUTS_MAX)
    cuts: list[int] = []
    for cut in rng.integers(SHORTEST_SHOT_FRAMES, max(frames, SHORTEST_SHOT_FRAMES + 1), n_cuts):
        if all(abs(cut - other) >= SHORTEST_SHOT_FRAMES for other in (*cuts, frames)):
            cuts.append(int(cut))
    return sorted(cuts)


def _shot(rng, frames: int) -> np.ndarray:
    """One shot, uint8 [T H W]."""
    static = rng.random() < STATIC_SHARE
    camera = np.zeros((frames, 2)) if static else _path(rng, frames, PAN_STD_PX)  # [T 2] y, x
    camera += rng.normal(0, TREMOR_STD_PX, (frames, 2)) * (not static)
    zoom = np.exp((not static) * rng.normal(0, ZOOM_STD) * np.arange(frames))  # [T]
    light = rng.uniform(*LIGHT)
    video = np.zeros((frames, protocol.HEIGHT, protocol.WIDTH), np.uint8)
    for depth, (leaves, factor) in enumerate(LAYERS):
        motion = _path(rng, frames, LAYER_STD_PX * (depth > 0))
        canvas = _canvas(rng, leaves, LEAF_RADIUS[0] * factor, light, opaque=depth == 0)
        layer = _sample(canvas, camera * (1 + 0.5 * depth) + motion, zoom)
        np.copyto(video, layer, where=layer > 0)
    return video


def _path(rng, frames: int, std_px: float) -> np.ndarray:
    """Positions along a smooth path from a random origin, video pixels [T 2]."""
    first, last = rng.normal(0, std_px, (2, 2))  # velocities
    weight = np.linspace(0, 1, frames)[:, None]
    velocity = (1 - weight) * first + weight * last
    return rng.uniform(0, CANVAS[1], 2) + np.cumsum(velocity, axis=0)


def _sample(canvas: np.ndarray, path: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """Sample a periodic canvas [Y X] around ``path`` [T 2] video pixels -> [T H W]."""
    height, width = canvas.shape
    rows = (np.arange(protocol.HEIGHT) - protocol.HEIGHT / 2) * zoom[:, None] + path[:, :1]
    cols = (np.arange(protocol.WIDTH) - protocol.WIDTH / 2) * zoom[:, None] + path[:, 1:]
    rows = np.floor(rows * OVERSAMPLING).astype(np.intp) & (height - 1)  # [T H]
    cols = np.floor(cols * OVERSAMPLING).astype(np.intp) & (width - 1)  # [T W]
    return canvas.ravel().take(rows[:, :, None] * width + cols[:, None, :])


def _canvas(rng, leaves: int, min_radius: float, light: float, *, opaque: bool) -> np.ndarray:
    """Dead leaves on a torus, uint8 [Y X]; 0 is transparent unless ``opaque``."""
    canvas = np.full(CANVAS, _CLEAR, np.float32)
    levels = 255 * light * rng.beta(*LEVEL_BETA, leaves + 1)
    grains = 255 * rng.uniform(*TEXTURE_SHARE, leaves + 1)
    radii = _radii(rng, leaves, min_radius)
    # Random numbers of all leaves together: one call per leaf would take longer than the painting.
    row, col = rng.integers(0, np.array(CANVAS)[:, None], (2, leaves))
    corner = rng.integers(0, TEXTURE_SIZE, (2, leaves + 1))  # of each leaf's part of the texture
    shapes = rng.random((3, leaves))
    texture = _texture(int(rng.integers(0, TEXTURES)))
    wrap = TEXTURE_SIZE - 1
    if opaque:
        canvas[:] = levels[-1] + grains[-1] * np.roll(texture, corner[:, -1], (0, 1))[: CANVAS[0]]
    for leaf, radius in enumerate(radii):
        y, x = _leaf(radius, *shapes[:, leaf])
        patch = texture[(y + corner[0, leaf]) & wrap, (x + corner[1, leaf]) & wrap]
        y, x = (y + row[leaf]) & (CANVAS[0] - 1), (x + col[leaf]) & (CANVAS[1] - 1)
        canvas[y, x] = levels[leaf] + grains[leaf] * patch
    pixels = np.clip(canvas, 1, 255)
    if opaque:  # a lens: averages the canvas pixels under a video pixel
        pixels = (pixels + np.roll(pixels, 1, 0)) / 2
        pixels = (pixels + np.roll(pixels, 1, 1)) / 2
    return (pixels * (canvas > _CLEAR)).astype(np.uint8)


def _radii(rng, leaves: int, min_radius: float) -> np.ndarray:
    """Radii with density r**-3 from ``min_radius`` to LEAF_RADIUS[1], canvas pixels [n]."""
    low, high = min_radius**-2, LEAF_RADIUS[1] ** -2
    return (low - rng.random(leaves) * (low - high)) ** -0.5


def _leaf(
    radius: float, rotation: float, elongation: float, kind: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns [n] of a rectangle (``kind`` below 0.5) or an ellipse.

    ``rotation`` 0..1 is 0 to 180 degrees; ``elongation`` 0..1 an aspect ratio of 1 to 0.3.
    """
    offset = np.arange(-int(radius), int(radius) + 1, dtype=np.float32)
    angle, aspect = math.pi * rotation, 1 - 0.7 * elongation
    cos, sin = math.cos(angle), math.sin(angle)
    major = (offset * sin)[:, None] + offset * cos
    minor = (offset * (cos / aspect))[:, None] - offset * (sin / aspect)
    if kind < 0.5:
        inside = np.maximum(np.abs(major), np.abs(minor)) < 0.7 * radius
    else:
        inside = major * major + minor * minor < radius * radius
    rows, columns = np.nonzero(inside)
    return rows, columns


@lru_cache(maxsize=TEXTURES)
def _texture(index: int) -> np.ndarray:
    """A periodic 1/f field, float32 [256 256], of mean 0 and std 1, seeded by ``index``."""
    rng = np.random.default_rng(index)
    frequency = np.hypot(
        np.fft.fftfreq(TEXTURE_SIZE)[:, None], np.fft.rfftfreq(TEXTURE_SIZE)[None, :]
    )
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.normal(size=(TEXTURE_SIZE, TEXTURE_SIZE)))
    field = np.fft.irfft2(white / frequency, (TEXTURE_SIZE, TEXTURE_SIZE))
    return (field / field.std()).astype(np.float32)
