"""Surrogates of natural movies: textured leaves that move, hide each other, and are cut.

The benchmark's clips come from cinema and sports films and cannot be redistributed. A dead-leaves
scene shares what matters to early vision: edges and occlusion, an amplitude spectrum of about
1/f, skewed luminance, parallax, camera motion and scene cuts.

A shot is three layers (ground, middle, near), each a periodic canvas at twice the resolution of
the video that is sampled, nearest pixel, along its own path. Periodic canvases never run out.
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

LIGHT = (0.8, 1.2)  # a factor on every leaf of a shot

CUTS_MEAN, CUTS_MAX = 1.6, 4  # cuts per 300 frames; published clips show up to about four
SHORTEST_SHOT_FRAMES = 20

OVERSAMPLING = 2  # canvas pixels per video pixel
CANVAS = (128, 256)  # canvas pixels, powers of two so that wrapping is a bit mask
TEXTURES, TEXTURE_SIZE = 4, 256  # how many, canvas pixels
LEAF_RADIUS = (4.0, 48.0)  # canvas pixels; density r**-3 makes the scene scale-invariant

# Leaves per canvas, ground to near, and the share of the smallest radius they start from.
LAYERS = ((50, 1.6), (8, 2.5), (3, 5.0))
_CLEAR = -1e6  # marks canvas pixels that no leaf covers
PAN_STD_PX = 0.3  # video pixels a frame, of the ground; the other layers add their own motion
LAYER_STD_PX = 0.4
TREMOR_STD_PX = 0.04  # hand-held camera
STATIC_SHARE = 0.3  # of shots are filmed from a tripod: no pan and no zoom
ZOOM_STD = 0.002  # log-magnification a frame


def natural_clip(rng: np.random.Generator, *, frames: int = protocol.CLIP_FRAMES) -> np.ndarray:
    """A movie clip, uint8 [T H W], grey levels at 30 Hz."""
    starts = [0, *_cuts(rng, frames), frames]
    lengths = np.diff(starts)
    return np.concatenate([_shot(rng, length) for length in lengths])


def natural_image(rng: np.random.Generator) -> np.ndarray:
    """A still scene, uint8 [H W]."""
    return _shot(rng, 1)[0]


def _cuts(rng, frames: int) -> list[int]:
    """First frames of every shot but the first, ascending, far enough apart."""
    wanted = min(rng.poisson(CUTS_MEAN * frames / protocol.CLIP_FRAMES), CUTS_MAX)
    cuts: list[int] = []
    for cut in rng.integers(SHORTEST_SHOT_FRAMES, max(frames, SHORTEST_SHOT_FRAMES + 1), wanted):
        if all(abs(cut - other) >= SHORTEST_SHOT_FRAMES for other in (*cuts, frames)):
            cuts.append(int(cut))
    return sorted(cuts)


def _shot(rng, frames: int) -> np.ndarray:
    """One camera setting, uint8 [T H W]."""
    still = rng.random() < STATIC_SHARE
    camera = np.zeros((frames, 2)) if still else _path(rng, frames, PAN_STD_PX)  # [T 2] y, x
    camera += rng.normal(0, TREMOR_STD_PX, (frames, 2)) * (not still)
    zoom = np.exp((not still) * rng.normal(0, ZOOM_STD) * np.arange(frames))  # [T]
    light = rng.uniform(*LIGHT)
    video = None
    for depth, (leaves, smallest) in enumerate(LAYERS):
        own = _path(rng, frames, LAYER_STD_PX * (depth > 0))
        canvas = _canvas(rng, leaves, LEAF_RADIUS[0] * smallest, light, opaque=depth == 0)
        layer = _sample(canvas, camera * (1 + 0.5 * depth) + own, zoom)
        if video is None:
            video = layer
        else:
            np.copyto(video, layer, where=layer > 0)
    return video


def _path(rng, frames: int, std_px: float) -> np.ndarray:
    """Positions along a smooth path from a random origin, video pixels [T 2]."""
    ends = rng.normal(0, std_px, (2, 2))  # velocity when the shot begins and when it ends
    mix = np.linspace(0, 1, frames)[:, None]
    velocity = (1 - mix) * ends[0] + mix * ends[1]
    return rng.uniform(0, CANVAS[1], 2) + np.cumsum(velocity, axis=0)


def _sample(canvas: np.ndarray, path: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """Look at a periodic canvas [Y X] from ``path`` [T 2] video pixels -> [T H W]."""
    height, width = canvas.shape
    rows = (np.arange(protocol.HEIGHT) - protocol.HEIGHT / 2) * zoom[:, None] + path[:, :1]
    cols = (np.arange(protocol.WIDTH) - protocol.WIDTH / 2) * zoom[:, None] + path[:, 1:]
    rows = np.floor(rows * OVERSAMPLING).astype(np.intp) & (height - 1)  # [T H]
    cols = np.floor(cols * OVERSAMPLING).astype(np.intp) & (width - 1)  # [T W]
    return canvas.ravel().take(rows[:, :, None] * width + cols[:, None, :])


def _canvas(rng, leaves: int, smallest: float, light: float, *, opaque: bool) -> np.ndarray:
    """Dead leaves on a torus, uint8 [Y X]; 0 is transparent unless ``opaque``."""
    canvas = np.full(CANVAS, _CLEAR, np.float32)
    levels = 255 * light * rng.beta(*LEVEL_BETA, leaves + 1)
    grains = 255 * rng.uniform(*TEXTURE_SHARE, leaves + 1)
    radii = _radii(rng, leaves, smallest)
    # All numbers of all leaves at once: one call a leaf would take longer than the painting.
    row, col = rng.integers(0, np.array(CANVAS)[:, None], (2, leaves))
    corner = rng.integers(0, TEXTURE_SIZE, (2, leaves + 1))  # of the leaf's piece of texture
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
    painted = np.clip(canvas, 1, 255)
    if opaque:  # a lens: averages the canvas pixels under a video pixel
        painted = (painted + np.roll(painted, 1, 0)) / 2
        painted = (painted + np.roll(painted, 1, 1)) / 2
    return (painted * (canvas > _CLEAR)).astype(np.uint8)


def _radii(rng, leaves: int, smallest: float) -> np.ndarray:
    """Radii with density r**-3 between ``smallest`` and the largest, canvas pixels [n]."""
    low, high = smallest**-2, LEAF_RADIUS[1] ** -2
    return (low - rng.random(leaves) * (low - high)) ** -0.5


def _leaf(radius: float, turn: float, slim: float, kind: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns [n] of an ellipse or a rectangle; ``turn``, ``slim``, ``kind`` in 0..1."""
    offset = np.arange(-int(radius), int(radius) + 1, dtype=np.float32)
    cos, sin, aspect = math.cos(math.pi * turn), math.sin(math.pi * turn), 1 - 0.7 * slim
    along = (offset * sin)[:, None] + offset * cos
    across = (offset * (cos / aspect))[:, None] - offset * (sin / aspect)
    if kind < 0.5:
        return np.nonzero(np.maximum(np.abs(along), np.abs(across)) < 0.7 * radius)
    return np.nonzero(along * along + across * across < radius * radius)


@lru_cache(maxsize=TEXTURES)
def _texture(index: int) -> np.ndarray:
    """A periodic field with amplitude 1/f, float32 [256 256], mean 0, std 1; the same each run."""
    rng = np.random.default_rng(index)
    frequency = np.hypot(
        np.fft.fftfreq(TEXTURE_SIZE)[:, None], np.fft.rfftfreq(TEXTURE_SIZE)[None, :]
    )
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.normal(size=(TEXTURE_SIZE, TEXTURE_SIZE)))
    field = np.fft.irfft2(white / frequency, (TEXTURE_SIZE, TEXTURE_SIZE))
    return (field / field.std()).astype(np.float32)
