"""Units of a score, and the floor of the official one."""

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_scores import NoModel, evaluate_with, perfect

from sensorium_jax import load_run, parallel, protocol, simulate
from sensorium_jax.cli.main import main
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import doctor
from sensorium_jax.prepare.convert import convert
from sensorium_jax.runs.predictions import make_predictions
from sensorium_jax.scores import compare, published, results
from sensorium_jax.scores.evaluate import make_score
from sensorium_jax.scores.units import default_units, std_trials
from sensorium_jax.types import Params

OLD = Path(__file__).parent / "golden/old_run.zip"


def scored_frames(recordings, session, tier):
    """Responses of a tier [T N] and their released std, joined along time, by NumPy alone."""
    std = recordings.statistics("released").response.std[session]
    source, pairs = recordings.sessions[session], []
    for row in recordings.rows(session, tier):
        length = min(int(source.trials.frames[row]), protocol.CLIP_FRAMES)
        frames = slice(protocol.SKIP_FRAMES, length)
        pairs.append((source.read(row, 0, length).response[frames], std[frames, : source.neurons]))
    return (np.concatenate(x) for x in zip(*pairs, strict=True))


def correlations(x, y):
    return [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, y.T, strict=True)]


def constant_rate(batch, std):
    """A constant rate in the recording's units."""
    return 3 / std + 0 * batch.response


@pytest.mark.parametrize("split", ["oracle", "final_test_bonus"])
@pytest.mark.parametrize("statistics", ["pooled", "released"])
def test_a_constant_rate_scores_the_floor(statistics, split, recordings, monkeypatch):
    options = {"statistics": statistics, "split": split}
    report = evaluate_with(constant_rate, recordings, monkeypatch, **options)
    for s, name in enumerate(recordings.session_names):
        response, std = scored_frames(recordings, s, split)
        expected = np.mean(correlations(response / std, 1 / std))
        (score,) = (x for x in report.select(split, units="official") if x.session == name)
        assert score.floor == pytest.approx(expected, abs=1e-6) and score.floor > 0.05
        assert score.single_trial == pytest.approx(score.floor, abs=1e-5) and not score.constant
        assert score.to_average == pytest.approx(score.to_average_floor, abs=1e-5)
        (raw,) = (x for x in report.select(split, units="raw") if x.session == name)
        assert raw.single_trial == raw.floor == raw.to_average == 0
        assert raw.constant == recordings.sessions[s].neurons
    assert report.share(split, units="official") == pytest.approx(0, abs=1e-4)
    assert report.share(split, units="raw") == 0


def test_families_have_floors_of_their_own(recordings, monkeypatch):
    report = evaluate_with(perfect, recordings, monkeypatch, split="final_test_bonus")
    floors = [
        report.by_neuron("final_test_bonus", family=f, field="floor", units="official")
        for _, f in report.rows()
    ]
    assert len(set(floors)) == len(floors) > 2


def test_raw_scores_are_those_of_what_predict_returns(whole):
    run = load_run(whole[0])
    report = run.evaluate(run.params, "oracle", units="raw")
    for s, session in enumerate(run.recordings.sessions):
        rates = []
        for row in run.recordings.rows(s, "oracle"):
            film = session.read(row, 0, min(session.trials.frames[row], protocol.CLIP_FRAMES))
            rate = run.predict(film.video, film.behavior, film.pupil_center, session=session.name)
            rates.append(rate[protocol.SKIP_FRAMES - len(film.video) :])
        response, _ = scored_frames(run.recordings, s, "oracle")
        expected = correlations(response, np.concatenate(rates))
        found = report.select("oracle")[s].values()
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("units", ["official", "raw"])
def test_the_score_of_training_is_that_of_evaluation(units, recordings, monkeypatch):
    def noisy(batch, std):
        rate = perfect(batch, std) + np.sin(np.arange(batch.response.size)).reshape(
            batch.response.shape
        )
        rate[..., 2] = 3  # one constant neuron
        return rate

    report = evaluate_with(
        noisy, recordings, monkeypatch
    )  # also puts ``noisy`` in the model's place
    options = {"mesh": parallel.make_mesh(1), "statistics": "pooled", "trials": 3}
    score = make_score(make_predictions(NoModel(), recordings, **options), recordings)
    found = score(Params({}, {}), "oracle", units=units)
    assert found == pytest.approx(report.by_neuron("oracle", units=units), abs=1e-12)
    assert 0.2 < found < 0.95


def test_scores_of_signal_and_noise_exist_in_raw_units_only(recordings, monkeypatch):
    report = evaluate_with(perfect, recordings, monkeypatch, units="official")
    assert report.units == "official"
    assert report.by_neuron("oracle", field="feve") == report.by_neuron(
        "oracle", field="feve", units="raw"
    )
    with pytest.raises(UserError, match="units 'raw' for cc_norm, which exists in no other"):
        report.by_neuron("oracle", field="cc_norm", units="official")
    with pytest.raises(UserError, match="no units 'rwa'; did you mean raw"):
        report.by_neuron("oracle", units="rwa")
    official, raw = report.to_json()["means"]  # the report's own units first
    assert official["units"] == "official" and "feve_by_neuron" not in official
    assert raw["units"] == "raw" and raw["floor_by_neuron"] == 0 and "feve_by_neuron" in raw


def test_few_trials_make_a_warning(recordings, monkeypatch):
    trials = std_trials(recordings)
    report = evaluate_with(perfect, recordings, monkeypatch, units="official")
    assert f"Warning: {trials} train trials make the std" in str(report)
    assert "Warning" not in str(report.in_units("raw"))


