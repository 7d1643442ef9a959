"""Simulated mice: the release's raw layout, and a truth that is the truth."""

import filecmp
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from sensorium_jax import protocol, simulate, stimuli
from sensorium_jax.cli import simulate as simulate_command
from sensorium_jax.cli.main import main
from sensorium_jax.errors import UserError
from sensorium_jax.prepare.raw import RawSession
from sensorium_jax.simulate import neurons as cells
from sensorium_jax.simulate.behavior import make_behavior

PLAN = simulate.SessionPlan(
    "A", neurons=17, train=5, clips=1, repeats=2, ood_clips=1, ood_repeats=2
)
FIELDS = {"videos": (36, 64), "responses": (17,), "behavior": (2,), "pupil_center": (2,)}
LONGEST = 324  # mouse A sees pink noise (324), Gaussian dots (315) and random dots (240)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return simulate.write_session(tmp_path_factory.mktemp("raw"), PLAN, seed=3)


@pytest.fixture(scope="module")
def population():
    return cells.make_population(40, seed=1)


def load(session, field, number):
    return np.load(session / "data" / field / f"{number}.npy")


def trials(session):
    """Number -> (tier, clip, family)."""
    tiers = np.load(session / "meta/trials/tiers.npy")
    truth = json.loads((session / "truth/trials.json").read_text())
    columns = zip(truth["number"], truth["clip"], truth["family"], strict=True)
    return {number: (str(tiers[number]), clip, family) for number, clip, family in columns}


def test_folder_has_the_release_layout(session):
    assert re.fullmatch(r"dynamic\d{5}-\d+-\d+-Video-\w+", session.name)
    assert isinstance(json.loads((session / "config.json").read_text()), dict)
    assert [p.name for p in session.parent.iterdir()] == [session.name]  # nothing half-written
    unit_ids = np.load(session / "meta/neurons/unit_ids.npy")
    assert unit_ids.shape == (17,) and unit_ids.dtype.kind == "i"
    assert (np.diff(unit_ids) > 0).all()
    position = np.load(session / "meta/neurons/cell_motor_coordinates.npy")
    assert position.shape == (17, 3) and position.dtype == np.int64
    assert set(position[:, 2]) <= set(range(200, 426, 25))
    assert np.abs(position[:, :2]).max() <= 308


def test_every_number_has_its_files_and_every_gap_has_none(session):
    tiers = np.load(session / "meta/trials/tiers.npy")
    assert tiers.dtype.kind == "U"
    present = set(np.flatnonzero(tiers != protocol.MISSING))
    assert len(present) == simulate.trial_count(PLAN) < len(tiers)
    for field in FIELDS:
        assert {int(p.stem) for p in (session / "data" / field).iterdir()} == present
    counts = {tier: int((tiers == tier).sum()) for tier in protocol.TIERS}
    assert counts == dict(zip(protocol.TIERS, (5, 2, 2, 2, 2, 4), strict=True))
    assert list(tiers) != sorted(tiers)


def test_families_follow_the_protocol(session):
    shown = trials(session).values()
    live, final = protocol.OOD_ASSIGNMENT["A"]
    assert {f for tier, _, f in shown if tier == "live_test_bonus"} == set(live)
    assert {f for tier, _, f in shown if tier == "final_test_bonus"} == set(final)
    assert {f for tier, _, f in shown if "bonus" not in tier} == {protocol.NATURAL}
    clips = [clip for tier, clip, _ in shown if tier == protocol.TRAIN]
    assert len(set(clips)) == len(clips)
    assert len({(clip, tier, family) for tier, clip, family in shown}) == 5 + 3 + 3


def test_arrays_have_the_release_shapes_and_nan_tails(session):
    length = {protocol.NATURAL: 300, protocol.PINK_NOISE: 324, protocol.GAUSSIAN_DOTS: 315}
    for number, (_, _, family) in trials(session).items():
        valid = length.get(family, 240)
        for field, shape in FIELDS.items():
            array = load(session, field, number)
            assert array.shape == (*shape, LONGEST) and array.dtype == np.float32
            finite = np.isfinite(array)
            assert finite[..., :valid].all() and not finite[..., valid:].any()
        rate = np.load(session / "truth/rate" / f"{number}.npy")
        assert rate.dtype == np.float32
        np.testing.assert_array_equal(np.isfinite(rate), finite[:1].repeat(17, 0))


