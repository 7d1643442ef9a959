"""Write simulated mice in the raw layout: ``sensorium-jax simulate``."""

import sys

from sensorium_jax.cli.main import start

if __name__ == "__main__":
    start(["simulate", *sys.argv[1:]])
