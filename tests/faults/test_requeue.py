"""The recipe for Slurm of docs/many_devices.md, with stand-ins for Slurm's programs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import small

from sensorium_jax import load_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TINY = "--config=static_baseline --size=demo --devices=1 --set data.frames=60 --set data.trials=1"
TINY += " --set epoch_steps=25 --set max_epochs=2"
# Slurm's part: starts the program, warns it once it trains, and says how it ended.
SRUN = r"""#!/bin/bash
args=("${@/--distributed/}"); "${args[@]}" TINY & pid=$!
if [ ! -e warned ]; then
    until grep -qs '"step": 10,' scratch/runs/gru/metrics.jsonl; do sleep 0.05; done
    touch warned; kill -USR1 $pid
fi
wait $pid
"""
COMMAND = """#!/bin/bash
for word; do [ -n "$word" ] && words+=("$word"); done
exec PYTHON -m sensorium_jax "${words[@]}"
"""
SCONTROL = '#!/bin/bash\n[ "$1" = requeue ] && [ "$2" = 7 ] && exec bash job.sh\n'


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def test_a_job_that_is_warned_is_queued_again_and_ends_as_if_nothing_was(store, tmp_path):
    page = (ROOT / "docs/many_devices.md").read_text()
    (job,) = [x for x in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) if "#SBATCH" in x]
    tools = tmp_path / "tools"
    tools.mkdir()
    program(tools / "srun", SRUN.replace("TINY", TINY))
    program(tools / "scontrol", SCONTROL)
    python = '#!/bin/bash\nargs=(); for x; do [ -n "$x" ] && args+=("$x"); done\n'
    program(
        tools / "sensorium-jax", f'{python}exec {sys.executable} -m sensorium_jax "${{args[@]}}"\n'
    )
    (tmp_path / "job.sh").write_text(job)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/sensorium").symlink_to(store)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SCRATCH": "scratch",
        "SLURM_JOB_ID": "7",
        "PYTHONPATH": str(ROOT),
    }
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(["bash", "job.sh"], **options)
    assert done.returncode == 0 or "Done in" in done.stdout, done.stderr
    assert "Stopped (saved at step" in done.stderr and "Resuming at step" in done.stdout
    assert (tmp_path / "warned").exists()
    undisturbed = tmp_path / "scratch/runs/undisturbed"
    words = [str(tools / "srun"), "sensorium-jax", "train", f"--data={store}"]
    subprocess.run([*words, f"--workdir={undisturbed}"], **options, check=True)
    run = tmp_path / "scratch/runs/gru"
    assert small.metrics_of(run) == small.metrics_of(undisturbed)
    a, b = (jax.device_get(load_run(folder, data=store).params) for folder in (run, undisturbed))
    jax.tree.map(np.testing.assert_array_equal, a, b)
