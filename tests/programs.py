"""The programs of tools/, which is no package."""

import importlib.util
from pathlib import Path


def load_tool(name):
    """The module of tools/<name>.py."""
    path = Path(__file__).parents[1] / f"tools/{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_tool", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program
