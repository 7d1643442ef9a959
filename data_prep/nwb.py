"""Convert NWB files into a store: ``sensorium-jax prepare nwb``."""

import sys

from sensorium_jax.cli.main import start

if __name__ == "__main__":
    start(["prepare", "nwb", *sys.argv[1:]])
