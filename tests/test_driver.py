"""``python experiments/run.py`` as a person runs it: its words, its exit codes, its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium_jax.cli import programs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TINY = [
    "--size=demo",
    "--set=model.core.channels=1",
    "--set=data.frames=8",
    "--set=epoch_steps=2",
    "--set=max_epochs=1",
    "--devices=1",
]


def drive(*flags, cwd, **environment):
    """Run the driver; (exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, ROOT / "experiments/run.py", *flags],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "SENSORIUM_DATA"}
        | {"XDG_CACHE_HOME": str(cwd / "cache"), **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def test_trains_scores_and_does_not_repeat_itself(store, tmp_path):
    flags = ["--config=static_baseline", "--workdir=run", *TINY]
    code, out, err = drive(*flags, cwd=tmp_path, SENSORIUM_DATA=str(store))
    assert code == 0, err
    assert "2 mice from" in out and "epoch   1/1" in out and "final_test_bonus" in out
    report = json.loads((tmp_path / "run/report.json").read_text())
    page = (tmp_path / "run/report.html").read_text()
    for heading in ("Scores", "By mouse", "Training", "First layer", "Model card", "Environment"):
        assert f"<h2>{heading}" in page
    assert page.count("<svg") == 7 and "Simulated mice" in page
    assert (tmp_path / "run/scores.npz").exists()
    assert {s["tier"] for s in report["scores"]} >= {"oracle", "live_test_bonus"}
    code, out, _ = drive(*flags, f"--data={store}", cwd=tmp_path)
    assert code == 0 and "Already trained" in out
    code, _, err = drive(*flags, f"--data={store}", "--set=seed=1", cwd=tmp_path)
    assert code == 2 and "another experiment: seed: 0, here 1" in err


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--config=gru_basline"], "no config 'gru_basline'"),
        (["--config=gru_basline"], "did you mean gru_baseline?"),
        (["--set=model.core.chanels=8"], "did you mean channels"),
        (["--data=nowhere"], "no store at"),
        (["--data=half"], "is half-written"),
        (["--data=raw"], "expected a store"),
        (["gru_baseline"], "unrecognized arguments: gru_baseline"),
        (["--devices=99"], "devices, got 99"),
        (["--workdir=raw"], "found other files"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, words, store, tmp_path):
    (tmp_path / "half/.dynamic1.partial").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/notes.txt").touch()
    if not any(f.startswith("--data") for f in flags):
        flags = [*flags, f"--data={store}"]
    before = sorted(tmp_path.rglob("*"))
    code, _, err = drive(*flags, cwd=tmp_path)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert sorted(tmp_path.rglob("*")) == before


def test_help_teaches(tmp_path):
    _, out, _ = drive("--help", cwd=tmp_path)
    for word in (
        "--config=gru_baseline",
        "--data=STORE",
        "--set model.core.channels=8",
        "resumes a run",
    ):
        assert word in out


@pytest.mark.parametrize(
    ("setting", "version", "again"),
    [("always [madvise] never", "2.36", True), ("[always] madvise never", "2.36", False)]
    + [("always [madvise] never", "2.31", False)],
)
def test_large_pages_are_asked_for_once(setting, version, again, tmp_path, monkeypatch):
    started = []
    (tmp_path / "enabled").write_text(setting)
    monkeypatch.setattr(programs, "Path", lambda name: tmp_path / Path(name).name)
    monkeypatch.setattr(programs.platform, "libc_ver", lambda: ("glibc", version))
    monkeypatch.setattr(programs.os, "execv", lambda *command: started.append(command))
    monkeypatch.setattr(programs.os, "environ", {})
    for _ in range(2):  # the second time as the program that was started
        programs.use_huge_pages()
    command = [sys.executable, *sys.orig_argv[1:]]
    assert started == ([(sys.executable, command)] if again else [])
    assert bool(programs.os.environ) == again
