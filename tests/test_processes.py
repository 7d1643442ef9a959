"""Several processes, each with devices and trials of its own, train as one process does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from sensorium_jax import load_run
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
# Hardly any sampling of positions: which device draws them for which trial is not the same.
FLAGS = [
    "--config=gru_baseline",
    "--size=demo",
    "--set=model.core.channels=1",
    "--set=model.readout.init_sigma=0.0",
    "--set=optimizer.learning_rate=1e-4",
    "--set=optimizer.schedule=constant",
    "--set=data.frames=10",
    "--set=data.trials=8",
    "--set=epoch_steps=2",
    "--set=max_epochs=2",
]


def start(store, workdir, *flags, devices, **variables):
    return subprocess.Popen(
        [sys.executable, "experiments/run.py", *FLAGS, f"--workdir={workdir}", *flags],
        cwd=ROOT,
        env=os.environ
        | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "SENSORIUM_DATA": str(store),
        }
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(store, workdir, *flags):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        place = {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{free.getsockname()[1]}",
            "JAX_NUM_PROCESSES": "2",
        }
    return [
        start(store, workdir, "--distributed", *flags, devices=4, **place, JAX_PROCESS_ID=str(i))
        for i in range(2)
    ]


def finish(processes):
    said = [p.communicate(timeout=600) for p in processes]
    assert [p.returncode for p in processes] == [0] * len(processes), "".join(e for _, e in said)
    return [out for out, _ in said]


def losses(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line[k] for line in lines for k in ("loss", "poisson", "oracle") if k in line]


def weights(*workdirs, store):
    """Names and arrays of the best weights; those of another mesh may be padded."""
    trees = [load_run(w, data=store).params.weights for w in workdirs]
    for tree in trees:
        del tree["readout"]["sigma"]  # its gradient is the random draw of a device
        del tree["shifter"]  # at its start gradients are rounding, which Adam makes steps of
    names, arrays = zip(*jax.tree.leaves_with_path(trees[0]), strict=True)
    names = map(jax.tree_util.keystr, names)
    return names, map(np.asarray, arrays), map(np.asarray, jax.tree.leaves(trees[1]))


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory):
    """What one process with all eight devices leaves."""
    workdir = tmp_path_factory.mktemp("runs") / "one"
    finish([start(store, workdir, devices=8)])
    return workdir


@pytest.mark.parametrize("neuron_devices", [1, 2])
def test_two_processes_equal_one(store, alone, tmp_path, neuron_devices):
    flags = tmp_path / "two", f"--set=neuron_devices={neuron_devices}"
    first, second = finish(start_two(store, *flags))
    assert "8 of 8 cpu devices in 2 processes" in first and "epoch" in first
    assert "epoch" not in second  # only the first one speaks
    one, two = losses(alone), losses(flags[0])
    assert one[:2] == pytest.approx(two[:2], rel=1e-5)  # before any weight moved
    assert one == pytest.approx(two, rel=1e-3, abs=1e-4) and len(one) > 4
    reports = [json.loads((run / "report.json").read_text()) for run in (alone, flags[0])]
    trials = [[score["trials"] for score in report["scores"]] for report in reports]
    assert trials[0] == trials[1]
    for name, a, b in zip(*weights(alone, flags[0], store=store), strict=True):
        # Adam divides gradients by their size: where they nearly cancel, so does rounding. Two
        # steps move every weight by some 2e-4.
        assert np.sqrt(np.mean((b[tuple(map(slice, a.shape))] - a) ** 2)) < 4e-6, name
    if neuron_devices == 2:
        again, _ = finish(start_two(store, *flags))
        assert "Already trained (step 4 of 4)" in again


def test_parts_of_a_batch_are_the_batch(store):
    recordings = load_recordings(store)
    plan = {"frames": 5, "trials": 6, "seed": 1}
    whole = pipeline.train_iterator(recordings, **plan)
    parts = [pipeline.train_iterator(recordings, **plan, part=i, parts=3) for i in range(3)]
    for _ in range(3):
        expected, found = next(whole), [next(part) for part in parts]
        assert found[0].video.shape[1] == 2

        def crops(batches):
            videos = np.concatenate([b.video for b in batches], axis=1)
            return [sorted(x.tobytes() for x in session) for session in videos]

        assert crops([expected]) == crops(found)
    with pytest.raises(UserError, match="trials that 4 processes divide evenly, got 6"):
        pipeline.train_iterator(recordings, **plan, part=0, parts=4)


def test_a_process_without_others(store, tmp_path):
    (alone,) = [start(store, tmp_path / "run", "--distributed", devices=1)]
    _, err = alone.communicate(timeout=120)
    assert alone.returncode == 2
    assert err.count("\n") == 1 and "expected other processes to join, found none" in err
