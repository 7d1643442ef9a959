"""The doctor finds what is wrong, says where, and goes on."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small import edit_session

from sensorium_jax import protocol, simulate
from sensorium_jax.cli.examine import main
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import doctor, release
from sensorium_jax.prepare.convert import Options, convert

PLAN = simulate.SessionPlan("A", 4, train=4, clips=1, repeats=2, ood_clips=1, ood_repeats=2)


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    return simulate.write_session(tmp_path_factory.mktemp("mouse"), PLAN)


@pytest.fixture
def copy(mouse, tmp_path):
    """A session folder that a test may damage, by ``change`` only: hard links."""
    return Path(shutil.copytree(mouse, tmp_path / "raw" / mouse.name, copy_function=os.link))


@pytest.fixture(scope="module")
def stored(mouse, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    convert(mouse, store)
    return store


def change(path, how):
    x = how(np.load(path))
    path.unlink()
    np.save(path, x)


def trials_of(folder, tier):
    return np.flatnonzero(np.load(folder / "meta/trials/tiers.npy") == tier)


def copy_trial(folder, source, target, *, to=None):
    for field in ("videos", "responses", "behavior", "pupil_center"):
        there = (to or folder) / f"data/{field}/{target}.npy"
        there.unlink()
        os.link(folder / f"data/{field}/{source}.npy", there)


def said(diagnosis, level):
    return [f"{finding.where}: {finding.what}" for finding in diagnosis.select(level)]


def test_sound_recordings_and_stores_have_nothing_to_hide(mouse, stored):
    for path, raw in ((mouse, None), (stored, None), (stored, mouse)):
        diagnosis = doctor.examine(path, raw=raw)
        assert diagnosis.healthy and not said(diagnosis, doctor.WARNING)
        (seen,) = diagnosis.sessions
        assert seen.simulated and seen.neurons == 4 and seen.frames == 324
        families = sum(map(len, protocol.OOD_ASSIGNMENT["A"]))
        assert seen.tiers()["train"] == 4 and sum(seen.tiers().values()) == 4 + 6 + 2 * families
        assert seen.families()["natural"] == 10
    equal = f"all {len(seen.table.number)} trials equal {mouse}, bit for bit"
    assert any(equal in text for text in said(diagnosis, doctor.NOTE))


def silence(folder):
    for path in (folder / "data/responses").glob("*.npy"):
        change(
            path, lambda x: np.where(np.isnan(x), x, np.array([[0], [7], [1], [1]]) * (x * 0 + 1))
        )


def z_score(folder):
    path = folder / f"data/responses/{trials_of(folder, 'train')[0]}.npy"
    change(path, lambda x: x - 3)


def brighten(folder):
    path = folder / f"data/videos/{trials_of(folder, 'train')[0]}.npy"
    change(path, lambda x: x * 2)


def hide_train(folder):
    change(folder / f"data/responses/{trials_of(folder, 'train')[0]}.npy", np.zeros_like)


def relabel(folder):
    change(folder / "meta/trials/tiers.npy", lambda x: np.char.replace(x, "oracle", "none"))


def leak(folder):
    copy_trial(folder, trials_of(folder, "train")[0], trials_of(folder, "oracle")[0])


def double(folder):
    copy_trial(folder, *trials_of(folder, "train")[:2])


def mix_up(folder):
    copy_trial(folder, trials_of(folder, "train")[0], trials_of(folder, "live_test_bonus")[0])


def misstate(folder):
    change(folder / "meta/statistics/responses/all/std.npy", lambda x: x * 1.5)


def damage(folder):
    for number in trials_of(folder, "train")[:2]:
        path = folder / f"data/behavior/{number}.npy"
        path.unlink()
        path.write_bytes(b"x")


FOUND = {
    "silent": (silence, doctor.WARNING, "1 of 4 neurons are silent"),
    "constant": (silence, doctor.WARNING, "3 of 4 neurons are constant"),
    "negative": (z_score, doctor.WARNING, "expected responses of 0 and more, found -3"),
    "bright": (brighten, doctor.ERROR, "expected grey levels 0 to 255 in its video"),
    "withheld": (hide_train, doctor.WARNING, "expected responses, found 0 of every neuron"),
    "no oracle": (relabel, doctor.ERROR, "expected trials of the tier oracle, found none"),
    "leak": (leak, doctor.ERROR, "the same clip is in oracle and train"),
    "shown once": (leak, doctor.WARNING, "1 clips of the evaluation tiers were shown once"),
    "double": (double, doctor.WARNING, "2 train trials show the same clip"),
    "other film": (mix_up, doctor.WARNING, "is like none of the stimulus families"),
    "statistics": (misstate, doctor.WARNING, "released response std differs from the train"),
    "damaged": (damage, doctor.ERROR, "npy, which is damaged"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_wrong_is_found(name, copy):
    ill, level, words = FOUND[name]
    ill(copy)
    diagnosis = doctor.examine(copy)
    assert any(words in text for text in said(diagnosis, level)), diagnosis.findings
    assert diagnosis.healthy == (not diagnosis.select(doctor.ERROR))


def test_every_damaged_trial_is_told_and_the_others_are_examined(copy):
    damage(copy)
    diagnosis = doctor.examine(copy)
    assert sum("which is damaged" in text for text in said(diagnosis, doctor.ERROR)) == 2
    assert diagnosis.sessions[0].tiers()["train"] == 2


def test_a_broken_mouse_does_not_hide_the_others(copy, mouse):
    os.rename(copy, copy.with_name("dynamic1-1-1-Video-simulated"))
    shutil.copytree(mouse, copy, copy_function=os.link)
    (copy / "meta/neurons/unit_ids.npy").unlink()
    diagnosis = doctor.examine(copy.parent)
    assert len(diagnosis.sessions) == 1 and len(said(diagnosis, doctor.ERROR)) == 1


def test_clips_that_leak_between_mice(copy, mouse):
    twin = Path(shutil.copytree(mouse, copy.with_name("dynamic9-1-1-Video-simulated")))
    diagnosis = doctor.examine(copy.parent)
    assert diagnosis.healthy
    clips = len(set(diagnosis.sessions[0].table.clip))
    assert any(f"{clips} clips were shown to both" in text for text in said(diagnosis, doctor.NOTE))
    train = trials_of(mouse, "train")[0]
    for oracle in trials_of(mouse, "oracle"):
        copy_trial(mouse, train, oracle, to=twin)
    change(
        twin / "meta/trials/tiers.npy", lambda x: np.where(np.arange(len(x)) == train, "none", x)
    )
    (found,) = said(doctor.examine(copy.parent), doctor.ERROR)
    assert "1 clips (first: clip" in found and "in train of one and in an evaluation tier" in found


def test_a_mouse_of_the_release_is_compared_with_the_published_counts(copy):
    real = copy.with_name(release.mice()["A"].session)
    os.rename(copy, real)
    shutil.rmtree(real / "truth")
    errors = said(doctor.examine(real), doctor.ERROR)
    for words in ("expected 7440 neurons, as published, found 4", "expected 350 train trials"):
        assert any(words in text for text in errors)


def test_a_store_that_rotted(stored, tmp_path):
    store = Path(shutil.copytree(stored, tmp_path / "store"))
    path = max((store / next(p.name for p in store.iterdir() if p.is_dir()) / "video").rglob("c/*"))
    path = next(p for p in sorted(path.parent.rglob("*")) if p.is_file())
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(bytes(data))
    (found,) = said(doctor.examine(store), doctor.ERROR)
    assert "which is damaged" in found and "remove that folder, then run the command" in found


def test_a_store_of_another_recording(stored, copy):
    change(copy / f"data/responses/{trials_of(copy, 'train')[0]}.npy", lambda x: x + 1)
    (found,) = said(doctor.examine(stored, raw=copy), doctor.ERROR)
    assert f"response of trial {trials_of(copy, 'train')[0]} is not that of {copy}" in found


def test_half_precision_equals_the_rounded_recording(mouse, tmp_path):
    convert(mouse, tmp_path, options=Options(response="float16"))
    assert doctor.examine(tmp_path, raw=mouse).healthy


def test_labels_that_were_edited(stored, tmp_path):
    store = Path(shutil.copytree(stored, tmp_path / "store"))
    (meta,) = store.glob("*/meta.json")

    def edit(content):
        content["trials"]["family"][0] = "cartoon"
        content["trials"]["clip"][content["trials"]["tier"].index("oracle")] = "another"
        return content

    edit_session(meta.parent, edit)
    found = said(doctor.examine(store), doctor.WARNING)
    assert any("the stored family of 1 trials is not what their frames show" in f for f in found)
    assert any("stored clips are not what the frames show" in f for f in found)


def test_program(copy, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main([str(copy), "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "1 mice, 0 errors, 0 warnings" in out and "live+" in out
    text = page.read_text()
    assert "data:image/png;base64" in text and "<script" not in text and "http" not in text
    assert text.count("<figure>") == 4  # natural and three families
    leak(copy)
    assert main([str(copy)]) == 1
    assert "error" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["nowhere"], ["--raw", "raw", "nowhere"]])
def test_program_refuses_what_is_neither(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected a") and error.count("\n") == 1


def test_half_written_store(stored, tmp_path):
    store = Path(shutil.copytree(stored, tmp_path / "store"))
    (store / "store.json").unlink()
    with pytest.raises(UserError, match="half-written; "):
        doctor.examine(store)


def test_zips_of_several_mice_and_renamed_ones_are_compared(mouse, tmp_path):
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw/mice.zip", "w") as out:
        for name in ("one", "two"):
            for file in sorted(p for p in mouse.rglob("*") if p.is_file()):
                out.write(file, f"{name}/{file.relative_to(mouse)}")
    options = Options(rename=("two=other",))
    convert(tmp_path / "raw", tmp_path / "store", options=options)
    assert len(doctor.examine(tmp_path / "raw").sessions) == 2
    diagnosis = doctor.examine(tmp_path / "store", raw=tmp_path / "raw")
    assert diagnosis.healthy and [mouse.name for mouse in diagnosis.sessions] == ["one", "other"]
    assert sum("bit for bit" in text for text in said(diagnosis, doctor.NOTE)) == 2


def test_what_was_noted_of_a_mouse_is_told(copy):
    for path in (copy / "data/pupil_center").glob("*.npy"):
        change(path, lambda x: x * 0)
    assert any("was not tracked" in text for text in said(doctor.examine(copy), doctor.NOTE))
