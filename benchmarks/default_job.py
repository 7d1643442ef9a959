"""The default job as a new user runs it: time, memory, and score as a share of the ceiling.

    python benchmarks/default_job.py [--seeds 0,1,2] [--configs gru_baseline,static_baseline]
    python benchmarks/default_job.py --set model.dtype=bfloat16 --json FILE --plot FILE

Every run is a process of its own with an empty cache, so that it also simulates and compiles. It
takes some four minutes on two cores for each seed of each config; scores are those of simulated
neurons. One JSON line a run, then a table of means. What --set says goes to all runs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
TIERS = ("oracle", "live_test_main", "final_test_main", "live_test_bonus", "final_test_bonus")


def main() -> None:
    """Run every config with every seed, one at a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--configs", default="gru_baseline,static_baseline")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="as of experiments/run.py, for all runs; again for every field",
    )
    record.add_flags(parser)
    flags = parser.parse_args()
    results = []
    for seed in flags.seeds.split(","):
        for config in flags.configs.split(","):
            results.append(measure(config, seed, flags.set))
            print(json.dumps(results[-1]), flush=True)
    Console().print(summary(results))
    record.write(flags, {"set": flags.set, "runs": results}, draw)


def measure(config: str, seed: str, assignments: list[str]) -> dict:
    """One run: seconds, peak memory of the process, and its share of every tier's ceiling."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        command = [sys.executable, "experiments/run.py", f"--config={config}"]
        command += [f"--workdir={workdir}"]
        command += [f"--set={assignment}" for assignment in (*assignments, f"seed={seed}")]
        began = time.monotonic()
        subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"XDG_CACHE_HOME": folder},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.monotonic() - began
        report = json.loads((workdir / "report.json").read_text())
    # The largest child so far: the default job's peak, as all runs are alike.
    memory_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "config": config,
        "seed": int(seed),
        "seconds": round(seconds),
        "memory_gib": round(memory_gib, 2),
        "oracle": round(mean(report, "oracle", "single_trial"), 4),
        **{f"share_{tier}": round(share(report, tier), 4) for tier in TIERS},
    }


def share(report: dict, tier: str) -> float:
    """Single-trial correlation over its ceiling."""
    return mean(report, tier, "single_trial") / mean(report, tier, "single_trial_ceiling")


def mean(report: dict, tier: str, field: str) -> float:
    """Mean over the neurons of all mice, in raw units."""
    wanted = tier, "all", "raw"
    scores = [s for s in report["scores"] if (s["tier"], s["family"], s["units"]) == wanted]
    return float(np.average([s[field] for s in scores], weights=[s["neurons"] for s in scores]))


def summary(results: list[dict]) -> Table:
    """Mean and range over seeds of every column."""
    columns = [name for name in results[0] if name not in ("config", "seed")]
    table = Table()
    table.add_column("mean (lowest to highest)")
    configs = list(dict.fromkeys(r["config"] for r in results))
    for config in configs:
        table.add_column(config, justify="right")
    for column in columns:
        cells = []
        for config in configs:
            x = [r[column] for r in results if r["config"] == config]
            cells.append(f"{np.mean(x):.4g} ({min(x):.4g} to {max(x):.4g})")
        table.add_row(column, *cells)
    return table


def draw(found: dict):
    """Seconds of every run, and its share of every tier's ceiling."""
    from sensorium_jax.pages import page

    figure = page.make_figure(8, 2.5)
    left, right = figure.subplots(1, 2, width_ratios=(1, 3))
    configs = list(dict.fromkeys(r["config"] for r in found["runs"]))
    for i, config in enumerate(configs):
        runs = [r for r in found["runs"] if r["config"] == config]
        left.plot([config] * len(runs), [r["seconds"] for r in runs], "o", color=f"C{i}")
        for j, tier in enumerate(TIERS):
            shares = [r[f"share_{tier}"] for r in runs]
            place = [j + 0.15 * (i - (len(configs) - 1) / 2)] * len(runs)
            right.plot(place, shares, "o", color=f"C{i}", label="" if j else config)
    left.set(ylabel="seconds", ylim=(0, None), xticks=[])
    right.set(xticks=range(len(TIERS)), ylabel="share of the ceiling")
    right.set_xticklabels([tier.replace("_test_", "\n") for tier in TIERS])
    figure.legend(loc="outside upper center", ncols=len(configs))
    return figure


if __name__ == "__main__":
    main()
