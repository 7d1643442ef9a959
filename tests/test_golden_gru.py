"""The GRU baseline equals the reference: outputs, loss, penalty, gradients, batch norm."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import cores, losses, model, readouts, shifters
from sensorium_jax.nn.recurrent import ConvGRU
from sensorium_jax.types import Batch, Moments, Neurons, Params, Statistics

GOLDEN = np.load(Path(__file__).parent / "golden" / "gru_baseline.npz")
SESSION, OTHER = "dynamic00001-1-1-Video-golden", "dynamic00002-2-3-Video-golden"
GATES = ("reset_gate", "update_gate", "out_gate")
TRIAL_FILES = 14  # in the golden recording, of every tier
LAYERS = 3

MODEL = model.Model(
    cores.RotationEquivariant(
        channels=2,
        rotations=4,
        layers=LAYERS,
        gamma_input=500.0,
        gamma_hidden=500_000.0,
        recurrence=ConvGRU(kernel=9),
    ),
    readouts.Gaussian(),
    shifters.MLP(),
)


def weights_of(get, session: str):
    """Weights in our layout from ``get(torch_name)``."""

    def gru(part: str, gates=GATES):
        kernels = [get(f"gru_module.gru.{g}_{part}.weight") for g in gates]
        return np.concatenate([k.transpose(2, 3, 1, 0) for k in kernels], -1)

    def dense(name: str):
        return {"kernel": get(f"{name}.weight").T[None], "bias": get(f"{name}.bias")[None]}

    core = {
        f"coefficients{i}": get(f"core.features.layer{i}.hermite_conv.coeffs")
        for i in range(LAYERS)
    }
    for i in range(LAYERS):
        norm = f"core.features.layer{i}.norm.batch_norm"
        core[f"norm{i}"] = {"scale": get(f"{norm}.weight"), "bias": get(f"{norm}.bias")}
    bias = [sum(get(f"gru_module.gru.{g}_{p}.bias") for p in ("input", "hidden")) for g in GATES]
    core["recurrence"] = {
        "input": gru("input"),
        "gates": gru("hidden", GATES[:2]),
        "candidate": gru("hidden", GATES[2:]),
        "bias": np.concatenate(bias),
    }
    readout = f"readout.{session}"
    return {
        "core": core,
        "readout": {
            "sigma": get(f"{readout}.sigma"),
            "features": get(f"{readout}._features")[:, :, 0].swapaxes(1, 2),
            "bias": get(f"{readout}.bias")[None],
            "position0": dense(f"{readout}.mu_transform.0"),
            "position_out": dense(f"{readout}.mu_transform.2"),
        },
        "shifter": {f"dense{i}": dense(f"shifter.{session}.mlp.{2 * i}") for i in range(3)},
    }


def params_of(session: str) -> Params:
    def running(i: int, name: str):
        return GOLDEN[f"param/core.features.layer{i}.norm.batch_norm.running_{name}"]

    stats = {f"norm{i}": {n: running(i, n) for n in ("mean", "var")} for i in range(LAYERS)}
    return Params(weights_of(lambda name: GOLDEN[f"param/{name}"], session), stats)


def neurons_of(session: str) -> Neurons:
    xy = GOLDEN[f"param/readout.{session}.source_grid"]
    n = len(xy)
    position = np.concatenate([100 + 300 * xy, np.zeros((n, 1), np.float32)], 1)
    return Neurons(position[None], np.ones((1, n), np.float32), np.ones((1, n), bool))


def batch() -> Batch:
    video = GOLDEN["input/videos"]
    time_first = {
        k: GOLDEN[f"input/{k}"].swapaxes(1, 2)[None]
        for k in ("behavior", "pupil_center", "responses")
    }
    trials, frames = video.shape[:2]
    return Batch(
        video[None],
        time_first["behavior"],
        time_first["pupil_center"],
        time_first["responses"],
        np.zeros((1, trials), np.int32),
        np.ones((1, trials, frames), bool),
    )


def no_normalisation(neurons: int) -> Statistics:
    """The golden inputs are normalised already."""

    def moments(*shape: int) -> Moments:
        return Moments(np.zeros((1, 1, *shape), np.float32), np.ones((1, 1, *shape), np.float32))

    files = np.array([TRIAL_FILES], np.float32)
    return Statistics(moments(36, 64), moments(2), moments(2), moments(neurons), files)


@jax.jit
def total_loss(weights):
    params = params_of(SESSION)._replace(weights=weights)
    b = batch()
    statistics = no_normalisation(21)
    rate, _ = model.apply(MODEL, params, b, neurons_of(SESSION), statistics)
    loss = losses.poisson(rate, b.response)
    sums, counts = loss.sum((1, 2, 3)), jnp.array([loss.size])
    total = losses.Scaling("reference")(
        sums, counts, model.penalty(MODEL, weights), statistics=statistics, trials=2
    )
    return total, (sums[0], rate)


def core_features(core: cores.RotationEquivariant, *, train: bool = False):
    params = params_of(SESSION)
    b = batch()
    variables = {"params": params.weights["core"], "batch_stats": params.stats}

    def run(video, behavior, pupil):
        return core.apply(variables, video, behavior, pupil, train=train, mutable=["batch_stats"])

    # The axis that batch normalisation averages over, of one device.
    features, updated = jax.jit(jax.vmap(run, axis_name="data"))(
        b.video, b.behavior, b.pupil_center
    )
    return np.asarray(features)[0].transpose(0, 4, 1, 2, 3), updated["batch_stats"]


@pytest.mark.parametrize(
    ("name", "recurrence"), [("core_eval", None), ("gru_eval", MODEL.core.recurrence)]
)
def test_features(name, recurrence):
    core = MODEL.core.clone(recurrence=recurrence)
    features, _ = core_features(core)  # [B C T h w]
    expected = GOLDEN[f"{name}/sub"]
    found = features[:1, :, GOLDEN[f"{name}/frames"]]
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    for moment, value in (
        ("mean_hw", features.mean((3, 4))),
        ("rms_hw", np.sqrt((features**2).mean((3, 4)))),
    ):
        np.testing.assert_allclose(value, GOLDEN[f"{name}/{moment}"], atol=1e-5)


def test_features_normalised_by_the_batch():
    features, _ = core_features(MODEL.core.clone(recurrence=None), train=True)
    rms = np.sqrt((features**2).mean((3, 4)))
    np.testing.assert_allclose(features.mean((3, 4)), GOLDEN["core_train/mean_hw"], atol=1e-5)
    np.testing.assert_allclose(rms, GOLDEN["core_train/rms_hw"], rtol=1e-5)


def test_output_loss_and_penalty():
    params = params_of(SESSION)
    total, (poisson, rate) = total_loss(params.weights)
    np.testing.assert_allclose(rate[0], GOLDEN["output_eval_f64"], rtol=1e-5)
    np.testing.assert_allclose(poisson, GOLDEN["loss/poisson"], rtol=1e-5)
    np.testing.assert_allclose(
        model.penalty(MODEL, params.weights), GOLDEN["loss/reg_core"], rtol=1e-6
    )
    np.testing.assert_allclose(total, GOLDEN["loss/total"], rtol=1e-6)


def test_output_of_the_other_session():
    rate, _ = model.apply(MODEL, params_of(OTHER), batch(), neurons_of(OTHER), no_normalisation(34))
    np.testing.assert_allclose(rate[0], GOLDEN["output_eval_other_session"], rtol=2e-5)


def test_gradients():
    found = jax.grad(lambda w: total_loss(w)[0])(params_of(SESSION).weights)

    def golden(name: str):
        # Two biases of the reference's gates act as one; each alone has the whole gradient.
        half = 0.5 if name.startswith("gru_module") and name.endswith("bias") else 1
        return GOLDEN[f"grad/{name}"] * half

    expected = weights_of(golden, SESSION)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True
    ):
        scale = np.abs(b).max()
        assert np.abs(a - b).max() <= 1e-4 * scale, jax.tree_util.keystr(path)
