"""The starter kit's five architectures equal the reference: outputs, losses, penalties, gradients.

Weights come through ``torch_import``; so does what they are compared with, gradients included.
Tolerances, relative to the largest entry: outputs and losses 1e-5, gradients 1e-4 (float32 of the
reference itself is off by up to 5e-5 there, see ``float32_vs_float64`` in models.json).
"""

import functools
import json
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import models as model
from sensorium_jax import parallel
from sensorium_jax.experiment import optim
from sensorium_jax.models import losses
from sensorium_jax.models.readouts import gaussian
from sensorium_jax.torch_import import from_starter_kit
from sensorium_jax.types import Batch, Moments, Statistics, TrainState

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "golden"
RECORDS = json.loads((FOLDER / "models.json").read_text())
TRIAL_FILES = 14  # in the golden recording, of every tier
GATE_BIASES = ("gate_input.bias", "gate_hidden.bias")


@functools.cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def state_of(name: str, prefix: str = "param/") -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): x for k, x in golden(name).items() if k.startswith(prefix)}


@functools.cache
def imported(name: str):
    return from_starter_kit(state_of(name), **RECORDS[name]["constructor"])


def gradients_of(name: str, prefix: str):
    """The reference's gradients in our layout; those of merged biases are zero."""
    state = {k: np.zeros_like(x) for k, x in state_of(name).items()}
    # Two biases of a gate act as one, and each alone has the whole gradient.
    gradients = state_of(name, prefix)
    state |= {
        k: x / 2 if k.endswith(GATE_BIASES) else x
        for k, x in gradients.items()
        if ".conv" not in k or not k.endswith("bias")
    }
    for k, x in gradients.items():
        # What a kernel over frames sees of the bias before it is part of a running mean here.
        if ".conv_temporal" in k and k.endswith("weight"):
            before = state_of(name)[k.replace("temporal", "spatial").replace("weight", "bias")]
            after = gradients[k.replace("weight", "bias")]
            state[k] = x - np.multiply.outer(after, before)[..., None, None, None]
    return from_starter_kit(state, **RECORDS[name]["constructor"]).params.weights


def batch_of(arrays: dict[str, np.ndarray], prefix: str = "input/") -> Batch:
    """One session, normalised already."""
    video = arrays[f"{prefix}videos"]  # [B T H W]
    fields = [
        arrays[f"{prefix}{k}"].swapaxes(1, 2) for k in ("behavior", "pupil_center", "responses")
    ]
    trials, frames = video.shape[:2]
    first, mask = np.zeros((1, trials), np.int32), np.ones((1, trials, frames), bool)
    return Batch(*(x[None] for x in (video, *fields)), first, mask)


def no_normalisation(sessions: int, neurons: int) -> Statistics:
    def moments(*shape: int) -> Moments:
        whole = (sessions, 1, *shape)
        return Moments(np.zeros(whole, np.float32), np.ones(whole, np.float32))

    files = np.full(sessions, TRIAL_FILES, np.float32)
    return Statistics(moments(36, 64), moments(2), moments(2), moments(neurons), files)


def assert_close(found, expected, tolerance, **names):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, **names)


# One neuron here reads within 1e-6 of a pixel's centre, where the gradient of interpolation
# jumps and the rounding of a processor decides which side it takes: moved to the reference's side.
NUDGE = {"d_gru_stacked2d": (0.0, 3e-7)}  # x, y in map half-widths


@functools.cache
def losses_and_gradients(name: str):
    """Poisson, rate, and gradients of the data term and of the whole loss."""
    nudge = np.array(NUDGE.get(name, (0.0, 0.0)), np.float32)
    read = gaussian.bilinear_dot
    with mock.patch.object(gaussian, "bilinear_dot", lambda f, g, w: read(f, g + nudge, w)):
        return _losses_and_gradients(name)


