"""``sensorium-jax``: help that teaches, words that are nearly right, and what each door opens."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small

from sensorium_jax import complete, load_run
from sensorium_jax._version import __version__
from sensorium_jax.cli import programs
from sensorium_jax.cli.main import COMMANDS, main
from sensorium_jax.errors import STOP_SIGNALS
from sensorium_jax.pages.terminal import make_console

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
WORDS = [[name] for name in COMMANDS]
WORDS += [["prepare", "raw"], ["prepare", "nwb"], ["submit", "write"], ["submit", "check"]]


def run(*argv):
    """The exit code of a subcommand, however it ends."""
    try:
        return main([*map(str, argv)])
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_has_a_purpose_and_an_example(words, capsys):
    assert run(*words, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: sensorium-jax {' '.join(words)}")
    assert f"\n    sensorium-jax {' '.join(words)} " in text  # a worked example
    assert "python -m" not in text and "data_prep" not in text


def test_help_lists_every_subcommand_and_loads_no_jax(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(f"    {name} " in text and purpose in text for name, purpose in COMMANDS.items())
    code = (
        "import atexit, os, sys\n"
        "atexit.register(lambda: os._exit('jax' in sys.modules))\n"
        "from sensorium_jax.cli.main import main; main(['train', '-h'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_version(capsys):
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["trian"], "did you mean train?"),
        (["train", "--confg=gru_baseline"], "did you mean --config?"),
        (["train", "--size=publshed"], "did you mean published?"),
        (["train", "--config=gru_basline"], "did you mean gru_baseline?"),
        (["ask", "uper_limit"], "did you mean upper_limit?"),
        (["prepare", "rw"], "did you mean raw?"),
        (["submit", "chek"], "did you mean check?"),
        (["evaluate", "run", "--tier=orcale"], "did you mean oracle?"),
        (["train", "more"], "unrecognized arguments: more"),
        (["tiers"], "the following arguments are required"),
    ],
)
def test_a_wrong_word_gets_the_nearest_right_one(words, advice, capsys):
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and advice in error


@pytest.mark.parametrize(
    ("door", "command"),
    [
        ("experiments/run.py", "train"),
        ("data_prep/download.py", "fetch"),
        ("data_prep/sensorium_2023.py", "prepare raw"),
        ("data_prep/nwb.py", "prepare nwb"),
        ("data_prep/simulated.py", "simulate"),
    ],
)
def test_programs_of_the_readme_are_doors(door, command):
    done = subprocess.run([sys.executable, ROOT / door, "--help"], capture_output=True, text=True)
    assert done.stdout.startswith(f"usage: sensorium-jax {command} ")
    assert len((ROOT / door).read_text().splitlines()) < 15


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """The workdir of a tiny run, finished."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    complete(small.experiment(), folder, store=store, console=make_console(quiet=True))
    return folder


