"""The scores equal the reference's, and ``evaluate`` applies them to the right frames."""

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sensorium_jax import parallel, protocol
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError
from sensorium_jax.pages.terminal import show
from sensorium_jax.runs.predictions import make_evaluate
from sensorium_jax.scores import compare, metrics, results
from sensorium_jax.scores import intervals as uncertainty
from sensorium_jax.scores import report as reports
from sensorium_jax.scores.repeats import FEV_FLOOR
from sensorium_jax.scores.score import DefinedMean, Score
from sensorium_jax.types import Params

GOLDEN = np.load(Path(__file__).parent / "golden/components.npz")


NAN = 5  # a neuron with a NaN prediction: 0 in the reference, an error of ``evaluate`` here


def golden_trials():
    """(clip, response, prediction) [T N] of three trials, cut to the scored frames."""
    for i in range(3):
        pair = GOLDEN[f"scores/target{i}"].T, GOLDEN[f"scores/output{i}"]
        yield "clip", *(np.delete(x[protocol.SKIP_FRAMES :], NAN, axis=1) for x in pair)


def added(meter, trials):
    for clip, response, prediction in trials:
        meter.add(clip, response, prediction)
    return meter


def score(meter, trials):
    return added(meter, trials).correlation()


def test_single_trial_correlation_equals_the_reference():
    expected = np.delete(GOLDEN["scores/correlations"], NAN)
    found = score(metrics.SingleTrialCorrelation(len(expected)), golden_trials())
    np.testing.assert_allclose(found.value, expected, atol=2e-6)
    np.testing.assert_array_equal(found.constant, [False, False, True, True, True, False])


