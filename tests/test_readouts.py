"""Readouts, shifters and modulators: against the reference's arrays, and what each promises."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax import models as model
from sensorium_jax.models import cores, modulators, readouts, shifters
from sensorium_jax.models.model import _init
from sensorium_jax.models.nn import sampling
from sensorium_jax.types import Neurons, Params

GOLDEN = np.load(Path(__file__).parent / "golden" / "components.npz")
B, T, H, W, F = 2, 3, 6, 7, 4
NEURONS = 6
READOUTS = {
    "full": readouts.Gaussian(gamma=0.1),
    "uncorrelated": readouts.Gaussian(gauss="uncorrelated", dimensions=3, gamma=0.1),
    "isotropic": readouts.Gaussian(gauss="isotropic", hidden_layers=2, gamma=0.1),
    "linear positions": readouts.Gaussian(hidden_layers=0, final_tanh=False, gamma=0.1),
    "free positions": readouts.Gaussian(cortical=False, bias=False, gamma=0.1),
    "factorised": readouts.Factorized(gamma=0.1),
    "factorised, plain": readouts.Factorized(normalize=False, bias=False, gamma=0.1),
    "factorised, positive": readouts.Factorized(positive=True, all_pairs=True, gamma=0.1),
}


@pytest.fixture(params=READOUTS)
def readout(request):
    return READOUTS[request.param]


def neurons(padded: int = 0) -> Neurons:
    n = NEURONS + padded
    rng = np.random.default_rng(0)
    mask = np.arange(n) < NEURONS
    position = rng.uniform(0, 600, (n, 3)).astype(np.float32) * mask[:, None]
    return Neurons(position, np.ones(n, np.float32), mask)


def features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(B, T, H, W, F)).astype(np.float32)


def shift_of(readout) -> np.ndarray | None:
    rng = np.random.default_rng(3)
    return rng.normal(0, 0.1, (B, T, 2)).astype(np.float32) if readout.takes_shift else None


@functools.cache
def prepared(readout, padded: int = 0, train: bool = False):
    """Weights moved off their start, and the compiled drive(weights, features)."""
    people, shift = neurons(padded), shift_of(readout)
    keys = {"params": jax.random.key(1), "position": jax.random.key(2)}
    start = readout.init(keys, features(), people, shift, train=False)["params"]
    rng = np.random.default_rng(5)
    weights = jax.tree.map(lambda x: x + rng.normal(0, 0.1, x.shape).astype(np.float32), start)
    rngs = {"position": jax.random.key(7)} if train else {}

    @jax.jit
    def drive(weights, features):
        return readout.apply({"params": weights}, features, people, shift, train=train, rngs=rngs)

    return start, weights, drive


def test_shapes_and_penalty(readout):
    start, weights, drive = prepared(readout)
    assert drive(weights, features()).shape == (B, T, NEURONS)
    penalty = readout.penalty(weights)
    assert penalty.shape == () and penalty > 0
    assert ("bias" in weights) == readout.bias


def test_every_frame_is_read_by_itself(readout):
    _, weights, drive = prepared(readout)
    before, changed = drive(weights, features()), features()
    changed[1, 2] += 1
    difference = np.abs(drive(weights, changed) - before)
    assert difference[1, 2].max() > 1e-3
    difference[1, 2] = 0
    assert difference.max() < 1e-6


def test_padded_neurons_are_inert(readout):
    _, weights, drive = prepared(readout)
    start, _, padded_drive = prepared(readout, padded=3)
    assert not np.any(start["features"][NEURONS:])

    def widen(x, like):
        if x.shape == like.shape:
            return x
        return jnp.asarray(like).at[:NEURONS].set(x)

    wide = jax.tree.map(widen, weights, start)
    found = padded_drive(wide, features())
    np.testing.assert_allclose(found[..., :NEURONS], drive(weights, features()), atol=1e-5)
    np.testing.assert_allclose(readout.penalty(wide), readout.penalty(weights), rtol=1e-6)
    pull = jax.grad(readout.penalty)(wide)
    assert not np.any(pull["features"][NEURONS:]), "what is padding stays zero"


def test_every_weight_has_a_finite_gradient(readout):
    _, weights, _ = prepared(readout)
    _, _, drive = prepared(readout, train=True)

    @jax.jit
    @jax.grad
    def gradient(weights):
        return jnp.sum(drive(weights, features()) ** 2) + readout.penalty(weights)

    for path, g in jax.tree_util.tree_leaves_with_path(gradient(weights)):
        assert np.isfinite(g).all() and np.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_no_retrace(readout):
    _, weights, drive = prepared(readout)
    drive(weights, features(0))
    drive(weights, features(1))
    assert drive._cache_size() == 1


def test_bfloat16_is_a_rounding(readout):
    _, weights, drive = prepared(readout)
    small = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (weights, jnp.asarray(features())))
    full = drive(weights, features())
    error = jnp.sqrt(jnp.mean((drive(*small).astype(jnp.float32) - full) ** 2))
    assert error < 0.1 * jnp.std(full)


def test_positions_are_drawn_in_training_alone():
    readout = READOUTS["full"]
    _, weights, evaluated = prepared(readout)
    _, _, trained = prepared(readout, train=True)
    assert np.abs(trained(weights, features()) - evaluated(weights, features())).max() > 1e-2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gauss": "round"}, "full, uncorrelated or isotropic"),
        ({"dimensions": 4}, "expected dimensions from 1"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        readouts.Gaussian(**options)


def test_a_factorised_readout_takes_no_shifter():
    with pytest.raises(ValueError, match="Factorized has no positions"):
        model.Model(cores.Stacked2D(), readouts.Factorized(), shifters.MLP())


# Against the reference


def gaussian_weights(get):
    """Weights in our layout from the reference's, ``get(name)``."""
    weights = {
        "sigma": get("sigma")[0].squeeze(1) if get("sigma").shape[2] == 1 else get("sigma")[0],
        "features": get("_features")[0, :, 0].T,
    }
    for ours, theirs in (("position0", 0), ("position_out", 2)):
        weights[ours] = {
            "kernel": get(f"mu_transform.{theirs}.weight").T,
            "bias": get(f"mu_transform.{theirs}.bias"),
        }
    return weights | {"bias": get("bias")}


