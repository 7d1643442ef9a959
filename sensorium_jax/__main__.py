"""``python -m sensorium_jax SUBCOMMAND``, as ``sensorium-jax``."""

from sensorium_jax.cli.main import program

if __name__ == "__main__":
    program()
