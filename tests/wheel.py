"""What an installed wheel must do, away from the checkout: run by ``nox -s wheel``.

Not a test of pytest's, which would import the checkout.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import sensorium_jax
from sensorium_jax.prepare import release
from sensorium_jax.simulate.calibration import make_population_like


def main() -> None:
    """Train by name from an empty folder, and open all data that the package brings."""
    assert "site-packages" in sensorium_jax.__file__, sensorium_jax.__file__
    assert (Path(sensorium_jax.__file__).parent / "py.typed").exists()
    assert "gru_baseline" in sensorium_jax.config_names()
    assert len(release.mice()) == 10 and callable(make_population_like)
    small = ["--set=epoch_steps=2", "--set=max_epochs=1", "--set=model.core.channels=1"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        train = ["sensorium-jax", "train", "--config=gru_baseline", *small]
        assert subprocess.run(train).returncode == 0
        assert Path("runs/gru_baseline-demo/report.html").exists()
        for name in sensorium_jax.pretrained_names():
            run = sensorium_jax.load_pretrained(name)
            assert run.evaluate(run.params, "oracle").by_neuron("oracle") > 0.3
    print("the wheel works")


if __name__ == "__main__":
    main()
