"""A model and a batch small enough to compile in seconds, with sessions of unequal size."""

import dataclasses
import json

import jax
import numpy as np
from rich.console import Console

from sensorium_jax import parallel
from sensorium_jax.data import digests
from sensorium_jax.data.format import SESSION_FILE, finish_store
from sensorium_jax.experiment import Data, Experiment, optim
from sensorium_jax.files import read_json, write_json
from sensorium_jax.models import Model, cores, readouts, shifters
from sensorium_jax.models.nn.recurrent import ConvGRU
from sensorium_jax.runs.workdir import claim
from sensorium_jax.training.loop import train
from sensorium_jax.types import Batch, Moments, Neurons, Statistics

NEURONS = (5, 7)
S, B, T, H, W = len(NEURONS), 8, 6, 12, 16

MODEL = Model(
    cores.RotationEquivariant(
        channels=2,
        rotations=4,
        layers=2,
        kernel=(5, 3),
        gamma_input=0.01,
        gamma_hidden=0.01,
        recurrence=ConvGRU(kernel=3),
    ),
    readouts.Gaussian(init_sigma=0.0),  # no random positions: device counts can be compared
    shifters.MLP(),
)


def neurons() -> Neurons:
    rng = np.random.default_rng(0)
    n = max(NEURONS)
    mask = np.arange(n) < np.array(NEURONS)[:, None]
    return Neurons(
        rng.uniform(0, 600, (S, n, 3)).astype(np.float32) * mask[..., None],
        rng.uniform(0.2, 2, (S, n)).astype(np.float32) * mask,
        mask,
    )


def batch(*, seed: int = 0, trials: int = B, frames: int = T) -> Batch:
    rng = np.random.default_rng(seed)
    mask = neurons().mask[:, None, None]
    return Batch(
        video=rng.integers(0, 256, (S, trials, frames, H, W)).astype(np.uint8),
        behavior=rng.uniform(0, 60, (S, trials, frames, 2)).astype(np.float32),
        pupil_center=rng.normal(150, 6, (S, trials, frames, 2)).astype(np.float32),
        response=(rng.gamma(0.5, 4, (S, trials, frames, mask.shape[-1])) * mask).astype(np.float32),
        first_frame=rng.integers(0, 10, (S, trials)),
        frame_mask=np.ones((S, trials, frames), bool),
    )


def statistics(*, frames: int = 1) -> Statistics:
    """Pooled statistics, or frame by frame for ``frames`` frames."""
    rng = np.random.default_rng(1)

    def moments(mean: float, std: float, *shape: int) -> Moments:
        jitter = rng.uniform(0.8, 1.2, (2, S, frames, *shape)).astype(np.float32)
        return Moments(jitter[0] * mean, jitter[1] * std)

    n = max(NEURONS)
    return Statistics(
        moments(110, 60, H, W),
        moments(30, 15, 2),
        moments(150, 6, 2),
        moments(3, 4, n),
        np.full(S, 40.0, np.float32),
    )


def experiment(**changes):
    """An experiment of seconds on the ``store`` of conftest: two epochs of three steps."""
    core = cores.RotationEquivariant(
        channels=1,
        rotations=4,
        layers=2,
        kernel=(11, 3),
        stride=(8, 1),
        gamma_input=1e-3,
        gamma_hidden=1e-3,
        momentum=0.1,
        recurrence=ConvGRU(kernel=1),
    )
    base = Experiment(
        model=Model(core, readouts.Gaussian(init_sigma=0.2), shifters.MLP()),
        data=Data(frames=10, trials=2, statistics="pooled"),
        optimizer=optim.AdamW(learning_rate=0.01),
        epoch_steps=3,
        max_epochs=2,
    )
    return dataclasses.replace(base, **changes)


def train_in(recordings, workdir, trained=None, *, devices=1, **options):
    """Train as the driver does; returns the best weights and what the terminal showed."""
    trained = trained or experiment()
    console = Console(width=100, record=True, quiet=False, file=open("/dev/null", "w"))
    claim(workdir, trained, recordings)
    mesh = parallel.make_mesh(devices)
    params = train(trained, workdir, recordings, mesh=mesh, console=console, **options)
    return jax.device_get(params), console.export_text()


def metrics_of(workdir):
    """metrics.jsonl without its clock."""
    records = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k != "time"} for r in records]


def numbers(metrics) -> dict[str, float]:
    """Metrics of a step, those of mice one by one."""
    flat = {}
    for name, x in metrics.items():
        values = np.ravel(x)
        flat |= {f"{name}{i or ''}": float(value) for i, value in enumerate(values)}
    return flat


def edit_json(path, edit):
    """Write ``edit`` of the values of a sealed JSON file in their place, sealed again."""
    write_json(path, edit(read_json(path, advice="")), sealed=True)


def edit_session(folder, edit):
    """``edit_json`` of the record of a session, with the digests of its store."""
    edit_json(folder / SESSION_FILE, edit)
    digests.write(folder)
    finish_store(folder.parent)
