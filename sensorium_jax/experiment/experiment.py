"""An experiment is one frozen dataclass: everything that decides the outcome of a run."""

from __future__ import annotations

import dataclasses
from typing import Literal

from sensorium_jax.experiment import optim
from sensorium_jax.models import Model, losses

SEEDS = 1000  # seeds set aside for the members of an ensemble


@dataclasses.dataclass(frozen=True)
class Data:
    """What a training batch is made of.

    Attributes:
        frames: length of the random crops, in frames of 1/30 s.
        trials: crops of every session in one batch, over all devices.
        statistics: "released" normalises frame by frame, as the starter kit does, and by the
            numbers that came with the recording; "framewise" by the same, computed from the train
            tier; "pooled" by one mean and std over all frames.
    """

    frames: int = 80
    trials: int = 8
    statistics: Literal["released", "framewise", "pooled"] = "released"


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides the outcome of a run, but the recording.

    Attributes:
        model: core, readout and shifter.
        data: batches.
        scaling: how the elementwise Poisson loss is reduced.
        optimizer: the update rule.
        plateau: when to lower the learning rate and when to stop.
        epoch_steps: optimiser steps between two scores on the oracle tier.
        max_epochs: the run ends after so many epochs at the latest.
        evaluation_trials: full-length trials of every session predicted at a time.
        seed: of the weights, the batches and the sampled readout positions.
        neuron_devices: devices that share the neurons of every mouse, each with the weights and the
            optimiser state of its own, for populations that one device cannot hold; trials are
            shared by all devices in any case.
        members: more than one trains an ensemble: that many models with seeds of their own, whose
            predictions are averaged.
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

    def __post_init__(self):
        for name in ("members", "neuron_devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected at least 1 of {name}, got {getattr(self, name)}")
        warmup = self.model.core.warmup_frames
        if self.data.frames <= warmup:
            raise ValueError(
                f"expected data.frames above {warmup}, the frames that the core's kernels over "
                f"time take away, got {self.data.frames}"
            )


def members_of(experiment: Experiment) -> list[Experiment]:
    """The experiments of an ensemble's members, each with a seed that no other ensemble has."""
    seeds = range(experiment.seed * SEEDS, experiment.seed * SEEDS + experiment.members)
    return [dataclasses.replace(experiment, seed=seed, members=1) for seed in seeds]
