"""One command, ``sensorium-jax SUBCOMMAND``: every argument parser of the project, each thin."""
