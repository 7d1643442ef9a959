"""Batch normalisation over a device mesh; the rotations of a filter share one set of statistics."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from sensorium_jax.models.nn import mesh
from sensorium_jax.types import Array

EPSILON = 1e-5  # torch's default, which the reference uses


class BatchNorm(nn.Module):
    """Batch normalisation of [... R*C] channels in [rotation, feature] order.

        y_rc = scale_c (x_rc - mean_c) / sqrt(var_c + 1e-5) + bias_c
        mean_running += momentum (mean_batch - mean_running), and var_running alike

    Mean, variance, scale and bias are one per feature c, shared by its rotations r, so that
    normalising does not break equivariance (Ecker et al. 2019). ``momentum`` is the weight of the
    *new* batch in the running statistics, as in torch, whose running variance is the unbiased one.
    With ``train=True`` mean and variance are those of the batch on all devices of the mesh; else
    the running ones. They are float32, whatever the dtype of the maps.

    Attributes:
        rotations: R.
        momentum: weight of the new batch.
        shift: learn the offset ``bias``.

    Examples:
        >>> norm = BatchNorm(rotations=4)
        >>> y, variables = norm.init_with_output(jax.random.key(0), jnp.ones((2, 12)), train=False)
        >>> y.shape, variables["params"]["scale"].shape  # 4 rotations of 3 features
        ((2, 12), (3,))
    """

    rotations: int = 1
    momentum: float = 0.1
    shift: bool = True

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """[... R*C] -> the same shape, normalised."""
        features = x.shape[-1] // self.rotations
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,)) if self.shift else 0.0
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))

        grouped = x.reshape(*x.shape[:-1], self.rotations, features).astype(jnp.float32)
        if not train:
            y = (grouped - mean.value) * (scale * jax.lax.rsqrt(var.value + EPSILON)) + bias
            return y.reshape(x.shape).astype(x.dtype)

        axes = tuple(range(grouped.ndim - 1))
        batch_mean = mesh.mean_over_trials(jnp.mean(grouped, axes))
        centred = grouped - batch_mean
        batch_var = mesh.mean_over_trials(jnp.mean(centred**2, axes))
        count = grouped.size // features * mesh.trial_devices()
        unbiased = batch_var * count / (count - 1)
        mean.value = mean.value + self.momentum * (jax.lax.stop_gradient(batch_mean) - mean.value)
        var.value = var.value + self.momentum * (jax.lax.stop_gradient(unbiased) - var.value)
        y = centred * (scale * jax.lax.rsqrt(batch_var + EPSILON)) + bias
        return y.reshape(x.shape).astype(x.dtype)
