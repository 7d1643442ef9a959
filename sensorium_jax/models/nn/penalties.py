"""Penalties on weights, as the benchmark's baselines use them (neuralpredictors)."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.types import Array

PUBLISHED_CENTER = 4.0  # middle of the starter kit's filter over time, (-1, 4, -1)


def magnitude(x: Array) -> Array:
    """|x|, elementwise, whose gradient at zero is zero: what is zero, as padding is, stays so."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


@dataclasses.dataclass(frozen=True)
class Laplace:
    """Roughness of filters: the size of their five-point Laplacian.

    Attributes:
        kind: "l2norm" is the sum of its squares over the sum of squares of the weights (all the
            baselines use it); "l2" half the sum of squares; "l1" the sum of magnitudes.
        padding: zeros around a filter: 1 sees its border as an edge, 0 leaves the border out.
        average: means in place of sums.
        surround: weigh the Laplacian by 1 - G, with G a Gaussian over the filter, scaled to run
            from 0 to 1, with a std of a quarter of its shorter side: roughness counts less in
            the middle. Needs ``padding`` 1 ("GaussianLaplaceL2" in neuralpredictors).
    """

    kind: Literal["l2norm", "l2", "l1"] = "l2norm"
    padding: int = 1
    average: bool = False
    surround: bool = False

    def __post_init__(self):
        if self.kind not in ("l2norm", "l2", "l1"):
            raise ValueError(f"expected a Laplace of kind l2norm, l2 or l1, got {self.kind!r}")
        if self.surround and self.padding != 1:
            raise ValueError(f"expected padding=1 with surround, got {self.padding}")

    def __call__(self, kernel: Array) -> Array:
        """[K L C D] -> []."""
        reduce = jnp.mean if self.average else jnp.sum
        p = self.padding
        x = jnp.pad(kernel, ((p, p), (p, p), (0, 0), (0, 0)))
        neighbours = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
        curvature = 4 * x[1:-1, 1:-1] - neighbours
        if self.surround:
            curvature *= 1 - _gaussian(*kernel.shape[:2])[..., None, None]
        if self.kind == "l1":
            return reduce(magnitude(curvature))
        square = reduce(curvature**2)
        return square / reduce(kernel**2) if self.kind == "l2norm" else square / 2


def laplace_time(kernel: Array, *, center: float = 2.0, padding: int = 1) -> Array:
    """Roughness of filters over frames relative to their energy, [F C D] -> [].

    The sum of squares of the filter convolved with (-1, center, -1), ``padding`` zeros beyond
    its ends, over the sum of squares of the weights. With 2 that is the second difference; the
    starter kit's 4 also counts the filter's mean ("DepthLaplaceL21d" in neuralpredictors).
    """
    x = jnp.pad(kernel, ((padding, padding), (0, 0), (0, 0)))
    return jnp.sum((center * x[1:-1] - x[:-2] - x[2:]) ** 2) / jnp.sum(kernel**2)


def group_sparsity(kernel: Array) -> Array:
    """Mean Euclidean norm of the filters between pairs of channels, [K L C D] -> []."""
    tiny = jnp.finfo(kernel.dtype).tiny  # keeps the gradient of a zero filter finite
    return jnp.mean(jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1)) + tiny))


def _gaussian(rows: int, columns: int) -> np.ndarray:
    """A round Gaussian over a filter, its entries scaled to run from 0 to 1: [K L]."""
    variance = (min(rows, columns) / 4) ** 2
    y, x = (np.arange(n) - (n - 1) / 2 for n in (rows, columns))
    g = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * variance))
    return ((g - g.min()) / (g.max() - g.min())).astype(np.float32)
