"""The argument parser of every subcommand: help that teaches, errors of one line with a remedy."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NoReturn

from absl.flags import argparse_flags

from sensorium_jax.errors import USER_ERROR, hint

UNITS_HELP = "official: over the released std of every neuron and frame; raw: not (default: "
UNITS_HELP += "official for the release's mice, else raw)"


class Parser(argparse_flags.ArgumentParser):
    """absl's parser (``--flagfile=FILE`` holds flags) whose errors name the nearest right word."""

    def __init__(self, command: str, description: str | None):
        super().__init__(
            prog=f"sensorium-jax {command}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_args(self, args=None, namespace=None):
        """Parse; a leading ~ in a value means the home folder, which shells leave after =."""
        flags = super().parse_args(args, namespace)
        for name, value in vars(flags).items():
            setattr(flags, name, _expand(value))
        return flags

    def error(self, message: str) -> NoReturn:
        """Print one line, and end with the exit code of bad input."""
        print(f"error: {message}{self._advice(message)}; see {self.prog} --help", file=sys.stderr)
        sys.exit(USER_ERROR)

    def _advice(self, message: str) -> str:
        unknown = re.search(r"unrecognized arguments: (--?[\w-]+)", message)
        if unknown:
            actions = self._option_string_actions.items()
            options = [o for o, action in actions if action.help is not argparse.SUPPRESS]
            return f"; {hint(unknown[1], options)}"
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            words = re.findall(r"[\w.-]+", choice[2])
            return f"; {hint(choice[1], words)}"
        return ""


def _expand(value):
    if isinstance(value, list):
        return [_expand(entry) for entry in value]
    if isinstance(value, str | Path) and str(value).startswith("~"):
        return type(value)(Path(value).expanduser())
    return value
