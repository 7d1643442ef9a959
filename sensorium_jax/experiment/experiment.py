"""An experiment is one frozen dataclass: all options that determine the outcome of a run."""

from __future__ import annotations

import dataclasses
from typing import Literal

from sensorium_jax.errors import check_ranges
from sensorium_jax.experiment import optim
from sensorium_jax.models import Model, losses

SEEDS = 1000  # seeds reserved for the members of an ensemble

MOST_SEED = 2_000_000_000  # grain takes 32 bits, and every mouse adds its position
_RANGES = {
    "epoch_steps": (1, 1_000_000),
    "max_epochs": (1, 1_000_000),
    "evaluation_trials": (1, 10_000),
    "seed": (0, MOST_SEED),
    "neuron_devices": (1, 65_536),
    "members": (1, SEEDS),
}


@dataclasses.dataclass(frozen=True)
class Data:
    """Options of the training batches.

    Attributes:
        frames: length of the random crops, in frames of 1/30 s.
        trials: crops of every mouse in one batch, over all devices.
        statistics: "released" normalises frame by frame, as the starter kit does, by the moments
            in the recording's files; "framewise" does so by moments computed from the train tier;
            "pooled" by one mean and std over all frames.

    Examples:
        >>> Data(frames=60).trials
        8
    """

    frames: int = 80
    trials: int = 8
    statistics: Literal["released", "framewise", "pooled"] = "released"

    def __post_init__(self):
        check_ranges(self, {"frames": (1, 100_000), "trials": (1, 10_000)})
        if self.statistics not in ("released", "framewise", "pooled"):
            raise ValueError(
                f"expected statistics released, framewise or pooled, got {self.statistics!r}"
            )


@dataclasses.dataclass(frozen=True)
class Training:
    """How a training step is computed: its memory and time, not what is learnt.

    Results differ by float32 rounding; a run may be resumed with other values.

    Attributes:
        mice_at_once: mice that are computed side by side, one such group after the other, in the
            memory of one group; rounded down to a number that divides the mice. None: as many as
            keep a device busy (``training.plan``), one at the published size.
        rematerialise: what a gradient computes again in place of keeping it in memory: "none",
            layers of the "core", or "all"; "auto" takes the first of these that fits.

    Examples:
        >>> Training().rematerialise
        'auto'
    """

    mice_at_once: int | None = None
    rematerialise: Literal["auto", "none", "core", "all"] = "auto"

    def __post_init__(self):
        check_ranges(self, {"mice_at_once": (1, 1_000_000)})
        if self.rematerialise not in ("auto", "none", "core", "all"):
            raise ValueError(
                f"expected rematerialise auto, none, core or all, got {self.rematerialise!r}"
            )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All options that determine the outcome of a run, except the recording.

    Attributes:
        model: core, readout, shifter and modulator.
        data: training batches.
        scaling: reduction of the elementwise Poisson loss.
        optimizer: the update rule.
        plateau: when to lower the learning rate and when to stop.
        epoch_steps: optimiser steps between two scores on the oracle tier.
        max_epochs: largest number of epochs.
        evaluation_trials: full-length trials of every mouse per prediction step.
        seed: of the initial weights, the batches and the sampled readout positions.
        neuron_devices: number of devices that share the neurons of every mouse, for populations
            that exceed the memory of one device: each holds the readout weights and optimiser state
            of its share. Trials are split over all devices in any case.
        members: number of models in an ensemble, with different seeds, whose predictions are
            averaged; 1 trains a single model.
        training: how a step is computed, in memory and time.
        units: "raw" or "official": of the oracle score that lowers the learning rate, stops the
            training and chooses the weights (``scores.units``).

    Raises:
        ValueError: a number below 1, or crops that are not longer than the core's warm-up.

    Examples:
        >>> from sensorium_jax.models import cores, readouts
        >>> model = Model(cores.Factorized3D(layers=2, frames=(11, 5)), readouts.Gaussian())
        >>> Experiment(model, Data(frames=14))  # the warm-up is 10 + 4 frames
        Traceback (most recent call last):
        ValueError: expected data.frames above 14, ...
    """

    model: Model
    data: Data = Data()
    scaling: losses.Scaling = losses.Scaling()
    optimizer: optim.AdamW = optim.AdamW()
    plateau: optim.Plateau = optim.Plateau()
    epoch_steps: int = 45
    max_epochs: int = 200
    evaluation_trials: int = 4
    seed: int = 0
    neuron_devices: int = 1
    members: int = 1
    units: Literal["raw", "official"] = "raw"
    training: Training = Training()

    def __post_init__(self):
        check_ranges(self, _RANGES)
        if self.members > 1 and self.seed * SEEDS + self.members > MOST_SEED:
            raise ValueError(
                f"expected seed from 0 to {MOST_SEED // SEEDS - 1} for an ensemble, got {self.seed}"
            )
        if self.units not in ("raw", "official"):
            raise ValueError(f"expected units raw or official, got {self.units!r}")
        warmup = self.model.core.warmup_frames
        if self.data.frames <= warmup:
            raise ValueError(
                f"expected data.frames above {warmup}, the frames that the core's kernels over "
                f"time take away, got {self.data.frames}"
            )


def members_of(experiment: Experiment) -> list[Experiment]:
    """The experiments of an ensemble's members, with seeds seed * 1000 + member.

    Examples:
        >>> from sensorium_jax.configs import load_config
        >>> [e.seed for e in members_of(load_config("ensemble_baseline"))]
        [0, 1, 2]
    """
    seeds = range(experiment.seed * SEEDS, experiment.seed * SEEDS + experiment.members)
    return [dataclasses.replace(experiment, seed=seed, members=1) for seed in seeds]
