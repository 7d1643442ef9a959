"""Weights of the starter kit: every option explained or refused, a command for them, and export."""

import copy
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import edit_json

from sensorium_jax import load_weights
from sensorium_jax.errors import UserError
from sensorium_jax.runs.weights import ARRAYS, CONFIG, TrainedModel
from sensorium_jax.torch_import import from_starter_kit
from sensorium_jax.torch_import.convert import convert
from sensorium_jax.torch_import.recognise import recognise

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "golden"
RECORDS = json.loads((FOLDER / "models.json").read_text())
A, B, C, D, E = RECORDS


@functools.cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def state_of(name: str) -> dict[str, np.ndarray]:
    return {k[6:]: x for k, x in golden(name).items() if k.startswith("param/")}


def constructor_of(name: str) -> dict:
    return copy.deepcopy(RECORDS[name]["constructor"])


def inputs_of(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g = golden(name)
    behavior = g["input/behavior"]
    video = g["input/videos"][:, None]
    planes = np.broadcast_to(behavior[..., None, None], (*behavior.shape, *video.shape[-2:]))
    return np.concatenate([video, planes], 1), behavior, g["input/pupil_center"]


def predict(m: TrainedModel, name: str) -> np.ndarray:
    return m.predict(*inputs_of(name), session=RECORDS[name]["data_key"])


@pytest.mark.parametrize("name", RECORDS)
def test_recognised_from_the_tensors_alone(name):
    """The padding of a core below masks is that which makes maps of their size."""
    constructor, assumed = recognise(state_of(name))
    assert set(assumed) <= {*constructor["core_dict"], "final_tanh"}
    wanted = constructor_of(name)
    assert constructor["core_type"] == wanted["core_type"]
    assert constructor["readout_type"] == wanted["readout_type"]
    m = from_starter_kit(state_of(name), **constructor)
    reference = from_starter_kit(state_of(name), **wanted)
    np.testing.assert_array_equal(predict(m, name), predict(reference, name))


def test_arrays_of_a_model_wrapped_for_several_gpus():
    wrapped = {f"module.{k}": x for k, x in state_of(E).items()}
    m = from_starter_kit(wrapped, **constructor_of(E))
    assert m.sessions == tuple(sorted({RECORDS[E]["data_key"], RECORDS[E]["other_session_key"]}))


def changed(name, path, value):
    constructor = constructor_of(name)
    *parents, last = path.split(".")
    node = functools.reduce(lambda node, key: node[key], parents, constructor)
    node[last] = value
    return constructor


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        (A, "core_type", "1D", "core_type '1D' is not supported; known: 2D, 2D_equivariant"),
        (A, "readout_type", "points", "readout_type 'points' is not supported"),
        (A, "shifter_type", "GRU", "shifter_type 'GRU' is not supported"),
        (A, "core_dict.attention_conv", True, r"core_dict\['attention_conv'\] = True is not supp"),
        (A, "core_dict.depth_separable", True, "depth_separable"),
        (A, "core_dict.skip", 2, r"core_dict\['skip'\] = 2 is not supported"),
        (A, "core_dict.stack", None, "= 24, the maps of the core; found 8"),
        (A, "core_dict.stack", [7], "core_dict: expected a stack of layers"),
        (A, "core_dict.upsampling", 0, "core_dict: expected upsampling"),
        (A, "core_dict.rotationz", 3, r"core_dict\['rotationz'\] = 3 is not supported; known"),
        (A, "core_dict.input_regularizer", "LaplaceL3", "known: LaplaceL2norm"),
        (A, "gru_dict.groups", 2, r"gru_dict\['groups'\] = 2"),
        (A, "gru_dict.rec_kern", 8, "a padded kernel is odd"),
        (A, "gru_dict.input_channels", 4, "the maps of the core; found 4"),
        (A, "core_dict.input_kern", [9, 7], "core_dict: expected square kernels"),
        (D, "core_dict.nonlinearity_type", "Tan", "known: AdaptiveELU"),
        (D, "core_dict.hidden_kern", [7, 7], "expected 3 values in"),
        (B, "core_dict.hidden_nonlinearities", "tan", "known: elu, softplus"),
        (B, "core_dict.input_regularizer", "GaussianLaplace", "known: LaplaceL2norm"),
        (C, "core_dict.spatial_input_kernel", 5, "only None is"),
        (B, "readout_dict.gauss_type", "round", "known: full"),
        (B, "readout_dict.batch_sample", False, "batch_sample"),
        (B, "readout_dict.share_features", True, "share_features"),
        (B, "readout_dict.grid_mean_predictor.type", "retina", "only 'cortex' is"),
        (B, "shifter_dict.input_channels", 3, "only 2 is"),
        (E, "use_shifter", True, "expected shifter"),
        # Options and tensors do not fit
        (B, "core_dict.hidden_channels", [4, 6, 9], r"conv_spatial_2.weight of shape \(9, 6"),
        (B, "core_dict.temporal_hidden_kernel", 3, r"found \(6, 6, 5, 1, 1\) in the state dict"),
        (B, "core_dict.layers", 4, "hidden_channels"),
        (B, "core_dict.batch_norm", False, r"left over: core.features.layer0.norm.weight \(4\)"),
        (B, "use_shifter", False, "12 left over: shifter"),
        (A, "use_gru", False, "left over: gru_module"),
        (A, "core_dict.num_rotations", 8, "layer1.hermite_conv.coeffs of shape"),
        (B, "readout_dict.bias", False, "left over: readout"),
        (B, "readout_dict.grid_mean_predictor", None, "expected readout.*_mu"),
    ],
)
def test_what_does_not_fit_is_named(name, path, value, words):
    with pytest.raises(UserError, match=words):
        from_starter_kit(state_of(name), **changed(name, path, value))