def test_values_are_in_the_release_ranges(session):
    numbers = [n for n, (_, _, family) in trials(session).items() if family == protocol.NATURAL]
    video, response, behavior, pupil = (
        np.concatenate([load(session, field, n)[..., :300] for n in numbers], axis=-1)
        for field in FIELDS
    )
    assert video.min() >= 0 and video.max() <= 255
    np.testing.assert_array_equal(video, np.rint(video))
    assert -1e-6 < response.min() < 0
    assert 1 < response.mean() < 10 and response.std() > 1.5 * response.mean()
    assert behavior[0].min() > 0 and behavior[1].min() == 0 and 5 < behavior[1].max() <= 47
    assert 100 < pupil.mean() < 200


def test_repeats_show_one_clip_but_differ_in_bytes_and_behaviour(session):
    by_clip = {}
    for number, (_, clip, _) in trials(session).items():
        by_clip.setdefault(clip, []).append(number)
    pairs = [numbers for numbers in by_clip.values() if len(numbers) == 2]
    assert len(pairs) == 6
    for first, second in pairs:
        a, b = (load(session, "videos", n) for n in (first, second))
        difference = np.abs(a - b)
        assert np.nanmax(difference) == 1 and np.nansum(difference) == 2  # a pixel of each
        assert film_hash(a) == film_hash(b)
        a, b = (x[np.isfinite(x)] for x in (a, b))
        assert np.corrcoef(a, b)[0, 1] > 0.99
        a, b = (load(session, "behavior", n) for n in (first, second))
        assert np.nanmax(np.abs(a - b)) > 0.1


def film_hash(video):
    """The hash by which the winners group repeats: [H W T] -> 64 bits.

    The exclusive or of the perceptual hashes of five frames: signs, about their median, of the 8 x
    8 lowest coefficients of a discrete cosine transform of 32 x 32 pixels (imagehash, ``phash``).
    """
    frames = np.moveaxis(video[..., np.isfinite(video[0, 0])], -1, 0).astype(np.uint8)
    step, found = len(frames) // 5, np.zeros((8, 8), bool)
    for frame in frames[step // 2 :: step][:5]:
        image = Image.fromarray(frame).resize((32, 32), Image.Resampling.LANCZOS)
        low = dctn(np.asarray(image, float))[:8, :8]
        found ^= low > np.median(low)
    return found.tobytes()


def test_the_embedded_default_is_speckled(tmp_path):
    """Every published score is on it: its repeats differ in 3 % of their pixels, as before."""
    plan = simulate.SessionPlan("A", neurons=2, train=1, clips=1, repeats=2, ood_clips=1)
    folder = simulate.write_session(tmp_path, plan, speckled=True)
    by_clip = {}
    for number, (_, clip, _) in trials(folder).items():
        by_clip.setdefault(clip, []).append(load(folder, "videos", number))
    pairs = [pair for pair in by_clip.values() if len(pair) == 2]
    differences = [np.abs(a - b) for a, b in pairs]
    assert all(np.nanmax(d) == 1 and 0.01 < np.nanmean(d) < 0.1 for d in differences)


@pytest.mark.parametrize("structure", ["small", "release"])
def test_names_of_real_mice_for_programs_of_others(structure, tmp_path, capsys):
    sizes = (
        "--neurons=2",
        "--train=2",
        *(() if structure == "small" else ("--clips=1", "--repeats=1")),
    )
    flags = "--structure", structure, "--mice", "A", "--names", "real", *sizes
    assert main(["simulate", "--out", str(tmp_path), *flags]) == 0
    folder = tmp_path / protocol.SESSIONS["A"]
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [folder]
    assert "no result on it is a result on mice" in (folder / "SIMULATED.txt").read_text()
    assert json.loads((folder / "config.json").read_text())["simulated"]
    assert RawSession(folder).simulated


def test_released_statistics_are_those_of_the_train_tier(session):
    numbers = [n for n, (tier, _, _) in trials(session).items() if tier == protocol.TRAIN]
    moments = ("mean", "std", "min", "max", "median")
    for field in FIELDS:
        stack = np.stack([load(session, field, n) for n in numbers]).astype(np.float64)
        for moment in moments:
            stored = np.load(session / "meta/statistics" / field / "all" / f"{moment}.npy")
            expected = getattr(np, moment)(stack, axis=0)
            np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=1e-4)