def mice(names, *, trials, released=True):
    """Recordings of these sessions, with so many train trials."""
    table = SimpleNamespace(tier=np.array(["train"] * trials + ["oracle"]))
    sessions = [SimpleNamespace(name=n, has_released=released, trials=table) for n in names]
    return SimpleNamespace(sessions=sessions)


@pytest.mark.parametrize(
    ("recordings", "units"),
    [
        (mice(protocol.SESSIONS.values(), trials=350), "official"),
        (mice(["dynamic29515-10-12-Video-simulated"], trials=350), "official"),
        (mice(["dynamic29515-10-12-Video-simulated"], trials=72), "raw"),
        (mice(protocol.SESSIONS.values(), trials=350, released=False), "raw"),
        (mice(["mine"], trials=350), "raw"),
        (mice([protocol.SESSIONS["A"], "mine"], trials=350), "raw"),
    ],
)
def test_official_units_come_first_for_the_release_alone(recordings, units):
    assert default_units(recordings) == units


# --- noise: nothing can be predicted --------------------------------------------------------------


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A run of version 0.1 on twelve trials of noise."""
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(folder)
    return folder


def test_noise_scores_nothing_in_raw_units(noise):
    run = load_run(noise / "gru_baseline", data=noise / "store")
    report = run.evaluate_all()
    for tier, _ in report.rows():
        low, high = report.interval(tier, units="raw")
        assert low <= 0 <= high, tier
        share = report.share(tier, units="raw")
        assert np.isnan(share) or abs(share) < 0.1
        assert report.by_neuron(tier, units="official") > 0.3  # all of it is floor
        assert report.by_neuron(tier, units="official", field="floor") > 0.3
    page = noise / "report.html"
    shutil.copytree(noise / "gru_baseline", noise / "again")
    assert main(["report", str(noise / "again"), "--data", str(noise / "store")]) == 0
    page = (noise / "again/report.html").read_text()
    assert "Nothing is predicted, as far" in page and "raw units" in page


def test_a_larger_store_of_noise_scores_nothing(tmp_path, monkeypatch):
    """Forty trials of events that know of nothing, and a model that knows the film."""
    plan = simulate.SessionPlan(
        "A", neurons=30, train=16, clips=2, repeats=2, ood_clips=2, ood_repeats=2
    )
    folder, rng = simulate.write_session(tmp_path / "raw", plan), np.random.default_rng(0)
    files = sorted(folder.glob("data/responses/*.npy"), key=lambda path: int(path.stem))
    assert len(files) == 40
    tiers = np.load(folder / "meta/trials/tiers.npy")
    train = []
    for path in files:
        before = np.load(path)
        noise = rng.exponential(size=before.shape) * (rng.random(before.shape) < 0.2)
        noise = np.where(np.isnan(before), np.nan, noise).astype(np.float32)
        np.save(path, noise)
        np.save(folder / "truth/rate" / path.name, 0.2 + 0 * noise)
        train += [noise] * (tiers[int(path.stem)] == "train")
    for name, function in (("mean", np.nanmean), ("std", np.nanstd)):
        np.save(folder / f"meta/statistics/responses/all/{name}.npy", function(train, axis=0))
    convert(folder, tmp_path / "store")

    def film(batch, std):
        brightness = batch.video.mean((3, 4), dtype=np.float32)[..., None]
        return 1 + brightness / 255 * np.linspace(-0.5, 0.5, batch.response.shape[-1])

    noisy = load_recordings(tmp_path / "store")
    for tier in protocol.EVALUATION_TIERS:
        report = evaluate_with(film, noisy, monkeypatch, split=tier)
        low, high = report.interval(tier, units="raw")
        assert low <= 0 <= high and np.isnan(report.share(tier))
        assert report.by_neuron(tier, field="floor", units="official") > 0.1


def test_reports_of_before_are_official(noise, tmp_path):
    old = noise / "gru_baseline"
    assert published.entry(old).units == "official" and not published.entry(old).floors
    a, b = results.read_moments(old), results.read_moments(old, units="official")
    assert a.keys() == b.keys() and all((a[key] == b[key]).all() for key in a)
    for read in (
        lambda: published.entry(old, units="raw"),
        lambda: compare.compare(old, old, units="raw"),
    ):
        with pytest.raises(
            UserError, match="expected scores in raw units in .*score the run again"
        ):
            read()
    (difference, *_) = compare.compare(old, old)
    assert np.isnan(difference.floor)


# --- commands ------------------------------------------------------------------------------------


def test_every_command_takes_units(whole, tmp_path, capsys):
    run, out = str(whole[0]), tmp_path / "scores.json"
    assert (
        main(["evaluate", run, "--tier", "oracle", "--units", "official", "--json", str(out)]) == 0
    )
    shown = capsys.readouterr().out
    assert "floor" in shown and "official units" in shown and "Warning" in shown
    report = json.loads(out.read_text())
    assert report["units"] == "official"
    assert {s["units"] for s in report["scores"]} == {"official", "raw"}
    assert main(["evaluate", run, "--tier", "oracle"]) == 0
    assert "raw units" in (shown := capsys.readouterr().out) and "floor" not in shown


def test_examine_tells_the_floor_of_every_tier(store, recordings, monkeypatch):
    notes = [f for f in doctor.examine(store).findings if "a constant rate scores" in f.what]
    assert [f.where for f in notes] == list(recordings.session_names)
    for tier in protocol.EVALUATION_TIERS:
        report = evaluate_with(constant_rate, recordings, monkeypatch, split=tier)
        for note, score in zip(notes, report.select(tier, units="official"), strict=True):
            assert f"{score.floor:.3f} on {tier}" in note.what
