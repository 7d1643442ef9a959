"""Loss, data path and small layers equal the reference on the same arrays."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import models as model
from sensorium_jax.data.recordings import input_moments, response_moments
from sensorium_jax.models import losses
from sensorium_jax.models.nn.activations import activation
from sensorium_jax.models.nn.recurrent import ConvGRU
from sensorium_jax.models.nn.sampling import bilinear_dot
from sensorium_jax.types import Batch, Moments, Statistics

GOLDEN = np.load(Path(__file__).parent / "golden" / "components.npz")
TRIALS, CROP_START, CROP_FRAMES = (0, 4), 7, 60


@pytest.mark.parametrize("epsilon", [1e-8, 0.01])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("average", [False, True])
def test_poisson(epsilon, full, average):
    rate, response = GOLDEN["poisson/output"], GOLDEN["poisson/target"]  # [B T N]
    assert rate.min() == 0, "a zero rate is among them"
    reduce = jnp.mean if average else jnp.sum

    def loss(rate):
        return reduce(losses.poisson(rate, response, epsilon=epsilon, full=full))

    name = f"poisson/avg={average:d},per_neuron={{}},full={full:d},eps={epsilon:g}"
    by_neuron = reduce(losses.poisson(rate, response, epsilon=epsilon, full=full), (0, 1))
    np.testing.assert_allclose(by_neuron, GOLDEN[name.format(1)], rtol=1e-6)
    np.testing.assert_allclose(loss(rate), GOLDEN[name.format(0)], rtol=1e-6)
    gradient = GOLDEN[f"poisson/avg={average:d},per_neuron=0,full=0,eps={epsilon:g}/grad_output"]
    np.testing.assert_allclose(jax.grad(loss)(rate), gradient, rtol=1e-6)


STATISTICS = {
    "video": "videos",
    "behavior": "behavior",
    "pupil_center": "pupil_center",
    "response": "responses",
}


def recorded(trial: int) -> tuple[Batch, Statistics, int]:
    """A raw trial up to its first NaN, the released statistics, and its length."""
    raw = {
        k: GOLDEN[f"normalizer/trial{trial}/raw/{k}"]
        for k in ("videos", "responses", "behavior", "pupil_center")
    }
    last_first = {k: np.moveaxis(x, -1, 0) for k, x in raw.items()}  # [T ...]
    valid = [~np.isnan(x.reshape(len(x), -1)).any(1) for x in last_first.values()]
    frames = int(np.argmin(np.logical_and.reduce(valid)))

    arrays = {
        f"{kind}/{name}_{k}": np.moveaxis(GOLDEN[f"normalizer/stat/{golden}/{k}"], -1, 0)
        for kind in ("released", "pooled")
        for name, golden in STATISTICS.items()
        for k in ("mean", "std")
    }
    session = SimpleNamespace(load=arrays.__getitem__, has_released=True)
    inputs = (input_moments(session, "released", name) for name in tuple(STATISTICS)[:3])
    moments = *inputs, response_moments(session, "released")  # as training has them
    statistics = Statistics(
        *(Moments(*(x[None] for x in m)) for m in moments), np.ones(1, np.float32)
    )
    video, responses, behavior, pupil_center = (x[None, None, :frames] for x in last_first.values())
    first = np.zeros((1, 1), np.int32)
    mask = np.ones((1, 1, frames), bool)
    return Batch(video, behavior, pupil_center, responses, first, mask), statistics, frames


@pytest.mark.parametrize("trial", TRIALS)
def test_normalised_as_the_reference_does(trial):
    batch, statistics, frames = recorded(trial)
    assert frames == GOLDEN[f"cut/trial{trial}/length"]
    inputs = model.normalise_inputs(batch, statistics)
    found = dict(zip(("videos", "behavior", "pupil_center"), inputs, strict=True))
    found["responses"] = model.normalise_response(batch, statistics)
    for name, x in found.items():
        expected = np.moveaxis(GOLDEN[f"normalizer/trial{trial}/out/{name}"], -1, 0)[:frames]
        np.testing.assert_allclose(x[0, 0], expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_crop_is_normalised_by_its_frames_within_the_trial():
    batch, statistics, _ = recorded(4)
    window = slice(CROP_START, CROP_START + CROP_FRAMES)
    crop = Batch(
        *(x[:, :, window] for x in batch[:4]),
        np.full((1, 1), CROP_START, np.int32),
        batch.frame_mask[:, :, window],
    )
    video, behavior, pupil_center = model.normalise_inputs(crop, statistics)
    golden = {k: GOLDEN[f"loader/crop/trial4/{k}"] for k in ("videos", "behavior", "pupil_center")}
    # Channels are the video, then the two of behaviour, constant in space.
    np.testing.assert_allclose(video[0, 0], golden["videos"][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(behavior[0, 0].T, golden["videos"][1:, :, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(behavior[0, 0].T, golden["behavior"], rtol=1e-5)
    np.testing.assert_allclose(pupil_center[0, 0].T, golden["pupil_center"], rtol=1e-5, atol=1e-6)
    response = model.normalise_response(crop, statistics)[0, 0].T
    np.testing.assert_allclose(response, GOLDEN["loader/crop/trial4/responses"], rtol=1e-5)


@pytest.mark.parametrize(("name", "pad_input"), [("same", True), ("valid", False)])
def test_gru(name, pad_input):
    def get(part: str, kind: str, gates=("reset_gate", "update_gate", "out_gate")):
        arrays = [GOLDEN[f"gru/{name}/param/gru.{g}_{part}.{kind}"] for g in gates]
        if kind == "bias":
            return np.concatenate(arrays)
        return np.concatenate([a.transpose(2, 3, 1, 0) for a in arrays], -1)

    weights = {
        "input": get("input", "weight"),
        "gates": get("hidden", "weight", ("reset_gate", "update_gate")),
        "candidate": get("hidden", "weight", ("out_gate",)),
        "bias": get("input", "bias") + get("hidden", "bias"),
    }
    gru = ConvGRU(
        kernel=weights["gates"].shape[0],
        channels=weights["candidate"].shape[-1],
        input_kernel=weights["input"].shape[0],
        pad_input=pad_input,
    )
    x = GOLDEN[f"gru/{name}/x"].transpose(0, 2, 3, 4, 1)
    y = gru.apply({"params": weights}, x)
    expected = GOLDEN[f"gru/{name}/y"].transpose(0, 2, 3, 4, 1)
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_activations():
    x = GOLDEN["act/x"]
    shifted = activation("elu", (0.5, 0.25))(x)
    np.testing.assert_allclose(shifted, GOLDEN["act/adaptive_elu_xshift.5_yshift.25"], atol=1e-6)
    np.testing.assert_allclose(model.rate_of_drive(x), GOLDEN["act/elu1"], atol=1e-6)
    np.testing.assert_array_equal(activation("identity")(x), x)
    np.testing.assert_allclose(activation("softplus")(x), np.log1p(np.exp(x)), atol=1e-5)
    np.testing.assert_allclose(activation("relu")(x), np.maximum(x, 0))


def test_sampling_at_points():
    features = GOLDEN["grid_sample/x"].transpose(0, 2, 3, 1)  # [1 h w C]
    points = GOLDEN["grid_sample/points"]
    for channel, expected in enumerate(GOLDEN["grid_sample/y"]):
        weights = np.zeros((len(points), features.shape[-1]), np.float32)
        weights[:, channel] = 1
        found = bilinear_dot(features, points[None], weights)[0]
        np.testing.assert_allclose(found, expected, atol=1e-6)
