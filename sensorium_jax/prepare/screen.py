"""Films of other sizes on the benchmark's pixels."""

from __future__ import annotations

import numpy as np


def average_areas(video: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Average a film [T H W] over the area that each pixel of another size [h w] covers."""
    rows, columns = (_areas(n, parts) for n, parts in zip(video.shape[1:], shape, strict=True))
    return np.einsum("ah,thw,bw->tab", rows, video, columns, optimize=True)


def _areas(size: int, parts: int) -> np.ndarray:
    """Weights [parts size] that average over the share of pixels each part covers."""
    edges = np.linspace(0, size, parts + 1)
    pixel = np.arange(size)
    cover = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.maximum(cover, 0) / (size / parts)