def random_trials(lengths, *, neurons=4, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    for i, length in enumerate(lengths):
        response = rng.gamma(1, 2, (length, neurons)) + offset
        yield f"clip{i % 2}", response, response + rng.normal(0, 2, (length, neurons))


@pytest.mark.parametrize("offset", [0, 1e6])
def test_sums_over_trials_equal_one_long_trial(offset):
    trials = list(random_trials((250, 0, 1, 189), offset=offset))
    found = score(metrics.SingleTrialCorrelation(4), trials)
    response, prediction = (np.concatenate([t[i] for t in trials]) for i in (1, 2))
    expected = [np.corrcoef(response[:, n], prediction[:, n])[0, 1] for n in range(4)]
    np.testing.assert_allclose(found.value, expected, rtol=1e-9)
    assert not found.constant.any()


def by_clip(trials):
    return sorted(trials, key=lambda trial: trial[0])


def test_correlation_to_average_averages_each_clip():
    trials = list(random_trials((30, 25, 30, 25)))
    found = added(metrics.Repeats(4), by_clip(trials)).to_average()
    means = [
        np.concatenate([(trials[k][i] + trials[k + 2][i]) / 2 for k in (0, 1)]) for i in (1, 2)
    ]
    expected = [np.corrcoef(means[0][:, n], means[1][:, n])[0, 1] for n in range(4)]
    np.testing.assert_allclose(found.value, expected, rtol=1e-9)


def test_constants_score_zero_and_are_counted():
    clip, response, prediction = next(random_trials((40,)))
    response[:, 1] = 0.1
    prediction[:, 2] = 0.3
    trials = [(clip, response, prediction)] * 2
    for found in (
        score(metrics.SingleTrialCorrelation(4), trials),
        added(metrics.Repeats(4), trials).to_average(),
    ):
        np.testing.assert_array_equal(found.constant, [False, True, True, False])
        np.testing.assert_array_equal(found.value[1:3], 0)
        assert (found.value[[0, 3]] > 0.3).all()


# --- scores of repeats --------------------------------------------------------------------------


def golden_repeats(*, offset=0.0):
    """Images of one frame: 12, shown 6 times, to 5 neurons."""
    responses, predictions = GOLDEN["oracle/repeats"], GOLDEN["fev/predictions"]
    for image, (response, prediction) in enumerate(zip(responses, predictions, strict=True)):
        for y, p in zip(response + offset, prediction + offset, strict=True):
            yield str(image), y[None], p[None]


@pytest.mark.parametrize("offset", [0, 1e5])
@pytest.mark.parametrize(
    "name, golden",
    [
        ("oracle", "oracle/jackknife"),
        ("oracle_conservative", "oracle/conservative"),
        ("fev", "fev/fev"),
        ("feve", "fev/fev_e"),
    ],
)
def test_scores_of_repeats_equal_the_reference(name, golden, offset):
    found = getattr(added(metrics.Repeats(5), golden_repeats(offset=offset)), name)()
    # The reference gives FEVE to every neuron, here those of little explainable variance have none.
    low = GOLDEN["fev/fev"] < FEV_FLOOR if name == "feve" else np.zeros(5, bool)
    np.testing.assert_array_equal(found.defined, ~low)
    np.testing.assert_allclose(found.value[~low], GOLDEN[golden][~low], rtol=1e-6)
    assert found.mean() == pytest.approx(GOLDEN[golden][~low].mean(), rel=1e-6)


def repeated(*, clips=3, repeats=5, frames=60, noise=1.0, offset=0.0, seed=0):
    """Trials of neurons with a known signal, which the model predicts."""
    rng = np.random.default_rng(seed)
    for clip, signal in enumerate(rng.normal(size=(clips, frames, 4)) + offset):
        for _ in range(repeats):
            yield str(clip), signal + noise * rng.normal(size=signal.shape), signal.copy()


def test_repeats_hold_one_clip_at_a_time():
    """Frames are not kept with the clips of a tier; interrupted or uneven repeats are refused."""
    meter = metrics.Repeats(50)

    def peak(clips):
        tracemalloc.reset_peak()
        for clip, y, p in ((c, *rng.normal(size=(2, 300, 50))) for c in clips for _ in "12"):
            meter.add(clip, y, p)
        return tracemalloc.get_traced_memory()[1]

    rng = np.random.default_rng(0)
    tracemalloc.start()
    few, more = peak("abc"), peak(map(str, range(30)))
    tracemalloc.stop()
    assert more < 1.2 * few
    frames = np.zeros((300, 50))
    with pytest.raises(ValueError, match="repeats of clip 'a' one after the other"):
        meter.add("a", frames, frames)
    meter.add("new", frames, frames)
    with pytest.raises(ValueError, match="clip 'new' of 300 frames, got 299"):
        meter.add("new", frames[1:], frames[1:])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_never_a_score_of_zero(bad):
    trials = list(repeated())
    trials[4][2][7, 1] = bad
    with np.errstate(invalid="ignore"):
        single = added(metrics.SingleTrialCorrelation(4), trials)
        repeats = added(metrics.Repeats(4), trials)
        for found in (
            single.correlation().value,
            metrics.correlate(single.clip_moments().sum(0)),
            repeats.to_average().value,
            repeats.to_average_by_clip().value,
            single.per_trial().value,
            repeats.feve().value,
        ):
            np.testing.assert_array_equal(np.isnan(found), [False, True, False, False])
        rates = [(clip, np.abs(y), np.abs(p)) for clip, y, p in trials]
        found = added(metrics.PoissonSums(4), rates).log_likelihood()
        np.testing.assert_array_equal(found.defined, [True, False, True, True])


@pytest.mark.parametrize("offset", [0, 1e5])
def test_normalised_correlation_equals_its_formula(offset):
    trials = [(c, y, p + 0.5 * y) for c, y, p in repeated(offset=offset)]
    found = added(metrics.Repeats(4), trials).cc_norm()
    of_clips = []
    for clip in "012":
        y, p = (np.stack([t[i] for t in trials if t[0] == clip]) for i in (1, 2))  # [R T N]
        r = len(y)
        power = (y.sum(0).var(0) - y.var(1).sum(0)) / (r * (r - 1))
        y, p = y.mean(0), p.mean(0)
        cov = ((y - y.mean(0)) * (p - p.mean(0))).mean(0)
        of_clips.append(cov / np.sqrt(p.var(0) * power))
    np.testing.assert_allclose(found.value, np.mean(of_clips, 0), rtol=1e-6)


def test_the_signal_itself_explains_all():
    meter = added(metrics.Repeats(4), repeated(clips=6, repeats=10, frames=250))
    for found in (meter.cc_norm(), meter.feve()):
        np.testing.assert_allclose(found.value, 1, atol=0.03)
    assert meter.oracle().mean() == pytest.approx(
        np.sqrt(0.5 * 9 / 10), abs=0.02
    )  # r(y, mean of 9)
    assert meter.oracle().mean() < meter.oracle_conservative().mean()
    assert meter.fev().mean() == pytest.approx(0.5, abs=0.02)


def test_scores_of_repeats_that_are_not_defined():
    once = added(metrics.Repeats(4), repeated(repeats=1))
    twice = added(metrics.Repeats(4), repeated(repeats=2, noise=0))
    for name in ("oracle", "oracle_conservative", "fev", "feve", "cc_norm"):
        found = getattr(once, name)()
        assert not found.defined.any() and np.isnan(found.value).all() and found.mean() is None
        assert getattr(twice, name)().value == pytest.approx(np.ones(4))

    def odd(trials):
        for clip, y, p in trials:
            y[:, 0], p[:, 1] = 2.5, 0.5  # a constant response, and a constant prediction
            y[:, 2] = np.random.default_rng(len(seen)).normal(size=len(y))  # nothing but noise
            seen.append(clip)
            yield clip, y, p

    seen = []
    meter = added(metrics.Repeats(4), odd(repeated(repeats=10, frames=250)))
    np.testing.assert_array_equal(meter.oracle().defined, [False, True, True, True])
    np.testing.assert_array_equal(meter.fev().defined, [False, True, True, True])
    np.testing.assert_array_equal(meter.feve().defined, [False, True, False, True])
    assert not meter.cc_norm().defined[:2].any() and meter.cc_norm().defined[3]


# --- evaluate, with a predictor that knows the responses ----------------------------------------


class NoModel:
    """Stands for a model where the predictor is replaced."""


@pytest.fixture(scope="module")
def recordings(store):
    return load_recordings(store)


def evaluate_with(
    predict, recordings, monkeypatch, *, statistics="pooled", split="oracle", **options
):
    """Score what ``predict(batch, std) -> [S B T N]`` says."""

    def make_predict_step(model, mesh):
        return lambda params, batch, neurons, statistics: predict(
            jax_to_numpy(batch),
            np.asarray(statistics.response.std)[:, None],  # [S 1 f N]
        )

    monkeypatch.setattr(parallel, "make_predict_step", make_predict_step)
    evaluate = make_evaluate(
        NoModel(),
        recordings,
        mesh=parallel.make_mesh(1),
        statistics=statistics,
        trials=3,
    )
    return evaluate(Params({}, {}), split, **options)


def jax_to_numpy(batch):
    return type(batch)(*(np.asarray(x) for x in batch))


def perfect(batch, std):
    return batch.response / std


@pytest.mark.parametrize("statistics", ["pooled", "released"])
@pytest.mark.parametrize("split", protocol.EVALUATION_TIERS)
def test_a_perfect_prediction_scores_one(statistics, split, recordings, monkeypatch):
    report = evaluate_with(perfect, recordings, monkeypatch, statistics=statistics, split=split)
    assert {s.session for s in report.scores} == set(recordings.session_names)
    for s in report.scores:
        assert s.single_trial == pytest.approx(1) and s.to_average == pytest.approx(1)
        assert s.constant == 0
        assert 0.2 < s.single_trial_ceiling < s.to_average_ceiling < 1


def test_only_scored_frames_count(recordings, monkeypatch):
    def wrong_before(batch, std):
        rate = perfect(batch, std)
        rate[:, :, : protocol.SKIP_FRAMES] = -100
        rate[:, :, protocol.CLIP_FRAMES :] = -100
        return rate

    def wrong_once(batch, std):
        rate = perfect(batch, std)
        rate[:, :, protocol.SKIP_FRAMES] = -100
        return rate

    assert evaluate_with(wrong_before, recordings, monkeypatch).by_neuron("oracle") > 0.999
    assert evaluate_with(wrong_once, recordings, monkeypatch).by_neuron("oracle") < 0.9


def test_a_core_that_drops_frames_is_aligned_at_the_end(recordings, monkeypatch):
    def later(batch, std):
        return perfect(batch, std)[:, :, 20:]

    assert evaluate_with(later, recordings, monkeypatch).by_neuron("oracle") > 0.999
    with pytest.raises(UserError, match="drops at most 50 frames.*drops 51"):
        evaluate_with(lambda b, s: perfect(b, s)[:, :, 51:], recordings, monkeypatch)


def test_constant_predictions_are_reported(recordings, monkeypatch):
    report = evaluate_with(lambda b, s: 0 * perfect(b, s) + 1, recordings, monkeypatch)
    assert [s.constant for s in report.select("oracle")] == [5, 7]
    assert report.by_neuron("oracle") == 0
    assert "12 constant predictions" in str(report)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_an_error(recordings, monkeypatch, bad):
    def one_neuron(batch, std):
        rate = perfect(batch, std)
        rate[..., 2] = bad
        return rate

    with pytest.raises(UserError, match="got NaN or infinite ones for 1 of 5 neurons"):
        evaluate_with(one_neuron, recordings, monkeypatch)


def test_runs_are_compared_whatever_neurons_are_constant(recordings, monkeypatch, tmp_path):
    def one_dead(batch, std):
        rate = perfect(batch, std)
        rate[..., 2] = 1
        return rate

    for name, predict in (("a", one_dead), ("b", perfect)):
        (tmp_path / name).mkdir()
        results.write(tmp_path / name, evaluate_with(predict, recordings, monkeypatch))
    for field in ("single_trial", "to_average"):
        whole = compare.compare(tmp_path / "a", tmp_path / "b", field=field)[0]
        assert whole.b == pytest.approx(1) and whole.a == pytest.approx(10 / 12)
    with pytest.raises(UserError, match="score of single_trial or to_average, got 'feve'"):
        compare.compare(tmp_path / "a", tmp_path / "b", field="feve")


def test_repeats_of_unequal_length_are_cut_to_the_shortest(recordings, monkeypatch):
    table = recordings.trials(0)
    row = recordings.rows(0, "oracle")[0]
    frames = np.array(table.frames)
    frames[row] -= 20
    monkeypatch.setattr(recordings.sessions[0], "trials", table._replace(frames=frames))
    for score in evaluate_with(perfect, recordings, monkeypatch).scores:
        assert score.to_average == pytest.approx(1) and score.single_trial == pytest.approx(1)


def test_families_of_a_bonus_tier(recordings, monkeypatch):
    report = evaluate_with(perfect, recordings, monkeypatch, split="final_test_bonus")
    families = {s.family for s in report.scores}
    assert families == {
        "all",
        *protocol.OOD_ASSIGNMENT["A"][1],
        *protocol.OOD_ASSIGNMENT["B"][1],
    }
    trials = {s.family: s.trials for s in report.scores if s.session == recordings.session_names[0]}
    assert trials.pop("all") == sum(trials.values())


def test_withheld_tiers(recordings, monkeypatch):
    table = recordings.trials(0)
    labelled = np.array(table.tier) != "oracle"
    monkeypatch.setattr(recordings.sessions[0], "trials", table._replace(labelled=labelled))
    report = evaluate_with(perfect, recordings, monkeypatch)
    assert {s.session for s in report.scores} == {recordings.session_names[1]}
    assert report.withheld == (f"oracle: {recordings.session_names[0]}",)
    both = recordings.trials(1)
    monkeypatch.setattr(
        recordings.sessions[1], "trials", both._replace(labelled=np.array(both.tier) != "oracle")
    )
    with pytest.raises(UserError, match="responses of oracle are withheld: make a submission"):
        evaluate_with(perfect, recordings, monkeypatch)
    for session in recordings.sessions:
        rows = session.trials
        none = np.where(rows.tier == "oracle", "train", rows.tier)
        monkeypatch.setattr(session, "trials", rows._replace(tier=none))
    with pytest.raises(UserError, match="expected trials of oracle in .*, found none"):
        evaluate_with(perfect, recordings, monkeypatch)
    with pytest.raises(UserError, match="no split 'oracel'; did you mean oracle"):
        evaluate_with(perfect, recordings, monkeypatch, split="oracel")


# --- the report ---------------------------------------------------------------------------------


def test_scores_of_repeats_weigh_the_neurons_that_have_one():
    base = made_score("a", 10, 0.5)
    some = {"feve": DefinedMean(0.8, 3), "cc_norm": DefinedMean(0.6, 10)}
    few = {"feve": DefinedMean(0.4, 1), "cc_norm": DefinedMean()}
    some, few = (dataclasses.replace(base, defined=d) for d in (some, few))
    report = reports.Report((some, few))
    assert report.by_neuron("oracle", field="feve") == pytest.approx((3 * 0.8 + 0.4) / 4)
    assert report.by_neuron("oracle", field="cc_norm") == pytest.approx(0.6)
    assert report.to_json()["means"][0]["feve_by_neuron"] == pytest.approx(0.7)
    without = reports.Report((base,))
    assert np.isnan(without.by_neuron("oracle", field="feve"))
    assert without.to_json()["means"][0]["feve_by_neuron"] is None

    noisy, quiet = np.array([0.1, 0.3, 90.0, np.nan]), np.array([0.5, 0.6])
    scores = [dataclasses.replace(base, by_neuron={"cc_norm": v}) for v in (noisy, quiet)]
    whole = reports.Report(tuple(scores))
    assert whole.median("oracle") == 0.5  # over the neurons of both
    assert whole.to_json()["means"][0]["cc_norm_median"] == 0.5
    assert np.isnan(without.median("oracle"))


def made_score(session, neurons, single, family="all"):
    clips, averages = (next(noisy_clips((neurons,), noise=x, seed=neurons)) for x in (1.0, 0.5))
    score = Score(session, "oracle", family, 4, neurons, single, 0.6, 0.5, 0.8, 0)
    return dataclasses.replace(score, clips={"single_trial": clips, "to_average": averages})


def test_means_over_neurons_and_over_mice():
    report = reports.Report((made_score("a", 10, 0.2), made_score("b", 30, 0.4)), ())
    assert report.by_neuron("oracle") == pytest.approx(0.35)
    assert report.by_mouse("oracle") == pytest.approx(0.3)
    text = str(report)
    assert "0.350" in text and "70%" in text and "own true rate" in text
    assert report.to_json()["means"][0]["single_trial_by_mouse"] == pytest.approx(0.3)


@pytest.mark.parametrize("mean", ["by_neuron", "by_mouse", "median", "interval"])
def test_misspelt_scores_and_tiers_are_refused(mean):
    """Not one of them is silently NaN."""
    report = reports.Report((made_score("a", 10, 0.2),))
    field = {"median": "cc_norm"}.get(mean, "single_trial")
    for tier, options, words in (
        ("orcale", {"field": field}, "did you mean oracle"),
        ("oracle", {"family": "dots", "field": field}, "no such stimuli"),
        ("oracle", {"field": "singel_trial"}, "singel_trial"),
    ):
        if mean == "median" and "singel" in words:
            continue  # a report whose neurons have no scores has none to misspell
        with pytest.raises(UserError, match=words):
            getattr(report, mean)(tier, **options)


def test_intervals_belong_to_the_scores_of_their_report():
    a, b = made_score("a", 10, 0.2), made_score("b", 30, 0.4)
    report = reports.Report((a,))
    before = report.interval("oracle")
    assert dataclasses.replace(report, scores=(b,)).interval("oracle") != before


def test_the_table_fits_a_terminal():
    console = Console(width=80)
    with console.capture() as capture:
        rows = (made_score("a", 10, 0.2, family) for family in ("all", "natural_images"))
        show(reports.Report(tuple(rows)).table(), console)
    text = capture.get()
    assert "…" not in text and text.count("  ceiling") == 2 and "natural_images" in text


def test_the_table_of_official_scores_fits_a_terminal():
    console = Console(width=80)
    raw = made_score("a", 10, 0.2, "natural_images")
    official = dataclasses.replace(raw, units="official", floor=0.1)
    report = reports.Report((official, raw), units="official", std_trials=72)
    with console.capture() as capture:
        show(report.table(), console)
    text = capture.get()
    assert "…" not in text and "natural_images" in text and "0.100" in text
    assert "25%" in text  # (0.2 - 0.1) / (0.5 - 0.1)
    assert max(map(len, str(report).splitlines())) <= 100


def test_a_recording_has_no_ceiling():
    score = Score("a", "oracle", "all", 4, 10, 0.2, 0.3, None, None, 0)
    assert "%" not in str(reports.Report((score,), ()))


def test_intervals_stand_in_the_json():
    report = reports.Report((made_score("a", 10, 0.2),))
    assert report.to_json()["scores"][0]["session"] == "a"
    low, high = report.interval("oracle")
    assert -1 <= low < high <= 1
    assert report.interval("oracle", session="a") == (low, high)
    (means,) = report.to_json()["means"]
    assert means["to_average_interval"] == [*report.interval("oracle", field="to_average")]
    assert means["single_trial_interval"] == [low, high] != means["to_average_interval"]
    with pytest.raises(UserError, match="interval of single_trial or to_average, got 'bits'"):
        report.interval("oracle", field="bits")
    with pytest.raises(UserError, match="scores of 'oracel'.*; did you mean oracle"):
        report.interval("oracel")


# --- intervals ----------------------------------------------------------------------------------


def noisy_clips(neurons, *, clips=8, noise=1.0, seed=0):
    """Moments [K 6 N] of each session's clips: predictions are the responses plus noise."""
    rng = np.random.default_rng(seed)
    for n in neurons:
        meter = metrics.SingleTrialCorrelation(n)
        for clip in range(clips):
            y = rng.gamma(1, 1, (50, n))
            meter.add(str(clip), y, y + noise * rng.normal(size=y.shape))
        yield meter.clip_moments()


@given(st.integers(1, 6), st.integers(1, 5), st.floats(-1e3, 1e3), st.integers(0, 99))
def test_moments_of_clips_are_those_of_their_frames(clips, neurons, offset, seed):
    rng = np.random.default_rng(seed)
    trials = [(str(i % 3), *(rng.normal(offset, 1, (2, 20, neurons)))) for i in range(clips)]
    meter = added(metrics.SingleTrialCorrelation(neurons), trials)
    found = metrics.correlate(meter.clip_moments().sum(0))
    np.testing.assert_allclose(found, meter.correlation().value, atol=1e-9)
    assert (np.abs(found) <= 1 + 1e-12).all()


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """Of neurons that differ in their noise: y = p + s e has r = 1 / sqrt(1 + s^2)."""
    low, high = 0.3, 3.0  # of s, uniform
    truth = np.mean(1 / np.sqrt(1 + np.linspace(low, high, 10_001) ** 2))

    def mouse(rng, neurons):
        meter, noise = metrics.SingleTrialCorrelation(neurons), rng.uniform(low, high, neurons)
        for clip in range(12):
            p = rng.normal(size=(60, neurons))
            meter.add(str(clip), p + noise * rng.normal(size=p.shape), p)
        return meter.clip_moments()

    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        draws = uncertainty.bootstrap([mouse(rng, n) for n in (24, 12)], draws=300)
        ends = uncertainty.interval(draws)
        hits += ends[0] < truth < ends[1]
    assert 88 <= hits <= 99  # 95 in 100, give or take what 100 cases leave open


def unlike_clips(rng, clips):
    """Moments [K 6 N] of clips whose contrasts differ: what they drive is exponential in size."""
    meter = metrics.SingleTrialCorrelation(4)
    for clip in range(clips):
        p = rng.exponential() * rng.normal(size=(60, 4))
        meter.add(str(clip), p + rng.normal(size=p.shape), p)
    return meter.clip_moments()


def score_of(sessions):
    return np.concatenate([metrics.correlate(clips.sum(0)) for clips in sessions]).mean()


@pytest.mark.parametrize("clips, mice", [(2, 1), (3, 1), (6, 1)])
def test_intervals_of_few_clips_are_wide_enough(clips, mice, monkeypatch):
    """For the mean score of as many other clips; without the stretch they are not."""
    rng = np.random.default_rng(0)
    truth = np.mean([score_of([unlike_clips(rng, clips)]) for _ in range(1500)])
    samples = [[unlike_clips(rng, clips) for _ in range(mice)] for _ in range(150)]

    def covered():
        found = [uncertainty.interval(uncertainty.bootstrap(s, draws=200)) for s in samples]
        return np.mean([low < truth < high for low, high in found])

    assert 0.85 <= covered() <= 0.985
    monkeypatch.setattr(uncertainty, "_stretches", lambda clips: np.ones(len(clips)))
    assert covered() < 0.85


def test_draws_lie_about_the_score():
    sessions = [unlike_clips(np.random.default_rng(seed), 4) for seed in range(3)]
    draws = uncertainty.bootstrap(sessions)
    assert abs(draws.mean() - score_of(sessions)) < 0.1 * draws.std()


def test_one_clip_says_nothing_about_clips():
    few, many = (list(noisy_clips((40,), clips=clips)) for clips in (1, 20))
    (single,), ends = few, uncertainty.interval(uncertainty.bootstrap(few))
    spread = metrics.correlate(single[0]).std() / np.sqrt(40)
    assert ends[1] - ends[0] == pytest.approx(2 * 1.96 * spread, rel=0.1)
    both = uncertainty.bootstrap(few + many)
    assert np.isfinite(both).all()


def test_models_on_the_same_trials_are_compared_on_the_same_draws():
    good, worse = (list(noisy_clips((5,), noise=noise, seed=1)) for noise in (1.0, 1.02))
    apart = uncertainty.bootstrap(good) - uncertainty.bootstrap(worse)
    low, high = uncertainty.interval(apart)
    single = uncertainty.interval(uncertainty.bootstrap(good))
    assert 0 < low < high and high - low < 0.2 * (single[1] - single[0])
    np.testing.assert_array_equal(uncertainty.bootstrap(good), uncertainty.bootstrap(good))


# --- likelihood, and the variants of the field --------------------------------------------------


def test_likelihood_and_bits_equal_their_formulas():
    rng = np.random.default_rng(0)
    rate = rng.gamma(2, 1, (3, 40, 4))
    trials = [("a", rng.poisson(r).astype(float), r) for r in rate]
    y, p = (np.concatenate([t[i] for t in trials]) for i in (1, 2))
    meter = added(metrics.PoissonSums(4), trials)
    expected = (y * np.log(p) - p).mean(0)
    np.testing.assert_allclose(meter.log_likelihood().value, expected, rtol=1e-12)
    null = (y * np.log(y.mean(0)) - y.mean(0)).mean(0)
    bits = (expected - null) / y.mean(0) / np.log(2)
    np.testing.assert_allclose(meter.bits().value, bits, rtol=1e-9)
    assert (bits > 0).all()
    scaled = added(metrics.PoissonSums(4), [(c, 7 * y, 7 * p) for c, y, p in trials])
    np.testing.assert_allclose(scaled.bits().value, bits, rtol=1e-9)


def test_the_mean_rate_has_no_information_and_some_neurons_have_no_likelihood():
    y = np.random.default_rng(0).poisson(2.0, (50, 3)).astype(float)
    p = np.broadcast_to(y.mean(0), y.shape).copy()
    y[:, 1] = 0  # a silent neuron
    p[y[:, 2] > 0, 2] = 0  # a rate of 0 where there is a response
    meter = added(metrics.PoissonSums(3), [("a", y, p)])
    np.testing.assert_array_equal(meter.log_likelihood().defined, [True, True, False])
    below = added(metrics.PoissonSums(3), [("a", 0 * y, p - 5)])
    assert not below.log_likelihood().defined.any()
    np.testing.assert_array_equal(meter.bits().defined, [True, False, False])
    assert meter.bits().value[0] == pytest.approx(0, abs=1e-12)


def test_correlations_within_trials_and_within_clips():
    trials = list(random_trials((30, 40, 30, 40)))
    trials[1][1][:, 2] = 1.0  # a constant response in one trial
    found = added(metrics.SingleTrialCorrelation(4), trials).per_trial()
    each = [[np.corrcoef(y[:, n], p[:, n])[0, 1] for n in (0, 1, 3)] for _, y, p in trials]
    np.testing.assert_allclose(found.value[[0, 1, 3]], np.mean(each, 0), rtol=1e-9)
    rest = [np.corrcoef(y[:, 2], p[:, 2])[0, 1] for i, (_, y, p) in enumerate(trials) if i != 1]
    assert found.value[2] == pytest.approx(np.mean(rest))

    found = added(metrics.Repeats(4), by_clip(trials)).to_average_by_clip()
    clips = [[(trials[i][k] + trials[i + 2][k]) / 2 for k in (1, 2)] for i in (0, 1)]
    each = [[np.corrcoef(y[:, n], p[:, n])[0, 1] for n in range(4)] for y, p in clips]
    np.testing.assert_allclose(found.value, np.mean(each, 0), rtol=1e-9)


def test_the_winners_window_is_one_frame_shorter(recordings, monkeypatch):
    def wrong_at_the_end(batch, std):
        rate = perfect(batch, std)
        rate[:, :, protocol.CLIP_FRAMES - 1 :] = -100
        return rate

    whole = evaluate_with(wrong_at_the_end, recordings, monkeypatch)
    short = evaluate_with(wrong_at_the_end, recordings, monkeypatch, window="winners")
    assert whole.by_neuron("oracle") < 0.95 and short.by_neuron("oracle") > 0.999
    with pytest.raises(UserError, match="no window 'loser'"):
        evaluate_with(perfect, recordings, monkeypatch, window="loser")
