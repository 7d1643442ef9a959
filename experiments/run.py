"""The README's command: ``python experiments/run.py --config=gru_baseline``.

It is ``sensorium-jax train``; ``--help`` says all.
"""

import sys

from sensorium_jax.cli.main import start

if __name__ == "__main__":
    start(["train", *sys.argv[1:]])
