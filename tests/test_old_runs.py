"""Runs of version 0.1, made at 5207929, go on opening: tests/golden/old_run.zip."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sensorium_jax import load_run, parallel
from sensorium_jax.runs.workdir import claim, read_record
from sensorium_jax.training.loop import train

pytestmark = pytest.mark.slow

RUNS = "gru_baseline", "factorized_baseline"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    zipfile.ZipFile(Path(__file__).parent / "golden/old_run.zip").extractall(folder)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_opens_predicts_and_evaluates(old, name):
    run = load_run(old / name, data=old / "store")
    stored = np.load(old / "predictions.npz")
    film = [stored[key] for key in ("video", "behavior", "pupil_center")]
    for session in run.recordings.session_names:
        rate = run.predict(*film, session=session)
        np.testing.assert_allclose(rate, stored[f"{name}/{session}"], rtol=1e-5, atol=1e-5)
    before = json.loads((old / name / "report.json").read_text())["means"][0]
    report = run.evaluate(run.params, "oracle", units="official")  # the only ones then
    assert report.by_neuron("oracle") == pytest.approx(before["single_trial_by_neuron"], abs=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_goes_on(old, name):
    record = old / name / "run.json"
    text = record.read_text()
    run = load_run(old / name, data=old / "store")
    experiment, _ = read_record(old / name)
    claim(old / name, experiment, run.recordings)
    train(experiment, old / name, run.recordings, mesh=parallel.make_mesh(1), console=Console())
    assert record.read_text() == text  # nothing is written over
