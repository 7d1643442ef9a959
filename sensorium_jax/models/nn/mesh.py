"""The axes of the device mesh, and reductions over the axes that are bound.

Inside the compiled training step the trials of a batch are split over devices, and the neurons of a
mouse may be split as well. Outside of it everything is on one device and no axis is bound: then
these functions return their argument. Modules call them in both cases.
"""

from __future__ import annotations

import jax

from sensorium_jax.types import Array

TRIALS, NEURONS = "data", "neurons"


def bound_axes(*axes: str) -> tuple[str, ...]:
    """Mesh axes bound in the current trace.

    Examples:
        >>> bound_axes(TRIALS, NEURONS)  # outside of a compiled step
        ()
        >>> traced = jax.vmap(lambda x: print(bound_axes(TRIALS, NEURONS)), axis_name=TRIALS)
        >>> traced(jax.numpy.zeros(2))
        ('data',)
    """
    return tuple(axis for axis in axes if _is_bound(axis))


def mean_over_trials(x: Array) -> Array:
    """mean_d x_d over the devices d that share a batch's trials, all with the same number.

    Examples:
        >>> means = jax.numpy.array([1.0, 3.0])  # of two devices
        >>> jax.vmap(mean_over_trials, axis_name=TRIALS)(means).tolist()
        [2.0, 2.0]
    """
    axes = bound_axes(TRIALS, NEURONS)  # the core's trials are split over both axes
    return jax.lax.pmean(x, axes) if axes else x


def trial_devices() -> int:
    """The number of devices that share the trials of a core's batch.

    Examples:
        >>> trial_devices()  # outside of a compiled step
        1
    """
    return jax.lax.axis_size(axes) if (axes := bound_axes(TRIALS, NEURONS)) else 1


def sum_over_neurons(x: Array) -> Array:
    """sum_d x_d over the devices d that share a mouse's neurons.

    Examples:
        >>> sums = jax.numpy.array([1.0, 3.0])  # over the neurons of two devices
        >>> jax.vmap(sum_over_neurons, axis_name=NEURONS)(sums).tolist()
        [4.0, 4.0]
    """
    return jax.lax.psum(x, NEURONS) if bound_axes(NEURONS) else x


def max_over_neurons(x: Array) -> Array:
    """max_d x_d over the devices d that share a mouse's neurons.

    Examples:
        >>> maxima = jax.numpy.array([1.0, 3.0])  # over the neurons of two devices
        >>> jax.vmap(max_over_neurons, axis_name=NEURONS)(maxima).tolist()
        [3.0, 3.0]
    """
    return jax.lax.pmax(x, NEURONS) if bound_axes(NEURONS) else x


def _is_bound(axis: str) -> bool:
    try:
        jax.lax.axis_size(axis)
    except NameError:
        return False
    return True