def _losses_and_gradients(name: str):
    m = imported(name)
    params, neurons = m._select(RECORDS[name]["data_key"])
    real = int(neurons.mask.sum())
    batch = batch_of(golden(name))
    statistics = no_normalisation(1, real)
    neurons = jax.tree.map(lambda x: x[:, :real], neurons)
    weights = params.weights | {"readout": cut(params.weights["readout"], real)}

    def data(weights):
        rate, _ = model.apply(m.model, params._replace(weights=weights), batch, neurons, statistics)
        frames = rate.shape[2]
        loss = losses.poisson(rate, batch.response[:, :, -frames:])
        reduce = losses.Scaling("reference")
        sums = loss.sum((1, 2, 3))
        counts = jnp.array([loss.size])
        scaled = reduce(sums, counts, (0.0, 0.0), statistics=statistics, trials=2)
        return scaled, (sums[0], rate[0])

    @jax.jit
    def everything(weights):
        gradient, aux = jax.grad(data, has_aux=True)(weights)
        penalty, of_penalty = jax.value_and_grad(lambda w: sum(model.penalty(m.model, w)))(weights)
        total = jax.tree.map(jnp.add, gradient, of_penalty)
        return *aux, data(weights)[0] + penalty, penalty, gradient, total

    return everything(weights)


def cut(weights, n: int):
    """A readout's weights without padded neurons."""
    return {k: v if isinstance(v, dict) else v[:, :n] for k, v in weights.items()}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("key", ["data_key", "other_session_key"])
def test_prediction(name, key):
    g, m = golden(name), imported(name)
    video, behavior = g["input/videos"][:, None], g["input/behavior"]
    planes = np.broadcast_to(behavior[..., None, None], (*behavior.shape, *video.shape[-2:]))
    found = m.predict(
        np.concatenate([video, planes], 1),
        behavior,
        g["input/pupil_center"],
        session=RECORDS[name][key],
    )
    expected = "output_eval_f64" if key == "data_key" else "output_eval_other_session"
    assert_close(found, g[expected], 1e-5)