def test_equal_seeds_give_equal_bytes_and_others_do_not(session, tmp_path):
    again = simulate.write_session(tmp_path / "again", PLAN, seed=3)
    files = [str(p.relative_to(session)) for p in session.rglob("*") if p.is_file()]
    same, different, missing = filecmp.cmpfiles(session, again, files, shallow=False)
    assert (len(same), different, missing) == (len(files), [], [])
    other = simulate.write_session(tmp_path / "other", PLAN, seed=4)
    tiers = "meta/trials/tiers.npy"
    assert not filecmp.cmp(session / tiers, other / tiers, shallow=False)


def test_withheld_responses_are_zero_to_the_end(session, tmp_path):
    hidden = simulate.write_session(tmp_path, PLAN, seed=3, withhold=True, dtype="float64")
    for number, (tier, _, _) in trials(hidden).items():
        response, shown = (load(x, "responses", number) for x in (hidden, session))
        assert response.dtype == np.float64
        if tier in protocol.TEST_TIERS:
            np.testing.assert_array_equal(response, np.zeros((17, LONGEST)))
            assert np.nanmax(shown) > 0
        else:
            np.testing.assert_array_equal(response, shown)


def test_truth_follows_from_the_files(session):
    """The stored truth is the model run on the stored inputs."""
    stored = np.load(session / "truth/neurons.npz")
    rate_of = cells.make_rate(cells.Population(**stored))
    number = next(n for n, (tier, _, _) in trials(session).items() if tier == protocol.ORACLE)
    video, behavior, pupil = (
        load(session, field, number)[..., :300] for field in ("videos", "behavior", "pupil_center")
    )
    rate = cells.smooth(rate_of(np.moveaxis(video, -1, 0).astype(np.uint8), behavior, pupil))
    truth = np.load(session / "truth/rate" / f"{number}.npy")[:, :300]
    np.testing.assert_allclose(rate.T, truth, rtol=1e-2, atol=1e-2)


def example(population, *, frames=300, seed=0):
    rng = np.random.default_rng(seed)
    video = stimuli.natural_clip(rng, frames=frames)
    return video, *make_behavior(rng, frames, population.pupil_center_mean)


def test_expected_response_is_the_rate(population):
    events = cells.make_rate(population)(*example(population, frames=80))
    rng = np.random.default_rng(0)
    draws = 2000
    trials = [cells.draw_response(rng, events, population.noise_scale) for _ in range(draws)]
    error = np.std(trials, axis=0) / np.sqrt(draws)
    z = (np.mean(trials, axis=0) - cells.smooth(events)) / error
    busy = cells.smooth(events) > population.noise_scale / 10  # where z is nearly normal
    assert busy.mean() > 0.1
    assert abs(z[busy].mean()) < 0.15 and 0.8 < z[busy].std() < 1.2


def test_reliability_is_spread_as_in_recordings(population):
    rate_of, rng = cells.make_rate(population), np.random.default_rng(0)
    events = [rate_of(*example(population, seed=seed)) for seed in range(20)]
    response = [cells.draw_response(rng, e, population.noise_scale)[50:] for e in events]
    truth = [cells.smooth(e)[50:] for e in events]
    pairs = zip(np.concatenate(truth).T, np.concatenate(response).T, strict=True)
    correlation = np.array([np.corrcoef(a, b)[0, 1] for a, b in pairs])
    assert 0.5 < correlation.mean() < 0.7
    assert correlation.min() < 0.45 and correlation.max() > 0.75


def test_rate_is_causal(population):
    video, behavior, pupil = example(population)
    rate_of = cells.make_rate(population)
    changed = video.copy()
    changed[150:] = 255 - changed[150:]
    before, after = (cells.smooth(rate_of(v, behavior, pupil)) for v in (video, changed))
    np.testing.assert_allclose(before[:150], after[:150], rtol=1e-5)
    assert np.abs(before[150:] - after[150:]).mean() > 0.1 * before.mean()


def test_time_matters(population):
    """The present frame's drive alone leaves much of the smoothed truth unexplained."""
    present = np.zeros_like(population.temporal)
    present[0, 0] = 1
    static = replace(population, temporal=present, directionality=0 * population.directionality)
    rate_of, static_rate_of = map(cells.make_rate, (population, static))
    recordings = [example(population, seed=seed) for seed in range(4)]
    truth = np.concatenate([cells.smooth(rate_of(*r))[50:] for r in recordings])
    guess = np.concatenate([static_rate_of(*r)[50:] for r in recordings])
    pairs = zip(truth.T, guess.T, strict=True)
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]) < 0.85