@pytest.mark.parametrize("gauss", ["full", "uncorrelated", "isotropic"])
def test_gaussian_equals_the_reference(gauss, monkeypatch):
    golden = {
        k.removeprefix(f"gauss/{gauss}/"): GOLDEN[k]
        for k in GOLDEN
        if k.startswith(f"gauss/{gauss}/")
    }
    weights = gaussian_weights(lambda name: golden[f"param/{name}"])
    n = len(weights["bias"])
    grid = golden["param/source_grid"]  # centred and scaled already: doing so again changes nothing
    people = Neurons(np.pad(grid, ((0, 0), (0, 1))), np.ones(n, np.float32), np.ones(n, bool))
    x = golden["x"].transpose(0, 2, 3, 1)[:, None]
    readout = readouts.Gaussian(gauss=gauss, gamma=0.3)

    def drive(weights, *, shift, train):
        return readout.apply(
            {"params": weights}, x, people, shift, train=train, rngs={"position": jax.random.key(0)}
        )[:, 0]

    shift = golden["shift"][:, None]
    for name, s in (("y_eval", shift), ("y_eval_no_shift", None)):
        np.testing.assert_allclose(drive(weights, shift=s, train=False), golden[name], atol=1e-5)
    np.testing.assert_allclose(readout.penalty(weights), golden["regularizer"], rtol=1e-6)

    noise = golden["noise"][:, :, 0]
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: noise.reshape(shape))

    def total(weights):
        y = drive(weights, shift=shift, train=True)
        return jnp.sum(y * (jnp.arange(n) / n + 0.3)), y

    gradient, y = jax.grad(total, has_aux=True)(weights)
    np.testing.assert_allclose(y, golden["y_sampled_shifted"], atol=1e-5)
    expected = gaussian_weights(lambda name: golden[f"grad/{name}"])
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(
            a, b, atol=5e-5 * np.abs(b).max(), err_msg=jax.tree_util.keystr(path)
        )


def test_free_positions_equal_the_reference():
    position = GOLDEN["gauss/free/param/_mu"][0, :, 0]
    assert np.abs(position).max() > 1, "some lie outside the map, and are clipped to it"
    weights = {
        "position": position,
        "sigma": GOLDEN["gauss/free/param/sigma"][0],
        "features": GOLDEN["gauss/free/param/_features"][0, :, 0].T,
    }
    n = len(position)
    people = Neurons(np.zeros((n, 3), np.float32), np.ones(n, np.float32), np.ones(n, bool))
    x = GOLDEN["gauss/free/x"].transpose(0, 2, 3, 1)[:, None]
    readout = readouts.Gaussian(cortical=False, bias=False, gamma=2.0)
    y = readout.apply({"params": weights}, x, people, None, train=False)
    np.testing.assert_allclose(y[:, 0], GOLDEN["gauss/free/y_eval"], atol=1e-5)
    np.testing.assert_allclose(
        readout.penalty(weights), GOLDEN["gauss/free/regularizer"], rtol=1e-6
    )


@pytest.mark.parametrize("normalize", [True, False])
def test_factorised_equals_the_reference(normalize):
    prefix = f"factorised/normalize={normalize:d}"
    names = {"mask": "spatial", "features": "_features", "bias": "bias"}
    weights = {ours: GOLDEN[f"{prefix}/param/{name}"] for ours, name in names.items()}
    n = len(weights["bias"])
    people = Neurons(np.zeros((n, 3), np.float32), np.ones(n, np.float32), np.ones(n, bool))
    x = GOLDEN[f"{prefix}/x"].transpose(0, 2, 3, 1)[:, None]
    readout = readouts.Factorized(normalize=normalize, gamma=0.4, all_pairs=True)

    def total(weights):
        y = readout.apply({"params": weights}, x, people, None, train=False)[:, 0]
        return jnp.sum(y**2) + readout.penalty(weights), y

    gradient, y = jax.grad(total, has_aux=True)(weights)
    np.testing.assert_allclose(y, GOLDEN[f"{prefix}/y"], atol=1e-5)
    np.testing.assert_allclose(readout.penalty(weights), GOLDEN[f"{prefix}/regularizer"], rtol=1e-5)
    for ours, name in names.items():
        expected = GOLDEN[f"{prefix}/grad/{name}"]
        np.testing.assert_allclose(gradient[ours], expected, atol=1e-5 * np.abs(expected).max())