@pytest.mark.parametrize("name", RECORDS)
def test_losses(name):
    g, m = golden(name), imported(name)
    poisson, rate, total, *_ = losses_and_gradients(name)
    assert_close(rate, g["output_eval_f64"], 1e-5)
    np.testing.assert_allclose(poisson, g["loss/poisson"], rtol=1e-5)
    np.testing.assert_allclose(total, g["loss/total"], rtol=1e-5)
    penalty = g["loss/reg_core"] + g["loss/reg_readout"]
    session = RECORDS[name]["data_key"]
    np.testing.assert_allclose(m.penalty(session=session), penalty, rtol=1e-6)


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("kind", ["grad_data", "grad"])
def test_gradients(name, kind):
    *_, data, total = losses_and_gradients(name)
    found = data if kind == "grad_data" else total
    expected = gradients_of(name, f"{kind}/")
    i = imported(name).sessions.index(RECORDS[name]["data_key"])
    expected = {
        k: v if k == "core" else jax.tree.map(lambda x: x[i : i + 1], v)
        for k, v in expected.items()
    }
    n = found["readout"]["features"].shape[1]
    expected["readout"] = cut(expected["readout"], n)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True
    ):
        assert_close(a, b, 1e-4, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("stage", ["core_eval", "gru_eval", "core_train"])
def test_features(name, stage):
    g, m = golden(name), imported(name)
    if f"{stage}/mean_hw" not in g:
        assert stage == "gru_eval" and m.model.core.recurrence is None
        return
    core = m.model.core if stage == "gru_eval" else m.model.core.clone(recurrence=None)
    variables = {"params": m.params.weights["core"], "batch_stats": m.params.stats}
    b, train = batch_of(g), stage == "core_train"

    def run(video, behavior, pupil):
        return core.apply(variables, video, behavior, pupil, train=train, mutable=["batch_stats"])

    # The axis that batch normalisation averages over, of one device.
    features, updated = jax.jit(jax.vmap(run, axis_name="data"))(
        b.video, b.behavior, b.pupil_center
    )
    features = np.asarray(features[0])  # [B T h w C]
    means = features.mean((2, 3)).swapaxes(1, 2)
    rms = np.sqrt((features**2).mean((2, 3))).swapaxes(1, 2)
    assert_close(rms, g[f"{stage}/rms_hw"], 1e-5)
    np.testing.assert_allclose(means, g[f"{stage}/mean_hw"], atol=1e-5 * rms.max())


# One step of the optimiser over two sessions, by the compiled step that training uses

SESSIONS = tuple(
    k.split("/")[1] for k in golden("trainstep_b") if k.startswith("input/") and "videos" in k
)
NEURONS = 34  # of the larger session


def trainstep_models():
    """The model before and after; a penalty on the readout's features is part of it."""
    record = RECORDS["b_factorised"]["constructor"]
    constructor = record | {"readout_dict": record["readout_dict"] | {"gamma_readout": 0.05}}
    before = state_of("trainstep_b", "param0/")
    after = before | state_of("trainstep_b", "param1/")  # with what has changed
    # Running means contain the convolutions' biases of before the step.
    moved = before | {k: x for k, x in after.items() if ".running_" in k}
    return [from_starter_kit(state, **constructor) for state in (before, after, moved)]


def trainstep_batch() -> Batch:
    g = golden("trainstep_b")
    batches = [batch_of(g, f"input/{s}/") for s in SESSIONS]
    batches = [
        b._replace(
            response=np.pad(b.response, [(0, 0)] * 3 + [(0, NEURONS - b.response.shape[-1])])
        )
        for b in batches
    ]
    return jax.tree.map(lambda *x: np.concatenate(x), *batches)


def recorded_noise(session: int) -> np.ndarray:
    noise = golden("trainstep_b")[f"micro{session}/noise"][:, :, 0]  # [B*T' N 2]
    return np.pad(noise, ((0, 0), (0, NEURONS - noise.shape[1]), (0, 0)))


def play_back(monkeypatch, m, step_key):
    """Make the readout's draws of the first step those that were recorded."""
    key = jax.random.fold_in(jax.random.fold_in(step_key, 0), 0)  # step 0, device 0
    _, readout_key = jax.random.split(key)
    known = []
    with monkeypatch.context() as patch:

        def remember(key, shape):
            known.append(jax.random.key_data(key))
            return jnp.zeros(shape)

        patch.setattr(jax.random, "normal", remember)
        for s, k in enumerate(jax.random.split(readout_key, len(SESSIONS))):
            params, neurons = m._select(SESSIONS[s])
            weights, neurons = jax.tree.map(lambda x: x[0], (params.weights["readout"], neurons))
            maps = np.zeros((1, 1, 3, 3, weights["features"].shape[-1]), np.float32)
            m.model.readout.apply(
                {"params": weights}, maps, neurons, None, train=True, rngs={"position": k}
            )

    def normal(key, shape):
        data = jax.random.key_data(key)
        first, second = (jnp.all(data == k) for k in known)
        draws = [jnp.asarray(recorded_noise(s)) for s in range(2)]
        return jnp.where(first, draws[0], jnp.where(second, draws[1], jnp.nan))

    monkeypatch.setattr(jax.random, "normal", normal)


def test_one_optimiser_step(monkeypatch):
    g = golden("trainstep_b")
    before, after, moved = trainstep_models()
    assert before.sessions == SESSIONS
    key = jax.random.key(0)
    play_back(monkeypatch, before, key)
    mesh = parallel.make_mesh(1)
    optimizer = optim.AdamW(learning_rate=0.005, weight_decay=0.01).make(1)
    step = parallel.make_train_step(before.model, losses.Scaling("reference"), optimizer, mesh)
    state = TrainState(jnp.int32(0), before.params, optimizer.init(before.params.weights))
    statistics = no_normalisation(2, NEURONS)
    batch = parallel.shard_batch(trainstep_batch(), mesh)
    new, metrics = step(
        jax.tree.map(jnp.asarray, state), batch, before.neurons, statistics, key, jnp.float32(1)
    )
    total = g["micro0/loss_total"] + g["micro1/loss_total"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(new.params.weights),
        jax.tree.leaves(after.params.weights),
        strict=True,
    ):
        assert_close(a, b, 1e-5, err_msg=jax.tree_util.keystr(path))

    # The reference sees the sessions one after the other; ours takes the mean over both.
    one_by_one, stats = [], before.params.stats
    for s in range(2):
        one_by_one.append(updated_stats(before, before.params.stats, batch, s))
        stats = updated_stats(before, stats, batch, s)
    for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(moved.params.stats), strict=True):
        assert_close(a, b, 1e-5)
    mean = jax.tree.map(lambda *x: sum(x) / 2, *one_by_one)
    for a, b in zip(jax.tree.leaves(new.params.stats), jax.tree.leaves(mean), strict=True):
        assert_close(a, b, 1e-5)


def updated_stats(m, stats, batch: Batch, session: int):
    """Running statistics after one batch of one session."""
    variables = {"params": m.params.weights["core"], "batch_stats": stats}

    def run(*inputs):
        core = m.model.core
        return core.apply(variables, *inputs, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    inputs = (x[session][None] for x in batch[:3])
    new = jax.vmap(run, axis_name="data")(*inputs)
    return jax.tree.map(lambda x: x[0], new)
