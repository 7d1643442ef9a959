"""Fetch the recordings of the release: ``sensorium-jax fetch``."""

import sys

from sensorium_jax.cli.main import start

if __name__ == "__main__":
    start(["fetch", *sys.argv[1:]])
