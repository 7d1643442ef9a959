"""Submissions: what is written is what was predicted, and what is wrong is told in one line."""

import errno
import zipfile

import jax
import numpy as np
import pytest
import small

from sensorium_jax import models, parallel, protocol, simulate, submission
from sensorium_jax.cli.submit import main
from sensorium_jax.data import pipeline
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.convert import convert
from sensorium_jax.runs.ensembles import Ensemble
from sensorium_jax.runs.run import Run
from sensorium_jax.submission.check import _rows
from sensorium_jax.submission.files import TRACKS
from sensorium_jax.submission.write import _round_mantissa

pa = pytest.importorskip("pyarrow", reason="needs pip install -e '.[submission]'")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pip install -e '.[submission]'")

LIVE, FINAL = TRACKS["main"].values()


def untrained(recordings):
    """A run of random weights."""
    experiment = small.experiment()
    batch = pipeline.example_batch(recordings, frames=10)
    params = models.init(experiment.model, jax.random.key(0), batch, recordings.neurons)
    return Ensemble((Run(experiment, recordings, params, parallel.make_mesh(1)),))


@pytest.fixture(scope="module")
def public(store):
    return load_recordings(store)


@pytest.fixture(scope="module")
def trained(public):
    return untrained(public)


@pytest.fixture(scope="module")
def zips(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("submission")
    return {track: submission.write(trained, track, out) for track in TRACKS}


def write_rows(rows, folder):
    pq.write_table(pa.Table.from_pylist(rows), folder / LIVE)
    return folder / LIVE


def rows_of(path, name):
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        return pq.read_table(file).to_pylist()


@pytest.mark.parametrize("track", TRACKS)
def test_rows_are_the_predictions_in_the_scorers_units(track, zips, trained):
    recordings = trained.recordings
    with zipfile.ZipFile(zips[track]) as archive:
        assert archive.namelist() == list(TRACKS[track].values())
    assert not [p for p in zips[track].parent.iterdir() if p.suffix != ".zip"]
    for tier, name in TRACKS[track].items():
        rows = rows_of(zips[track], name)
        assert list(rows[0]) == ["mouse", "trial_indices", "prediction", "neuron_ids"]
        expected = {
            (recordings.session_names[t.session], recordings.trials(t.session).number[t.row]): t
            for t in trained.predictions(trained.params, tier)
        }
        assert [(r["mouse"], r["trial_indices"]) for r in rows] == sorted(expected)
        for row in rows:
            trial = expected[row["mouse"], row["trial_indices"]]
            official = (trial.prediction / trial.released_std).T
            np.testing.assert_allclose(row["prediction"], official, rtol=2**-13 + 2e-5)
            session = recordings.sessions[trial.session]
            assert row["neuron_ids"] == session.load("unit_ids").tolist()
            length = min(protocol.CLIP_FRAMES, session.trials.frames[trial.row])
            assert len(row["prediction"][0]) == length - protocol.SKIP_FRAMES


def test_predictions_are_rounded_to_the_nearest_of_twelve_bits():
    x = np.random.default_rng(0).gamma(1, 5, 10_000)
    found = _round_mantissa(x)
    assert 2**-14 < np.max(np.abs(found - x) / x) <= 2**-13
    assert not (found.view(np.uint64) & np.uint64(2**40 - 1)).any()
    np.testing.assert_array_equal(_round_mantissa(found), found)


def test_public_responses_are_scored_as_evaluate_does(zips, trained):
    for track, tiers in TRACKS.items():
        checked = {c.tier: c for c in submission.check(zips[track], trained.recordings)}
        assert set(checked) == set(tiers)
        for tier in tiers:
            report = trained.evaluate(trained.params, tier, units="official")
            expected = {s.session: s.single_trial for s in report.select(tier)}
            assert checked[tier].correlation == pytest.approx(expected, abs=1e-5)
            assert checked[tier].window == "starter" and not checked[tier].warnings


def test_only_withheld_mice_are_submitted(tmp_path):
    sizes = {"neurons": (3,), "train": 4, "clips": 1, "repeats": 2}
    sizes |= {"ood_clips": 1, "ood_repeats": 1}
    simulate.write_recording(tmp_path / "raw", letters=("A",), **sizes)
    simulate.write_recording(tmp_path / "raw", letters=("F",), withhold=True, **sizes)
    convert(tmp_path / "raw", tmp_path / "store")
    recordings = load_recordings(tmp_path / "store")
    path = submission.write(untrained(recordings), "main", tmp_path, window="winners")
    rows = rows_of(path, LIVE)
    assert {row["mouse"] for row in rows} == {recordings.session_names[1]}
    assert {len(row["prediction"][0]) for row in rows} == {249}
    for checked in submission.check(path, recordings):
        assert checked.window == "winners" and checked.correlation == {}


def test_files_of_others_pass(zips, public, tmp_path):
    rows = rows_of(zips["main"], LIVE)  # in float64, as a data frame of lists would be written
    for row in rows:
        row["trial_indices"] = f"{row['trial_indices']}.npy"  # as the starter kit's README has it
    (checked,) = submission.check(write_rows(rows, tmp_path), public)
    assert checked.trials == len(rows)


def test_memory_does_not_grow_with_the_rows_of_a_group(tmp_path):
    """A data frame's file has one group of all rows: it is read page by page."""
    rng = np.random.default_rng(0)
    path = tmp_path / LIVE
    trials = [
        {"mouse": "a", "trial_indices": i, "neuron_ids": [1], "prediction": [rng.random(10**5)]}
        for i in range(100)
    ]
    pq.write_table(pa.Table.from_pylist(trials), path)
    assert pq.ParquetFile(path).num_row_groups == 1
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in _rows(path, LIVE)]
    assert len(held) == 100 and 0 < max(held) < 0.3 * path.stat().st_size


