"""Eight fake CPU devices, before anything imports jax; programs compiled twice are kept."""

import os
import tempfile

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" not in os.environ:  # workers share their parent's
    _compiled = tempfile.TemporaryDirectory(prefix="sensorium-jax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name

import pytest  # noqa: E402
import small  # noqa: E402

from sensorium_jax import simulate
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.prepare.convert import convert


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """A recording of two simulated mice of 5 and 7 neurons, read-only."""
    folder = tmp_path_factory.mktemp("raw")
    simulate.write_recording(
        folder,
        letters=("A", "B"),
        neurons=(5, 7),
        train=9,
        clips=2,
        repeats=2,
        ood_clips=1,
        ood_repeats=2,
    )
    return folder


@pytest.fixture(scope="session")
def store(raw, tmp_path_factory):
    """``raw``, converted, read-only."""
    folder = tmp_path_factory.mktemp("store")
    convert(raw, folder)
    return folder


@pytest.fixture(scope="session")
def recordings(store):
    """``store``, open."""
    return load_recordings(store)


@pytest.fixture(scope="session")
def whole(recordings, tmp_path_factory):
    """An uninterrupted run, read-only: (workdir, best weights, terminal)."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, *small.train_in(recordings, workdir)
