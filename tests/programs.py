"""The programs of data_prep/, which is no package."""

import importlib.util
from pathlib import Path


def load_program(name):
    """The module of data_prep/<name>.py."""
    path = Path(__file__).parents[1] / f"data_prep/{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program