def test_each_mask_counts_with_its_own_features():
    """What the reference's penalty means, and its broadcast is not."""
    mask = np.zeros((2, 2, 2), np.float32)
    mask[0, 0, 0], mask[1] = 2, -1  # norms 2 and 4
    weights = {"mask": mask, "features": np.float32([[1, -2], [5, 0]])}  # norms 3 and 5
    right = readouts.Factorized(normalize=False, gamma=0.5)
    assert right.penalty(weights) == pytest.approx(0.5 * (2 * 3 + 4 * 5))
    assert right.clone(all_pairs=True).penalty(weights) == pytest.approx(0.5 * 6 * 8)


def test_shifters_equal_the_reference():
    pupil = GOLDEN["shifter/pupil"][None]  # [1 T 2]

    def get(kind, name):
        return GOLDEN[f"shifter/{kind}/param/s.{name}"]

    def dense(kind, name):
        return {"kernel": get(kind, f"{name}weight").T, "bias": get(kind, f"{name}bias")}

    mlp = {f"dense{i}": dense("mlp", f"mlp.{2 * i}.") for i in range(3)}
    affine = {"dense": dense("static_affine", "")}
    for kind, shifter, weights in (
        ("mlp", shifters.MLP(), mlp),
        ("static_affine", shifters.StaticAffine(), affine),
    ):
        y = shifter.apply({"params": weights}, pupil, pupil, train=False)
        np.testing.assert_allclose(y[0], GOLDEN[f"shifter/{kind}/y"], atol=1e-6)


@pytest.mark.parametrize("shifter", [shifters.MLP(), shifters.StaticAffine()])
def test_a_shifter_starts_at_no_shift(shifter):
    pupil = np.ones((B, T, 2), np.float32)
    y, _ = shifter.init_with_output(jax.random.key(0), pupil, pupil, train=False)
    assert y.shape == (B, T, 2) and not np.any(y)


def test_a_modulator_starts_at_a_gain_of_one_and_multiplies_the_rate():
    plain = model.Model(cores.Stacked2D(channels=2, layers=1, kernel=3), readouts.Gaussian())
    modulated = model.Model(plain.core, plain.readout, modulator=modulators.MLP())
    people = jax.tree.map(lambda x: x[None], neurons())
    rng = np.random.default_rng(0)
    video = rng.normal(size=(1, B, T, H, W)).astype(np.float32)
    behavior = rng.normal(size=(1, B, T, 2)).astype(np.float32)
    clip = (video.shape[2:], behavior.shape[2:], behavior.shape[2:])
    params = _init(modulated, jax.random.key(0), people, clip=clip)
    rate, _ = model.forward(modulated, params, video, behavior, behavior, people)
    without = Params({k: params.weights[k] for k in ("core", "readout")}, params.stats)
    before, _ = model.forward(plain, without, video, behavior, behavior, people)
    np.testing.assert_allclose(rate, before, rtol=1e-6)
    doubled = jax.tree.map(lambda x: x, params)
    doubled.weights["modulator"]["dense1"]["bias"] += 1
    rate, _ = model.forward(modulated, doubled, video, behavior, behavior, people)
    np.testing.assert_allclose(rate, 2 * before, rtol=1e-6)


def test_the_offset_moves_every_drive_and_the_bias_makes_up_for_it():
    plain = model.Model(cores.Stacked2D(channels=2, layers=1, kernel=3), readouts.Gaussian())
    moved = model.Model(plain.core, plain.readout, elu_offset=-1.0)
    people = jax.tree.map(lambda x: x[None], neurons())
    video, two = np.zeros((1, B, T, H, W), np.float32), np.zeros((1, B, T, 2), np.float32)
    clip = (video.shape[2:], two.shape[2:], two.shape[2:])
    rates = []
    for m in (plain, moved):
        params = _init(m, jax.random.key(0), people, clip=clip)
        rates.append(model.forward(m, params, video, two, two, people)[0])
    np.testing.assert_allclose(*rates, rtol=1e-6)


# --- reading in groups --------------------------------------------------------------------------


def test_groups_bound_memory():
    m, n, c = 40, 500, 32
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((m, 9, 9, c), (m, n, 2), (n, c))]

    def bytes_of(gather_size):
        def loss(*arrays):
            return jnp.sum(sampling.grouped_bilinear_dot(*arrays, gather_size=gather_size) ** 2)

        program = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*shapes).compile()
        return program.memory_analysis().temp_size_in_bytes

    whole = 4 * m * n * c
    assert bytes_of(n * c) < whole / 2 and bytes_of(2**40) > 2 * whole
