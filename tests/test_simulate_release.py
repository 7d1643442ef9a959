"""Simulated mice with the release's structure, and neurons distributed like the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from sensorium_jax import protocol
from sensorium_jax.cli import simulate as simulate_command
from sensorium_jax.data.format import open_store
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import release
from sensorium_jax.prepare.convert import convert
from sensorium_jax.prepare.doctor import ERROR, WARNING, examine
from sensorium_jax.simulate import calibration, measures
from sensorium_jax.simulate import release as simulated
from tests.programs import load_tool

FEW = simulated.Thinning(train=4, clips=1, repeats=2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """D and H, which saw the same clips; D has a corrupt trial, H is withheld."""
    out = tmp_path_factory.mktemp("pair")
    for letter in "DH":
        simulated.write_session(out, letter, neurons=3, thinning=FEW)
    return out


@pytest.fixture(scope="module")
def store(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("store")
    convert(pair, out)
    return out


def folder(pair, letter):
    return pair / simulated.session_name(letter)


def load(pair, letter, name, number):
    return np.load(folder(pair, letter) / f"data/{name}/{number}.npy")


@pytest.mark.parametrize("letter", "DH")
def test_files_have_the_shapes_and_types_of_the_release(letter, pair):
    known = release.mice()[letter]
    rows = simulated.kept_rows(letter, FEW)
    tiers = np.load(folder(pair, letter) / "meta/trials/tiers.npy")
    assert len(tiers) == known.trial_files
    for row, number in zip(rows, known.trials.number[rows], strict=True):
        assert tiers[number] == known.trials.tier[row]
        video = load(pair, letter, "videos", number)
        assert video.shape == (36, 64, known.frames)
        assert video.dtype == ("float64" if letter in protocol.NEW_MICE else "float32")
        assert np.isfinite(video[0, 0]).sum() == known.trials.frames[row]
        response = load(pair, letter, "responses", number)
        withheld = not known.trials.labelled[row]
        assert (not response.any()) == withheld
        assert np.isfinite(response[0]).sum() == (
            known.frames if withheld else known.trials.frames[row]
        )
    left = np.isin(np.arange(len(tiers)), known.trials.number[rows])
    assert set(tiers[~left]) == {"none"}


def test_the_corrupt_trial_goes_on_to_the_end(pair):
    video = load(pair, "D", "videos", release.CORRUPT["D"])
    assert np.isfinite(video).all() and video.shape[-1] == 403


def test_pairs_see_the_same_films(pair):
    shared = 0
    tables = [release.mice()[letter].trials for letter in "DH"]
    rows = [simulated.kept_rows(letter, FEW) for letter in "DH"]
    for i in rows[0]:
        for j in rows[1]:
            if tables[0].clip[i] == tables[1].clip[j]:
                shared += 1
                one = load(pair, "D", "videos", tables[0].number[i])
                other = load(pair, "H", "videos", tables[1].number[j])
                n = min(int(t.frames[r]) for t, r in zip(tables, (i, j), strict=True))
                assert np.abs(one[..., :n] - other[..., :n]).max() == 1  # but for the jitter
    assert shared > 10


def test_thinning_keeps_what_mice_share():
    table = release.mice()["A"].trials
    rows = simulated.kept_rows("A", simulated.Thinning(train=10, clips=2, repeats=3))
    assert (table.tier[rows] == "train").sum() == 10
    for tier in protocol.EVALUATION_TIERS:
        for family in set(table.family[table.tier == tier]):
            here = (table.tier[rows] == tier) & (table.family[rows] == family)
            assert len(set(table.clip[rows][here])) == 2 and here.sum() == 6
    both = [set(release.mice()[x].trials.clip[simulated.kept_rows(x, FEW)]) for x in "AF"]
    assert len(both[0] & both[1]) >= 4  # of the train clips, and more
    assert len(simulated.kept_rows("A", simulated.WHOLE)) == len(table.number)


def test_conversion_finds_families_and_the_published_clips(pair, store):
    diagnosis = examine(store, raw=pair)
    assert diagnosis.healthy
    notes = " ".join(finding.what for finding in diagnosis.findings)
    assert "clips, and the trials that share them, are as published" in notes
    assert "bit for bit" in notes
    odd = [f.what for f in diagnosis.select(WARNING) if "published" in f.what or "famil" in f.what]
    assert not odd
    d, h = open_store(store).sessions
    assert release.CORRUPT["D"] not in d.trials.number
    assert not set(h.trials.tier[~h.trials.labelled]) - set(protocol.TEST_TIERS)
    for session, letter in ((d, "D"), (h, "H")):
        families = protocol.OOD_ASSIGNMENT[letter]
        for tier, expected in zip(protocol.TEST_TIERS[2:], families, strict=True):
            assert set(session.trials.family[session.trials.tier == tier]) == set(expected)


def test_the_doctor_knows_the_corrupt_trial_and_the_withheld_tiers(pair):
    diagnosis = examine(pair)
    assert not diagnosis.select(ERROR)
    warned = " ".join(f"{f.where}: {f.what}" for f in diagnosis.select(WARNING))
    assert "trial 668: expected at most 326 valid frames, found 403" in warned
    assert "clips are in different evaluation tiers of both" in warned
    assert any("responses are withheld" in f.what for f in diagnosis.findings)


def test_truth_lies_beside(pair):
    truth = json.loads((folder(pair, "D") / "truth/trials.json").read_text())
    table = release.mice()["D"].trials
    row = {number: i for i, number in enumerate(table.number.tolist())}
    for number, clip, family in zip(*(truth[k] for k in ("number", "clip", "family")), strict=True):
        assert table.clip[row[number]] == clip and table.family[row[number]] == family


def test_the_same_again_is_kept_and_another_is_refused(pair):
    before = (folder(pair, "D") / "config.json").stat().st_mtime_ns
    simulated.write_session(pair, "D", neurons=3, thinning=FEW)
    assert (folder(pair, "D") / "config.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="expected no other recording yet, found .*delete"):
        simulated.write_session(pair, "D", neurons=4, thinning=FEW)


@pytest.mark.parametrize(
    "letter, options, words",
    [
        ("K", {}, "expected a mouse of A, .* got 'K'"),
        ("A", {"neurons": 0}, "expected neurons of at least 1, got 0"),
        ("A", {"thinning": simulated.Thinning(train=0)}, "expected train of at least 1"),
        ("A", {"thinning": simulated.Thinning(repeats=-1)}, "expected repeats of at least 1"),
        ("A", {"seed": -1}, "expected a seed of at least 0"),
    ],
)
def test_mice_that_cannot_be(letter, options, words, tmp_path):
    with pytest.raises(UserError, match=words):
        simulated.write_session(tmp_path, letter, **{"neurons": 2, **options})
    assert not list(tmp_path.iterdir())


# --- calibration ---------------------------------------------------------------------------------


def test_neurons_are_distributed_like_the_mouses():
    """150 of one mouse differ from another 150 by up to 0.16."""
    real = calibration.target("B")
    population = calibration.make_population_like("B", 150, seed=0)
    found = measures.measure(population, real, clips=30)
    distances = measures.distances(found, real)
    for name in ("mean", "std", "std / mean", "x", "y", "depth"):
        assert distances[name].ks < 0.16, name
    for name in ("OSI", "DSI"):
        assert distances[name].ks < 0.2, name
    for (mean, std), expected in zip(
        found.behavior,
        (
            real.temperament.pupil_size,
            real.temperament.speed,
            *zip(real.pupil_center_mean, real.temperament.pupil_center_std, strict=True),
        ),
        strict=True,
    ):
        assert abs(mean - expected[0]) < 0.5 * expected[1]
        assert 0.5 < std / expected[1] < 2


def test_the_rate_of_calibrated_neurons_is_the_expected_response():
    real = calibration.target("C")
    population = calibration.make_population_like("C", 30, seed=1)
    rng = np.random.default_rng(0)
    rate_of = measures.make_rate(population)
    video = np.random.default_rng(1).integers(0, 256, (80, 36, 64)).astype(np.uint8)
    behavior, pupil = measures.make_behavior(rng, 80, population.pupil_center_mean)
    events = rate_of(video, behavior, pupil)
    draws = 3000
    total = np.zeros(events.shape)
    for _ in range(draws):
        total += measures.draw_response(
            rng,
            events,
            population.noise_scale,
            event_spread=population.event_spread,
            kernel=population.kernel,
        )
    truth = calibration.smooth(events, population.kernel)
    assert real.letter == "C"
    np.testing.assert_allclose((total / draws).mean(0), truth.mean(0), rtol=0.15)


def test_selectivity_of_known_curves():
    angle = np.deg2rad(np.arange(0, 360, 45))[:, None]
    flat, one_way, both_ways = np.ones((8, 1)), 1 + np.cos(angle), 1 + np.cos(2 * angle)
    osi, dsi = measures.selectivity(np.concatenate([flat, one_way, both_ways], axis=1))
    np.testing.assert_allclose(osi, [0, 0, 0.5], atol=1e-12)
    np.testing.assert_allclose(dsi, [0, 0.5, 0], atol=1e-12)


# --- the command ---------------------------------------------------------------------------------


def test_program_writes_mice_and_goes_on(tmp_path, capsys):
    flags = ["--out", str(tmp_path), "--structure", "release", "--mice", "A", "--neurons", "2"]
    flags += ["--train", "1", "--clips", "1", "--repeats", "1"]
    assert simulate_command.main(flags) == 0
    out = capsys.readouterr().out
    assert "1 mice, 7 trials; 0.036 GB to write" in out
    assert str(tmp_path / "dynamic29156-11-10-Video-simulated") in out.replace("\n", "")
    assert simulate_command.main(flags) == 0
    assert "; 0 GB to write" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--structure", "release", "--mice", "A,K"], "expected a mouse of"),
        (
            ["--structure", "release", "--dtype", "float64"],
            "expected --dtype with --structure small",
        ),
        (["--clips", "2"], "expected --clips with --structure release only"),
        (["--neurons", "all"], "expected a number of neurons, got 'all'"),
    ],
)
def test_program_refuses(flags, words, tmp_path, capsys):
    assert simulate_command.main(["--out", str(tmp_path), *flags]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_disk_that_is_too_small(tmp_path, monkeypatch, capsys):
    program = simulate_command
    usage = type("Usage", (), {"free": 10**9})
    monkeypatch.setattr(program.shutil, "disk_usage", lambda path: usage)
    flags = ["--out", str(tmp_path), "--structure", "release", "--neurons", "all"]
    assert program.main(flags) == 2
    assert "GB of free space" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_calibration_program_keeps_stand_ins(tmp_path, capsys):
    rng = np.random.default_rng(0)
    statistics, tuning, places = {}, {}, {}
    for letter in "ABCDEFGHIJ":
        for name in ("mean", "std", "max", "median"):
            statistics[f"{letter}/response_{name}"] = rng.gamma(2, 1, 600).astype(np.float32)
        for name in ("behavior", "pupil_center"):
            for moment in ("mean", "std"):
                statistics[f"{letter}/{name}_{moment}"] = np.ones(2)
        statistics[f"{letter}/video_mean"] = statistics[f"{letter}/video_std"] = np.ones(())
        places[letter] = rng.integers(0, 600, (600, 3))
    for letter in "BCE":
        tuning |= {
            f"{letter}/{name}": rng.random(600).astype(np.float32) for name in ("OSI", "DSI")
        }
    for name, arrays in (("s", statistics), ("t", tuning), ("c", places)):
        np.savez(tmp_path / f"{name}.npz", **arrays)
    files = [str(tmp_path / f"{name}.npz") for name in "stc"]
    flags = ["--statistics", files[0], "--tuning", files[1], "--coordinates", files[2]]
    out = tmp_path / "out.npz"
    assert load_tool("calibration").main([*flags, "--out", str(out)]) == 0
    table = np.load(out)
    shipped = np.load(Path(calibration.__file__).parent / "calibration.npz")
    assert {k: (v.shape, v.dtype) for k, v in table.items()} == {
        k: (v.shape, v.dtype) for k, v in shipped.items()
    }
    flags[1] = str(tmp_path / "none.npz")
    assert load_tool("calibration").main([*flags, "--out", str(out)]) == 2
    assert "expected an .npz file at" in capsys.readouterr().err
