"""Resampling of films to the benchmark's pixels."""

from __future__ import annotations

import numpy as np


def average_areas(video: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample a film [T H W] to ``shape`` h, w: each pixel is the mean over its area; [T h w].

    Examples:
        >>> average_areas(np.array([[[1.0, 3.0], [5.0, 7.0]]]), (1, 2)).tolist()
        [[[3.0, 5.0]]]
        >>> average_areas(np.ones((300, 108, 192)), (36, 64)).shape
        (300, 36, 64)
    """
    rows, columns = (_areas(n, parts) for n, parts in zip(video.shape[1:], shape, strict=True))
    return np.einsum("ah,thw,bw->tab", rows, video, columns, optimize=True)


def _areas(size: int, parts: int) -> np.ndarray:
    """Weights [parts size] of pixels in the mean over each of ``parts`` equal intervals."""
    edges = np.linspace(0, size, parts + 1)
    pixel = np.arange(size)
    cover = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.maximum(cover, 0) / (size / parts)