def test_constant_predictions_are_counted(zips, public, tmp_path, capsys):
    rows = rows_of(zips["main"], LIVE)
    mouse = rows[0]["mouse"]
    for row in rows:
        if row["mouse"] == mouse:
            row["prediction"][1] = [0.5] * len(row["prediction"][1])
    path = write_rows(rows, tmp_path)
    (checked,) = submission.check(path, public)
    assert checked.constant == dict.fromkeys(checked.constant, 0) | {mouse: 1}
    assert main(["check", str(path), "--store", str(public.store.path)]) == 0
    assert capsys.readouterr().out.count("; 1 neurons are constant and count as 0") == 1


# --- bad input ----------------------------------------------------------------------------------


def swap_neurons(rows):
    rows[0]["neuron_ids"] = rows[0]["neuron_ids"][::-1]


def other_neurons(rows):
    rows[0]["neuron_ids"][0] = 10**6


def drop_neuron(rows):
    rows[0]["prediction"].pop()


def transpose(rows):
    rows[0]["prediction"] = np.transpose(rows[0]["prediction"]).tolist()


def too_long(rows):
    for row in rows:
        row["prediction"] = [[0.0] * 50 + frames for frames in row["prediction"]]


def two_windows(rows):
    rows[0]["prediction"] = [frames[:-1] for frames in rows[0]["prediction"]]


def ragged(rows):
    rows[0]["prediction"][0].pop()


def nan(rows):
    rows[0]["prediction"][2][7] = float("nan")


def twice(rows):
    rows.append(rows[0])


def missing(rows):
    del rows[2]


def other_trial(rows):
    rows[0]["trial_indices"] = 9999


def other_mouse(rows):
    rows[0]["mouse"] = "dynamic1"


@pytest.mark.parametrize(
    "damage, words",
    [
        (swap_neurons, "neuron_ids of the recording in .* trial .*, got those in another order"),
        (other_neurons, "neuron_ids of the recording in .*, got others"),
        (drop_neuron, "expected 5 neurons in .*, got 4"),
        (transpose, r"expected 5 neurons in .*, got 250; predict every neuron .* \[N T\]"),
        (too_long, "expected 250 or 249 frames in .*, got 300; predict those after the first 50"),
        (two_windows, "expected one window of frames"),
        (ragged, "each a list of as many frames, as prediction of .*, trial"),
        (nan, "expected numbers in .*, 1 neurons have NaN"),
        (twice, "expected each trial once, found another row"),
        (missing, "trials in .*, 1 are missing, such as"),
        (other_trial, "only trials of live_test_main, .*trial 9999"),
        (other_mouse, "only trials of live_test_main, .*of dynamic1"),
    ],
)
def test_wrong_rows(damage, words, zips, public, tmp_path):
    rows = rows_of(zips["main"], LIVE)
    damage(rows)
    with pytest.raises(UserError, match=words):
        submission.check(write_rows(rows, tmp_path), public)


