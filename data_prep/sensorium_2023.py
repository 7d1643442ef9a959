"""Convert recordings of the release into a store: ``sensorium-jax prepare raw``."""

import sys

from sensorium_jax.cli.main import start

if __name__ == "__main__":
    start(["prepare", "raw", *sys.argv[1:]])
