"""The axes of the device mesh, and reductions over those of them that are there.

Inside the compiled step the trials of a batch lie on several devices, and a mouse's neurons may do
so as well; outside of it, on one. What is a sum over all of them is written once, for both.
"""

from __future__ import annotations

import jax

from sensorium_jax.types import Array

TRIALS, NEURONS = "data", "neurons"


def over(*axes: str) -> tuple[str, ...]:
    """Those of the mesh's axes that the program being traced runs over."""
    return tuple(axis for axis in axes if _is_bound(axis))


def mean_over_trials(x: Array) -> Array:
    """The mean over devices of what each has made of as many trials."""
    axes = over(TRIALS, NEURONS)  # a core's trials are split over both
    return jax.lax.pmean(x, axes) if axes else x


def trial_devices() -> int:
    """The number of devices that share a core's trials."""
    return jax.lax.axis_size(axes) if (axes := over(TRIALS, NEURONS)) else 1


def sum_over_neurons(x: Array) -> Array:
    """The sum over devices of what each has summed over its neurons."""
    return jax.lax.psum(x, NEURONS) if over(NEURONS) else x


def max_over_neurons(x: Array) -> Array:
    """The largest over devices of what is each one's largest over its neurons."""
    return jax.lax.pmax(x, NEURONS) if over(NEURONS) else x


def _is_bound(axis: str) -> bool:
    try:
        jax.lax.axis_size(axis)
    except NameError:
        return False
    return True