@pytest.mark.parametrize(
    "column, values, words",
    [
        ("prediction", [[0.5, 0.6]], "lists of neurons, each a list of numbers, as prediction"),
        ("prediction", [b"no"], "as prediction in .*, found binary; write"),
        ("prediction", [[["a", "b"]]], "each a list of numbers"),
        ("prediction", [[[[0.5]]]], "each a list of numbers"),
        ("neuron_ids", [3], "lists of whole numbers as neuron_ids in .*, found int64"),
        ("neuron_ids", [["a"]], "lists of whole numbers as neuron_ids"),
    ],
)
def test_columns_of_other_types(column, values, words, public, tmp_path):
    columns = {
        "mouse": ["m"],
        "trial_indices": [1],
        "prediction": [[[0.5]]],
        "neuron_ids": [[3]],
        column: values,
    }
    pq.write_table(pa.table(columns), tmp_path / LIVE)
    with pytest.raises(UserError, match=words):
        submission.check(tmp_path / LIVE, public)


def test_a_full_disk_is_no_fault_of_the_file(zips, public, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", full)
    with pytest.raises(OSError, match="No space left"):
        submission.check(zips["main"], public)


def test_predictions_in_other_units_are_warned_of(zips, public, tmp_path):
    rows = rows_of(zips["main"], LIVE)
    for row in rows:
        row["prediction"] = (1000 * np.array(row["prediction"])).tolist()
    (checked,) = submission.check(write_rows(rows, tmp_path), public)
    assert len(checked.warnings) == 2 and "divide by the released std" in checked.warnings[0]


def test_files_that_are_none(zips, public, tmp_path):
    named = tmp_path / "predictions.parquet"
    named.write_bytes(b"")
    with pytest.raises(UserError, match=f"expected a file named {LIVE} or .*; rename it"):
        submission.check(named, public)
    damaged = tmp_path / LIVE
    damaged.write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="expected parquet in .*, it cannot be read"):
        submission.check(damaged, public)
    broken = bytearray(zips["main"].read_bytes())
    for at in (100, len(broken) - 60):  # in the data, in the directory
        broken[at] ^= 255
        damaged = tmp_path / f"broken{at}.zip"
        damaged.write_bytes(broken)
        with pytest.raises(UserError, match="expected a submission|expected parquet"):
            submission.check(damaged, public)
    with pytest.raises(UserError, match="none.zip cannot be read"):
        submission.check(tmp_path / "none.zip", public)
    columns = tmp_path / FINAL
    pq.write_table(pa.table({"mouse": ["a"]}), columns)
    with pytest.raises(UserError, match="expected the columns mouse, .* found mouse; write"):
        submission.check(columns, public)


def test_zips_of_half_a_track(zips, public, tmp_path):
    half = tmp_path / "main.zip"
    with zipfile.ZipFile(zips["main"]) as archive, zipfile.ZipFile(half, "w") as other:
        other.writestr(LIVE, archive.read(LIVE))
    with pytest.raises(UserError, match="the live and the final file of one track in main.zip"):
        submission.check(half, public)


def test_nothing_is_left_of_a_failed_submission(trained, tmp_path, monkeypatch):
    """Whichever tier fails, and what lay there before stays."""
    good = trained.predictions
    (tmp_path / LIVE).write_text("of somebody else")
    for fails in protocol.MAIN_TIERS:

        def fail(params, tier, fails=fails, **options):
            for i, trial in enumerate(good(params, tier, **options)):
                if i == 2 and tier == fails:
                    raise UserError("no more")
                yield trial

        monkeypatch.setitem(trained.__dict__, "predictions", fail)
        with pytest.raises(UserError, match="no more"):
            submission.write(trained, "main", tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [LIVE]
    assert (tmp_path / LIVE).read_text() == "of somebody else"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"track": "side"}, "no track 'side'; there are: main, bonus"),
        ({"window": "all"}, "no window 'all'; there are: starter, winners"),
    ],
)
def test_options_that_are_none(changes, words, trained, tmp_path):
    with pytest.raises(UserError, match=words):
        submission.write(trained, changes.pop("track", "main"), tmp_path, **changes)


def test_program(zips, store, tmp_path, capsys):
    assert main(["check", str(zips["main"]), "--store", str(store)]) == 0
    out = capsys.readouterr().out
    assert "live_test_main: " in out and "single-trial correlation" in out
    assert main(["check", str(zips["main"]), "--store", str(tmp_path)]) == 2
    assert main(["write", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_columns_have_the_types_of_the_starter_kits_files(zips):
    pq = pytest.importorskip("pyarrow.parquet")
    name = TRACKS["main"]["live_test_main"]
    with zipfile.ZipFile(zips["main"]) as archive, archive.open(name) as file:
        types = {field.name: str(field.type) for field in pq.read_schema(file)}
    assert types["mouse"] == "string" and types["trial_indices"] == "int64"
    assert "list" in types["prediction"] and types["prediction"].count("double") == 1
    assert "int64" in types["neuron_ids"]
