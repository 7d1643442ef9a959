"""What was imported from version 0.1 goes on being imported; what moved says where to."""

import importlib
import subprocess
import sys

import pytest

import sensorium_jax
from sensorium_jax import _moved

# A module of 0.1, and some of the public names in it.
BEFORE = {
    "checkpoint": "Checkpoints",
    "compare": "Difference compare read_pair",
    "cores.equivariant": "RotationEquivariant",
    "cores.layered": "LayeredCore",
    "data.convert": "Options convert convert_recording",
    "data.doctor": "Diagnosis Finding examine",
    "data.doctor.findings": "Examined",
    "data.format": "Session SessionWriter Store Trial TrialTable finish_store open_store",
    "data.labels": "Clips family stills",
    "data.nwb": "Names NwbSession",
    "data.pipeline": "Recordings eval_batches example_batch load_recordings train_iterator",
    "data.raw": "RawSession find_sessions",
    "data.recording": "Moments RawTrial Recording Survey",
    "data.release": "known mice",
    "data.stored": "StoredSession",
    "data.tiers": "apply_table folds table_of write_table",
    "demo": "demo_store",
    "ensembles": "Ensemble ensemble train_ensemble",
    "evaluate": "PredictedTrial frames_cut make_evaluate make_predictions",
    "experiment": "Data Experiment differences from_record members_of override to_record",
    "figures": "filters histograms maps traces",
    "leaderboard": "PUBLISHED Entry entry",
    "metric_log": "MetricLog",
    "model": "Core Memory Model apply forward go_on init normalise_inputs of_sessions penalty",
    "nn.penalties": "Laplace",
    "nn.recurrent": "ConvGRU",
    "parallel": "in_turn replicated make_mesh make_predict_step make_train_step replicate "
    "shard_batch",
    "pretrained": "load_pretrained pretrained_names",
    "programs": "exit_code session_bars use_huge_pages",
    "readouts.gaussian": "Gaussian cortical_grid",
    "report": "ALL DRAWN Partial Report SHOWN Score",
    "results": "read_moments read_report write",
    "run": "Run claim load_run read_record score_all",
    "run_page": "write",
    "simulate.neurons": "Population draw_population make_population make_rate",
    "stimuli.pictures": "contact_sheet save_movie",
    "streaming": "Stream check_film",
    "train": "Interrupted train train_members",
    "uncertainty": "bootstrap interval",
    "weights": "TrainedModel load_weights",
}
UNCHANGED = {"experiment", "parallel", "data.tiers", "cores.equivariant", "cores.layered"}
UNCHANGED |= {"readouts.gaussian"}


def forget(name):
    """As if a module had not been imported yet: warnings come at the first import."""
    for module in [m for m in sys.modules if f"{m}.".startswith(f"{name}.")]:
        spec = sys.modules[module].__spec__
        if spec.origin == "moved" or spec.name != module:
            del sys.modules[module]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module", BEFORE)
def test_names_of_before_are_found(module):
    found = importlib.import_module(f"sensorium_jax.{module}")
    for name in BEFORE[module].split():
        assert callable(getattr(found, name)) or name.isupper()
    with pytest.raises(AttributeError, match="no attribute 'never'"):
        found.never  # noqa: B018


@pytest.mark.parametrize("module", sorted(set(_moved.MOVED)))
def test_what_moved_names_the_new_place(module):
    forget(f"sensorium_jax.{module}")
    places = _moved.MOVED[module]
    with pytest.warns(DeprecationWarning, match=f"import from sensorium_jax.{places[0]}"):
        importlib.import_module(f"sensorium_jax.{module}")


def test_names_that_left_their_module_name_the_new_place():
    from sensorium_jax.data import format, pipeline, recordings, writer

    with pytest.warns(DeprecationWarning, match="import from sensorium_jax.data.recordings"):
        assert pipeline.load_recordings is recordings.load_recordings
    with pytest.warns(DeprecationWarning, match="import from sensorium_jax.data.writer"):
        assert format.SessionWriter is writer.SessionWriter


@pytest.mark.filterwarnings("error::DeprecationWarning")
@pytest.mark.parametrize("name", _moved.SHORT)
def test_short_names_stay_and_are_the_same_modules(name):
    short = importlib.import_module(f"sensorium_jax.{name}")
    assert short is importlib.import_module(f"sensorium_jax.{_moved.SHORT[name]}")
    assert getattr(sensorium_jax, name) is short
    assert short.__spec__.name == f"sensorium_jax.{_moved.SHORT[name]}"


def test_a_class_is_one_by_whatever_name_it_is_imported():
    from sensorium_jax.cores import RotationEquivariant
    from sensorium_jax.cores.equivariant import RotationEquivariant as longer

    from sensorium_jax.models.cores.equivariant import RotationEquivariant as new

    assert RotationEquivariant is longer is new


def test_all_public_names_are_there():
    assert set(sensorium_jax.__all__) <= set(dir(sensorium_jax))
    for name in sensorium_jax.__all__:
        assert getattr(sensorium_jax, name) is not None
    with pytest.raises(AttributeError):
        sensorium_jax.never  # noqa: B018


@pytest.mark.parametrize(
    ("program", "command"),
    [*_moved.PROGRAMS.items(), ("data.tiers", "tiers")],
)
def test_programs_of_before_name_the_subcommand(program, command):
    module = f"sensorium_jax.{program.removesuffix('.__main__')}"
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert f"now sensorium-jax {command}" in done.stderr or program == "data.tiers"
    assert f"usage: sensorium-jax {command}" in done.stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_configs_of_before_are_found():
    from experiments.configs import gru_baseline

    assert gru_baseline is importlib.import_module("sensorium_jax.configs.gru_baseline")
