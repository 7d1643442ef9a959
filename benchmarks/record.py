"""What every benchmark leaves behind: its figures with where they come from, and a picture."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium_jax import files
from sensorium_jax.pages import page

ROOT = Path(__file__).resolve().parents[1]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark --json and --plot."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them (PNG, SVG or PDF)")


def write(flags: argparse.Namespace, found: dict[str, Any], draw: Callable[[dict], Any]) -> None:
    """Write what the flags ask for, each file whole or not at all.

    Args:
        flags: of a parser that has been through ``add_flags``.
        found: the figures, as JSON takes them.
        draw: makes a figure of them, which is drawn in ``page.style``.
    """
    if flags.json:
        files.write_json(flags.json, {"environment": environment(), **found})
    if flags.plot:
        kind = flags.plot.suffix.removeprefix(".") or "png"
        with page.style(), files.whole_file(flags.plot) as beside:
            draw(found).savefig(beside, format=kind, dpi=150)


def environment() -> dict[str, Any]:
    """What figures belong to: the code, the machine, and the command."""
    import jax  # after the measurement: some benchmarks measure other processes

    device = jax.devices()[0]
    return {
        "commit": commit(),
        "command": shlex.join(["python", *sys.argv]),
        "cpu": cpu(),
        "cores": cores(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "backend": device.platform,
        "device": device.device_kind,
        "devices": jax.device_count(),
    }


def commit() -> str | None:
    """The commit, with "-dirty" where tracked files differ from it; None outside a repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