def test_running_and_pupil_act_only_through_their_gains(population):
    video, behavior, pupil = example(population)
    resting, aroused = behavior.copy(), behavior.copy()
    resting[1], aroused[1] = 0, 20
    resting[0], aroused[0] = 40, 60
    rate_of = cells.make_rate(population)
    ratio = rate_of(video, aroused, pupil) / rate_of(video, resting, pupil)
    assert np.median(ratio) > 1.3
    none = 0 * population.running_gain
    rate_of = cells.make_rate(replace(population, running_gain=none, pupil_gain=none))
    np.testing.assert_array_equal(rate_of(video, aroused, pupil), rate_of(video, resting, pupil))


def test_receptive_fields_follow_the_gaze(population):
    """Moving the picture with the eye changes nothing, moving only the eye does."""
    video, behavior, _ = example(population)
    rest = np.repeat(population.pupil_center_mean[:, None], 300, axis=1)
    moved = rest + np.array([[3.0], [0.0]]) / population.gaze_px  # three pixels to the right
    rate_of = cells.make_rate(population)
    inner = np.abs(population.center_px[:, 0] - 32) < 10  # away from the screen's edges
    still = rate_of(video, behavior, rest)[50:, inner]
    together = rate_of(np.roll(video, 3, axis=2), behavior, moved)[50:, inner]
    eye_only = rate_of(video, behavior, moved)[50:, inner]
    assert np.corrcoef(still.ravel(), together.ravel())[0, 1] > 0.99
    assert np.corrcoef(still.ravel(), eye_only.ravel())[0, 1] < 0.9


def test_neurons_prefer_their_direction():
    base = cells.make_population(20, seed=2)
    population = replace(base, directionality=np.ones(20), is_complex=np.ones(20, bool))
    behavior, pupil = np.array([[48.0], [0.0]]), population.pupil_center_mean[:, None]
    y, x = np.mgrid[:36, :64]
    preferred, opposite = [], []
    rate_of = cells.make_rate(population)
    for n in range(20):
        angle = np.deg2rad(population.direction_deg[n])
        space = (x * np.cos(angle) - y * np.sin(angle)) / population.wavelength_px[n]
        time = np.arange(90)[:, None, None] * population.frequency_hz[n] / 30
        for sign, out in ((1, preferred), (-1, opposite)):
            video = np.rint(127 + 60 * np.cos(2 * np.pi * (space - sign * time))).astype(np.uint8)
            rate = rate_of(video, behavior.repeat(90, 1), pupil.repeat(90, 1))
            out.append(rate[30:, n].mean())
    assert (np.array(preferred) > 2 * np.array(opposite)).mean() >= 0.9


def test_receptive_fields_can_be_predicted_from_the_cortex(population):
    inputs = np.c_[population.position_um[:, :2], np.ones(40)]
    fit = inputs @ np.linalg.lstsq(inputs, population.center_px, rcond=None)[0]
    unexplained = (fit - population.center_px).var(0) / population.center_px.var(0)
    assert (unexplained < 0.2).all() and (unexplained > 1e-3).all()


def test_recording_of_several_mice_counts_its_trials(tmp_path):
    seen = []
    paths = simulate.write_recording(
        tmp_path,
        letters=("B", "J"),
        neurons=(3, 4),
        train=1,
        clips=1,
        repeats=1,
        ood_clips=1,
        ood_repeats=1,
        on_trial=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 14) for i in range(1, 15)]
    neurons = [np.load(p / "meta/neurons/unit_ids.npy").size for p in paths]
    assert neurons == [3, 4] and len({p.name for p in paths}) == 2


@pytest.mark.parametrize(
    "change, word",
    [
        ({"letters": ("Z",)}, "mouse"),
        ({"neurons": 0}, "neurons"),
        ({"dtype": "int8"}, "dtype"),
        ({"neurons": (1, 2)}, "one number"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(change, word, tmp_path):
    with pytest.raises(UserError, match=word) as caught:
        simulate.write_recording(tmp_path, **({"letters": ("A",), "neurons": 2} | change))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_program_refuses_an_existing_session(session, capsys):
    before = sorted(session.rglob("*"))
    assert (
        simulate_command.main(["--out", str(session.parent), "--mice", "A", "--neurons", "3"]) == 2
    )
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and str(session) in error
    assert sorted(session.rglob("*")) == before
