"""How a training step is fitted into memory: mice side by side, and what its gradient recomputes.

    memory of a step = its temporary arrays and results, by XLA's own account of the program

XLA knows that before anything runs. Plans are tried from the fastest to the leanest, and the first
one that fits is taken.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sensorium_jax import parallel
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Data, Experiment
from sensorium_jax.models.check import features_shape
from sensorium_jax.models.nn.remat import LEVELS, Level

MEMORY_SHARE = 0.8  # largest share of the free memory that one program may use
MAPS_BYTES = 2**28  # of a group of mice: more keep a device no busier, and only take memory


class Plan(NamedTuple):
    """How a step is computed."""

    mice_at_once: int
    rematerialise: Level

    def __str__(self) -> str:
        recomputed = {
            "none": "",
            "core": ", core recomputed",
            "all": ", core and readout recomputed",
        }
        mice = "mouse" if self.mice_at_once == 1 else "mice"
        return f"{self.mice_at_once} {mice} at once{recomputed[self.rematerialise]}"


def plans(experiment: Experiment, *, mice: int, devices: int) -> Iterator[Plan]:
    """Plans that the experiment allows, from the fastest to the leanest."""
    chosen = experiment.training
    size = chosen.mice_at_once or _default_group(experiment, mice=mice, devices=devices)
    size = parallel.group_size(mice, size)
    sizes = [size] if chosen.mice_at_once or size == 1 else [size, 1]
    level = chosen.rematerialise
    levels: Sequence[Level] = LEVELS if level == "auto" else [level]
    yield from (Plan(size, levels[0]) for size in sizes)
    yield from (Plan(sizes[-1], level) for level in levels[1:])


def _default_group(experiment: Experiment, *, mice: int, devices: int) -> int:
    """Number of mice whose feature maps fill ``MAPS_BYTES`` on a device; 1 at least."""
    data = experiment.data
    _, *shape = features_shape(experiment.model.core, frames=data.frames)
    trials = -(-data.trials // devices)
    return max(1, min(mice, MAPS_BYTES // (4 * trials * math.prod(shape))))


def first_that_fits(
    candidates: Sequence[Plan], compile_step: Callable[[Plan], Any], data: Data
) -> tuple[Plan, Any]:
    """The first plan whose program fits into the free memory, and the program.

    Args:
        candidates: from the fastest to the leanest.
        compile_step: compiles the step of a plan.
        data: the batches, which the error says how to change.

    Raises:
        UserError: none fits.
    """
    needed = 0
    for plan in candidates:
        program = compile_step(plan)
        if fits(program):
            return plan, program
        needed = needed_bytes(program)
    raise UserError(does_not_fit(data, needed, free_bytes()))


def does_not_fit(data: Data, needed: int, free: int) -> str:
    """One line on a step that needs more memory than there is, with the nearest that does not.

    Examples:
        >>> from sensorium_jax.experiment import Data
        >>> print(does_not_fit(Data(frames=80, trials=8), needed=24 * 2**30, free=10 * 2**30))
        expected at most 8.0 GiB for a training step, 80 % of the free memory, found 24.0; ...
    """
    most = MEMORY_SHARE * free
    trials = int(data.trials * most / needed)  # memory grows with the trials
    frames = int(data.frames * most / needed)
    nearest = f"about data.trials={trials}" if trials else f"about data.frames={frames}"
    return (
        f"expected at most {most / 2**30:.1f} GiB for a training step, {100 * MEMORY_SHARE:.0f} % "
        f"of the free memory, found {needed / 2**30:.1f}; {nearest} fits (here {data.trials} "
        f"trials of {data.frames} frames), or use more devices"
    )


def fits(program: Any) -> bool:
    """Whether a compiled program fits into ``MEMORY_SHARE`` of the free memory."""
    return needed_bytes(program) <= MEMORY_SHARE * free_bytes()


def needed_bytes(program: Any) -> int:
    """Memory that a compiled program needs in addition to its donated inputs."""
    memory = program.memory_analysis()
    return memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes


def free_bytes() -> int:
    """Free memory of the first device; of the machine, with what caches would give back."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
        if "MemAvailable" in lines:
            return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