def test_evaluate_scores_runs_weights_and_ensembles(trained, store, tmp_path, capsys):
    run_ = load_run(trained)
    run_.export(tmp_path / "weights")
    expected = run_.evaluate(run_.params, "oracle").by_neuron("oracle")
    for i, words in enumerate(
        ([trained], [tmp_path / "weights", f"--data={store}"], [trained, trained])
    ):
        out = tmp_path / f"{i}.json"
        assert run("evaluate", *words, "--tier=oracle", f"--json={out}") == 0
        report = json.loads(out.read_text())
        assert {m["tier"] for m in report["means"]} == {"oracle"}
        assert report["means"][0]["single_trial_by_neuron"] == pytest.approx(expected, abs=1e-5)
    assert "oracle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["nowhere"], "name the --workdir of a run"),
        (["WEIGHTS"], "name it as data= (--data)"),
        (["RUN", "--data=nowhere"], "no store at nowhere"),
        (["RUN", "--devices=99"], "devices, got 99"),
    ],
)
def test_evaluate_refuses_what_it_cannot_score(words, advice, trained, tmp_path, capsys):
    load_run(trained).export(tmp_path / "weights")
    places = {"RUN": trained, "WEIGHTS": tmp_path / "weights"}
    assert run("evaluate", *(places.get(word, word) for word in words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and advice in error


def test_report_writes_the_files_of_a_run_again(trained, capsys):
    kept = (trained / "report.json").read_text()
    for name in ("report.json", "scores.npz", "report.html"):
        (trained / name).unlink()
    assert run("report", trained) == 0
    assert (trained / "report.json").read_text() == kept
    assert (trained / "report.html").exists() and (trained / "scores.npz").exists()


def test_predict_equals_the_run(trained, tmp_path, capsys):
    run_ = load_run(trained)
    session = run_.recordings.session_names[1]
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (20, 36, 64)).astype(np.uint8)
    signals = rng.uniform(0, 30, (20, 2)), rng.normal(150, 5, (20, 2))
    np.save(tmp_path / "film.npy", film)
    for name, values in zip(("behavior", "pupil"), signals, strict=True):
        np.save(tmp_path / f"{name}.npy", values)
    words = ["predict", trained, tmp_path / "film.npy", f"--session={session}"]
    extra = [f"--behavior={tmp_path}/behavior.npy", f"--pupil-center={tmp_path}/pupil.npy"]
    assert run(*words, *extra, f"--out={tmp_path}/rates.npz") == 0
    found = np.load(tmp_path / "rates.npz")
    expected = run_.predict(film, *(s.astype(np.float32) for s in signals), session=session)
    np.testing.assert_allclose(found["rate"], expected, rtol=1e-6)
    assert found["unit_ids"].tolist() == run_.session(session).load("unit_ids").tolist()
    assert int(found["first_frame"]) == 20 - len(expected) and str(found["session"]) == session
    assert run(*words, f"--out={tmp_path}/mean.npz") == 0  # behaviour at its mean
    assert np.load(tmp_path / "mean.npz")["rate"].shape == expected.shape


def test_predict_puts_a_film_on_the_benchmarks_grid(tmp_path):
    """An mp4 of twice the size and half the rate shows every frame twice."""
    imageio = pytest.importorskip("imageio.v3")
    from sensorium_jax.runs.films import read_film

    grey = np.array([40, 90, 140, 190], np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (4, 80, 128, 3))
    imageio.imwrite(tmp_path / "film.mp4", frames, fps=15)
    video = read_film(tmp_path / "film.mp4")
    assert video.shape == (8, 36, 64)
    np.testing.assert_allclose(video.mean((1, 2)), np.repeat(grey, 2), atol=4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((5, 36, 60), np.uint8), "expected a film [frames 36 64]"),
        (np.full((5, 36, 64), 0.5), "expected grey levels 0 to 255"),
        (np.full((5, 36, 64), np.nan), "expected grey levels 0 to 255"),
        (np.array([object()]), "expected an array in"),
        (None, "found no file"),
        (b"no film at all", "cannot be read"),
    ],
)
def test_films_that_cannot_be_are_named(content, words, trained, tmp_path, capsys):
    film = tmp_path / ("film.mp4" if isinstance(content, bytes) else "film.npy")
    if isinstance(content, bytes):
        film.write_bytes(content)
    elif content is not None:
        np.save(film, content, allow_pickle=True)
    session = load_run(trained).recordings.session_names[0]
    code = run("predict", trained, film, f"--session={session}", f"--out={tmp_path}/out.npz")
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and words in error
    assert not (tmp_path / "out.npz").exists()


def test_predict_names_the_mice_it_may_be_asked_for(trained, tmp_path, capsys):
    np.save(tmp_path / "film.npy", np.full((3, 36, 64), 9, np.uint8))
    assert run("predict", trained, tmp_path / "film.npy", f"--out={tmp_path}/out.npz") == 2
    assert "expected one of the run's mice" in capsys.readouterr().err


def test_a_config_of_ones_own_is_named_by_its_path(store, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(
        "import dataclasses\n"
        "from sensorium_jax.configs import static_baseline\n"
        "demo = dataclasses.replace(static_baseline.demo, epoch_steps=2, max_epochs=1)\n"
    )
    flags = [f"--config={config}", "--size=demo", f"--data={store}", "--devices=1"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "sensorium_jax", "train", *flags, "--set=model.core.channels=1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/mine-demo/report.html").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("demo = 3", "expected demo = Experiment"),
        ("import nothing_like_it", "which fails .ModuleNotFoundError"),
    ],
)
def test_configs_that_are_none(text, words, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(text)
    assert run("train", f"--config={tmp_path}/mine.py", "--size=demo") == 2
    import re

    assert re.search(words, capsys.readouterr().err)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_phase_of_a_command_can_be_stopped(number, capsys):
    """What is no training ends at once, and says so; nohup's choice stays."""
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else 0)
    try:
        assert programs.exit_code(lambda: signal.raise_signal(number)) == 130
        assert capsys.readouterr().err.startswith("Stopped. Run the same command again to resume: ")
        signal.signal(number, signal.SIG_IGN)
        assert programs.exit_code(lambda: signal.raise_signal(number) or 0) == 0
    finally:
        signal.signal(number, before)


def test_a_stop_within_text_that_is_run_keeps_the_exit_code(tmp_path):
    """CPython would end by SIGINT: dataclasses run text, and imports are full of them."""
    (tmp_path / "stopped.py").write_text(
        "import sys; sys.argv = ['sensorium-jax', 'tiers']\n"
        "from sensorium_jax.cli import main\n"
        "def stop(words): exec('raise KeyboardInterrupt')\n"
        "main.main = stop\n"
        "main.program()\n"
    )
    command = [sys.executable, "-m", "stopped"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, **options)
    assert done.returncode == 130
    assert done.stderr == "Stopped. Run the same command again to resume: sensorium-jax tiers\n"