def test_missing_options_are_named():
    constructor = constructor_of(A)
    del constructor["core_dict"]["hidden_kern"]
    with pytest.raises(UserError, match=r"expected core_dict\['hidden_kern'\]"):
        from_starter_kit(state_of(A), **constructor)


def test_an_empty_or_foreign_state_dict():
    with pytest.raises(UserError, match="found no entry"):
        from_starter_kit({}, **constructor_of(A))
    with pytest.raises(UserError, match="found conv1.weight"):
        recognise({"conv1.weight": np.zeros(3)})


def bare(name: str):
    """A golden state dict without its normalisation, which some options leave out."""
    return {k: x for k, x in state_of(name).items() if ".norm." not in k}


def test_normalisation_and_its_parts_may_be_absent():
    """Batch norm that does nothing is as none; scale and bias layers are as its own."""
    constructor = changed(C, "core_dict.batch_norm", False)
    without = from_starter_kit(bare(C), **constructor)
    neutral = state_of(C)
    for k, x in neutral.items():
        if ".norm." in k and x.ndim:
            # One minus torch's epsilon, under the root.
            neutral[k] = np.full_like(x, float(k.endswith("weight"))) + (
                (1 - 1e-5) * k.endswith("running_var")
            )
    np.testing.assert_allclose(
        predict(without, C),
        predict(from_starter_kit(neutral, **constructor_of(C)), C),
        rtol=1e-4,
    )
    layers = {
        k.replace("norm.weight", "scale.scale").replace("norm.bias", "bias.bias"): (
            x.reshape(1, -1, 1, 1, 1) if k.endswith(("norm.weight", "norm.bias")) else x
        )
        for k, x in state_of(C).items()
    }
    np.testing.assert_allclose(
        predict(from_starter_kit(layers, **constructor_of(C)), C),
        golden(C)["output_eval"],
        rtol=1e-4,
    )


def test_an_offset_is_ignored_as_the_reference_ignores_it(tmp_path, capsys):
    with pytest.warns(UserWarning, match="elu_offset = 0.5 is ignored"):
        m = from_starter_kit(state_of(E), **constructor_of(E), elu_offset=0.5)
    np.testing.assert_allclose(predict(m, E), golden(E)["output_eval"], rtol=1e-4, atol=1e-5)
    np.savez(tmp_path / "state.npz", **state_of(E))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(constructor_of(E) | {"elu_offset": 0.5}))
    convert(tmp_path / "state.npz", tmp_path / "out", config=config)
    assert "Ignored: elu_offset = 0.5" in capsys.readouterr().out


# --- options that no published model has ----------------------------------------------------------

OPTIONS = json.loads((FOLDER / "options_2d.json").read_text())


