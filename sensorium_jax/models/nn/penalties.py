"""Penalties on weights, as the benchmark's baselines use them (neuralpredictors)."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sensorium_jax.errors import check_ranges
from sensorium_jax.types import Array

PUBLISHED_CENTER = 4.0  # middle of the starter kit's filter over time, (-1, 4, -1)


def magnitude(x: Array) -> Array:
    """|x|, elementwise, with gradient 0 at 0: weights of padded neurons, which are 0, stay 0.

    Examples:
        >>> [float(jax.grad(magnitude)(x)) for x in (-3.0, 0.0)]
        [-1.0, 0.0]
    """
    return x * jax.lax.stop_gradient(jnp.sign(x))


@dataclasses.dataclass(frozen=True)
class Laplace:
    """Roughness of filters: the size of their five-point Laplacian.

        L = 4 k[i, j] - k[i - 1, j] - k[i + 1, j] - k[i, j - 1] - k[i, j + 1]
        "l2norm": sum L^2 / sum k^2,  "l2": sum L^2 / 2,  "l1": sum |L|

    Attributes:
        kind: which of the three; all the baselines use "l2norm".
        padding: zeros around a filter: with 1 its border is an edge, 0 leaves the border out.
        average: means in place of sums.
        surround: multiply L by 1 - G, with G a Gaussian over the filter, scaled to run from 0 to 1,
            with a std of a quarter of the filter's shorter side: roughness counts less in the
            middle. Needs ``padding`` 1 ("GaussianLaplaceL2" in neuralpredictors).

    Raises:
        ValueError: another kind, or ``surround`` with another padding.

    Examples:
        >>> constant = jnp.ones((5, 5, 1, 1))
        >>> float(Laplace(padding=0)(constant)), float(Laplace("l1", padding=0)(constant))
        (0.0, 0.0)
        >>> point = jnp.zeros((5, 5, 1, 1)).at[2, 2].set(1.0)
        >>> float(Laplace()(point)), float(Laplace("l1")(point))  # 4^2 + 4 x 1^2 and 4 + 4 x 1
        (20.0, 8.0)
    """

    kind: Literal["l2norm", "l2", "l1"] = "l2norm"
    padding: int = 1
    average: bool = False
    surround: bool = False

    def __post_init__(self):
        check_ranges(self, {"padding": (0, 100)})
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

        sum (center k[f] - k[f - 1] - k[f + 1])^2 / sum k[f]^2

    with ``padding`` zeros beyond either end. With ``center`` 2 this is the second difference; the
    starter kit's 4 also penalises the filter's mean ("DepthLaplaceL21d" in neuralpredictors).

    Examples:
        >>> ramp = jnp.arange(5.0).reshape(5, 1, 1)
        >>> float(laplace_time(ramp, padding=0))
        0.0
        >>> point = jnp.array([0.0, 1.0, 0.0]).reshape(3, 1, 1)
        >>> float(laplace_time(point))  # 1 + 2^2 + 1
        6.0
    """
    x = jnp.pad(kernel, ((padding, padding), (0, 0), (0, 0)))
    return jnp.sum((center * x[1:-1] - x[:-2] - x[2:]) ** 2) / jnp.sum(kernel**2)


def group_sparsity(kernel: Array) -> Array:
    """mean_cd sqrt(sum_kl kernel[k, l, c, d]^2), the mean norm of a filter: [K L C D] -> [].

    Examples:
        >>> round(float(group_sparsity(jnp.ones((3, 3, 8, 4)))), 4)  # sqrt(3 x 3)
        3.0
    """
    tiny = jnp.finfo(kernel.dtype).tiny  # keeps the gradient of a zero filter finite
    return jnp.mean(jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1)) + tiny))


def _gaussian(rows: int, columns: int) -> np.ndarray:
    """A round Gaussian over a filter, its entries scaled to run from 0 to 1: [K L]."""
    variance = (min(rows, columns) / 4) ** 2
    y, x = (np.arange(n) - (n - 1) / 2 for n in (rows, columns))
    g = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * variance))
    return ((g - g.min()) / (g.max() - g.min())).astype(np.float32)