@pytest.mark.parametrize("name", OPTIONS)
def test_rarer_options_equal_the_reference(name):
    g = golden("options_2d")
    prefix = f"{name}/param/"
    state = {k.removeprefix(prefix): x for k, x in g.items() if k.startswith(prefix)}
    m = from_starter_kit(state, **copy.deepcopy(OPTIONS[name]))
    found, expected = m.predict(g["video"], session="a")[0], g[f"{name}/output"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    penalty = float(g[f"{name}/penalty"])
    if np.isfinite(penalty):  # the reference cannot compute that of the others
        assert m.penalty(session="a") == pytest.approx(penalty, rel=1e-5)


def test_stack_and_separable_layers_are_recognised():
    for name, stack in (("stack_all", -3), ("stack_two", -2), ("depth_separable", -1)):
        prefix = f"{name}/param/"
        state = {
            k.removeprefix(prefix): x
            for k, x in golden("options_2d").items()
            if k.startswith(prefix)
        }
        for part in ("spatial", "_features"):  # of a film of the benchmark's size
            x = state[f"readout.a.{part}"]
            state[f"readout.a.{part}"] = np.zeros((3, 36, 64)) if part == "spatial" else x
        options = recognise(state)[0]["core_dict"]
        assert options["stack"] == stack and options["pad_input"]
        assert options.get("depth_separable", False) == (name == "depth_separable")


def test_weights_that_cannot_run_are_not_written(tmp_path):
    """Masks of another size than the maps, with options recognised or given."""
    state = state_of(E)
    for name in state:
        if name.endswith("spatial"):
            state[name] = state[name][:, :30]
    np.savez(tmp_path / "state.npz", **state)
    with pytest.raises(UserError, match=r"maps of \(30, 64\) pixels, as the readout's masks"):
        convert(tmp_path / "state.npz", tmp_path / "out")
    (tmp_path / "config.json").write_text(json.dumps(constructor_of(E)))
    with pytest.raises(UserError, match="expected weights that fit videos"):
        convert(tmp_path / "state.npz", tmp_path / "out", config=tmp_path / "config.json")
    assert not (tmp_path / "out").exists()


def test_inputs_are_checked():
    plain = from_starter_kit(state_of(E), **constructor_of(E))
    videos, behavior, pupil = inputs_of(E)
    for bad, words in (
        ((videos[0], behavior, pupil), r"videos of shape \(B, C, T, H, W\)"),
        ((videos, behavior[:, :1], pupil), "behavior of shape"),
        ((videos, behavior, pupil[..., :3]), "pupil_center of shape"),
    ):
        with pytest.raises(UserError, match=words):
            plain.predict(*bad, session=plain.sessions[0])
    for bad in (videos[:, :1], videos[..., :30]):
        with pytest.raises(UserError, match="expected weights that fit videos"):
            plain.predict(bad, behavior, pupil, session=plain.sessions[0])
    with pytest.raises(UserError, match="no session 'mouse'"):
        plain.predict(videos, behavior, pupil, session="mouse")


# Export


@pytest.mark.parametrize("name", [A, B, E])
def test_saved_and_loaded_is_the_same(name, tmp_path):
    m = from_starter_kit(state_of(name), **constructor_of(name))
    m.save(tmp_path / "out")
    loaded = load_weights(tmp_path / "out")
    assert loaded.model == m.model and loaded.sessions == m.sessions
    np.testing.assert_array_equal(predict(loaded, name), predict(m, name))
    session = m.sessions[0]
    assert loaded.penalty(session=session) == m.penalty(session=session)
    with pytest.raises(UserError, match="found files in"):
        m.save(tmp_path / "out")


def test_damaged_exports(tmp_path):
    with pytest.raises(UserError, match="which is missing"):
        load_weights(tmp_path)
    from_starter_kit(state_of(E), **constructor_of(E)).save(tmp_path / "out")
    arrays, config = (tmp_path / "out" / name for name in (ARRAYS, CONFIG))
    whole, text = arrays.read_bytes(), config.read_text()
    for damage, words in (
        (lambda: arrays.write_bytes(whole[:100]), "is damaged"),
        (lambda: arrays.unlink(), "is damaged"),
        (lambda: config.write_text(text[:50]), "which is damaged"),
        (lambda: config.write_text(text.replace("cores.Fact", "files.Fact")), "found it changed"),
        (lambda: edit_json(config, lambda x: x | {"format": 2}), "of format 1"),
        (lambda: edit_json(config, lambda x: x | {"model": {"type": "files.Fact"}}), "is damaged"),
        (lambda: edit_json(config, lambda x: x | {"sessions": ["x", *x["sessions"]]}), "3 sess"),
    ):
        damage()
        with pytest.raises(UserError, match=words):
            load_weights(tmp_path / "out")
        arrays.write_bytes(whole)
        config.write_text(text)
    load_weights(tmp_path / "out")


# The command


def command(*arguments, cwd):
    """(exit code, stdout, stderr)"""
    done = subprocess.run(
        [sys.executable, "-m", "sensorium_jax", "import-torch", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, its options and an output of the original, as a user has them."""
    folder = tmp_path_factory.mktemp("files")
    np.savez(folder / "state.npz", **state_of(E))
    (folder / "options.json").write_text(json.dumps(constructor_of(E) | {"deeplake_ds": False}))
    videos, behavior, pupil = inputs_of(E)
    arrays = {"videos": videos, "behavior": behavior, "pupil_center": pupil}
    np.savez(folder / "reference.npz", **arrays, output=golden(E)["output_eval"])
    return folder


def test_command_converts_and_compares(files, tmp_path):
    code, out, err = command(
        files / "state.npz",
        f"--out={tmp_path / 'out'}",
        f"--config={files / 'options.json'}",
        f"--reference={files / 'reference.npz'}",
        f"--session={RECORDS[E]['data_key']}",
        cwd=tmp_path,
    )
    assert code == 0, err
    assert "Equal to the reference output" in out and "55 neurons of 2 sessions" in out
    m = load_weights(tmp_path / "out")
    np.testing.assert_allclose(predict(m, E), golden(E)["output_eval"], rtol=1e-4)


def test_command_says_what_it_assumes_and_notices_that_it_is_wrong(files, tmp_path):
    videos, behavior, pupil_center = inputs_of(E)
    other = changed(E, "core_dict.hidden_nonlinearities", "softplus")
    output = predict(from_starter_kit(state_of(E), **other), E)
    inputs = {"videos": videos, "behavior": behavior, "pupil_center": pupil_center}
    np.savez(tmp_path / "reference.npz", **inputs, output=output)
    code, out, err = command(
        files / "state.npz",
        f"--out={tmp_path / 'out'}",
        f"--reference={tmp_path / 'reference.npz'}",
        f"--session={RECORDS[E]['data_key']}",
        cwd=tmp_path,
    )
    assert code == 2 and "Assumed, as in the published models" in out and "'padding'" in out
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_files_end_in_one_line(files, tmp_path):
    (tmp_path / "text.npz").write_text("no zip")
    (tmp_path / "options.json").write_text('{"core_typ": 1}')
    np.savez(tmp_path / "less.npz", videos=np.zeros(1))
    state, out = files / "state.npz", f"--out={tmp_path / 'out'}"
    options = f"--config={files / 'options.json'}"
    for arguments, words in (
        ([tmp_path / "none.pth", out], "found no file"),
        ([tmp_path / "text.npz", out], "cannot be read"),
        ([state, out, f"--config={tmp_path / 'options.json'}"], "found ['core_typ']"),
        ([state, out, options, f"--reference={tmp_path / 'less.npz'}"], "found no behavior"),
        ([state, f"--out={files}", options], "found files in"),
    ):
        code, _, err = command(*arguments, cwd=tmp_path)
        assert code == 2 and words in err and err.count("\n") == 1, err
    assert not (tmp_path / "out").exists()


@pytest.mark.torch
def test_a_torch_checkpoint(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    state = {k: torch.tensor(x) for k, x in state_of(E).items()}
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    (tmp_path / "options.json").write_text(json.dumps(constructor_of(E)))
    code, out, err = command("model.pth", "--out=out", "--config=options.json", cwd=tmp_path)
    assert code == 0, err
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickle.pth")
    code, _, err = command("pickle.pth", "--out=other", cwd=tmp_path)
    assert code == 2 and "save model.state_dict() alone" in err and err.count("\n") == 1
