"""Layers against the reference's arrays and against their plain forms."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensorium_jax.models.nn import conv, hermite, penalties, temporal
from sensorium_jax.models.nn.norm import BatchNorm

GOLDEN = np.load(Path(__file__).parent / "golden" / "components.npz")


@pytest.mark.parametrize("size", [5, 7, 9])
def test_hermite_basis(size):
    np.testing.assert_allclose(hermite.basis(size), GOLDEN[f"hermite/N{size}/H"], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "rotations", "first"),
    [
        ("conv_N9_rot8_in3_out2_first1", 9, 8, True),
        ("conv_N7_rot8_in16_out2_first0", 7, 8, False),
        ("conv_N5_rot3_in6_out4_first0", 5, 3, False),
        ("conv_N7_rot4_in3_out3_first1", 7, 4, True),
    ],
)
def test_steerable_filters(name, size, rotations, first):
    golden = {k: GOLDEN[f"hermite/{name}/{k}"] for k in ("coeffs", "weights", "x", "y")}
    kernel = hermite.filters(
        golden["coeffs"], size=size, n_rotations=rotations, roll_inputs=not first
    )
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1), golden["weights"], atol=1e-6)
    y = conv.conv2d(golden["x"].transpose(0, 2, 3, 1), kernel)
    scale = np.abs(golden["y"]).max()
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2), golden["y"], atol=1e-6 * scale)


def test_quarter_turn_of_the_image_turns_the_features():
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(len(hermite.modes(5)), 1, 3)).astype(np.float32)
    kernel = hermite.filters(coefficients, size=5, n_rotations=4, roll_inputs=False)
    image = rng.normal(size=(1, 12, 12, 1)).astype(np.float32)
    plain = np.asarray(conv.conv2d(image, kernel)).reshape(1, 8, 8, 4, 3)
    turned = np.asarray(conv.conv2d(np.rot90(image, axes=(1, 2)), kernel)).reshape(1, 8, 8, 4, 3)
    np.testing.assert_allclose(turned, np.roll(np.rot90(plain, axes=(1, 2)), 1, axis=3), atol=1e-4)


def test_batch_norm_shared_by_rotations():
    """Golden: weight, bias, running statistics and momentum as its description says."""
    variables = {
        "params": {"scale": np.float32([0.7, 1.2, 1.5]), "bias": np.float32([0.1, -0.3, 0.2])},
        "batch_stats": {"mean": np.float32([0.5, -0.2, 0]), "var": np.float32([2, 0.5, 1.3])},
    }
    norm = BatchNorm(rotations=4, momentum=0.9)
    x = GOLDEN["rot_bn/x"].transpose(0, 2, 3, 1)
    evaluated = norm.apply(variables, x, train=False)
    np.testing.assert_allclose(evaluated.transpose(0, 3, 1, 2), GOLDEN["rot_bn/eval"], atol=1e-6)

    def train(x):
        return norm.apply(variables, x, train=True, mutable=["batch_stats"])

    trained, updated = jax.vmap(train, axis_name="data")(x[None])
    np.testing.assert_allclose(trained[0].transpose(0, 3, 1, 2), GOLDEN["rot_bn/train"], atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            updated["batch_stats"][name][0], GOLDEN[f"rot_bn/running_{name}"], atol=1e-6
        )


def test_batch_norm_sees_the_whole_batch_however_it_is_split():
    x = np.random.default_rng(0).normal(2, 3, (8, 4, 5, 6)).astype(np.float32)
    norm = BatchNorm(rotations=2)
    variables = norm.init(jax.random.key(0), x, train=False)

    def train(x):
        return norm.apply(variables, x, train=True, mutable=["batch_stats"])

    whole, whole_stats = jax.vmap(train, axis_name="data")(x[None])
    split, split_stats = jax.vmap(train, axis_name="data")(x.reshape(4, 2, *x.shape[1:]))
    np.testing.assert_allclose(whole.ravel(), split.ravel(), atol=1e-5)
    for a, b in zip(jax.tree.leaves(whole_stats), jax.tree.leaves(split_stats), strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=1e-5)


KINDS = {"L2norm": "l2norm", "L2": "l2", "L1": "l1"}
LAPLACES = {
    f"Laplace{name},padding={label},avg={average:d}": penalties.Laplace(
        kind, padding, average=average
    )
    for name, kind in KINDS.items()
    for label, padding in ((None, 0 if kind == "l1" else 1), (0, 0), (2, 2))  # None: its default
    for average in (False, True)
}
SURROUNDS = {
    f"{name},avg={average:d}": penalties.Laplace(average=average, surround=True)
    for name in ("GaussianLaplaceL2,kernel=(7,5)", "GaussianLaplaceL2Adaptive")
    for average in (False, True)
}


@pytest.mark.parametrize(("name", "laplace"), (LAPLACES | SURROUNDS).items())
def test_laplace_penalty(name, laplace):
    kernel = GOLDEN["reg/w2d"].transpose(2, 3, 1, 0)
    value, gradient = jax.value_and_grad(laplace)(kernel)
    np.testing.assert_allclose(value, GOLDEN[f"reg/{name}"], rtol=1e-6)
    expected = GOLDEN[f"reg/{name}/grad"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("padding", [1, 0])
def test_laplace_over_frames(padding):
    """Golden (out, in, frames)."""
    name = f"reg/DepthLaplaceL21d,padding={None if padding else 0},avg=0"
    kernel = GOLDEN["reg/w1d"].transpose(2, 1, 0)
    laplace = functools.partial(
        penalties.laplace_time, center=penalties.PUBLISHED_CENTER, padding=padding
    )
    value, gradient = jax.value_and_grad(laplace)(kernel)
    np.testing.assert_allclose(value, GOLDEN[name], rtol=1e-6)
    expected = GOLDEN[f"{name}/grad"].transpose(2, 1, 0)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("frames", [1, 2, 5, 11, 20])
def test_functions_of_the_past(frames):
    """Orthonormal; the first decays into the past; together they follow a slow filter."""
    basis = temporal.basis(frames)
    assert basis.shape == (temporal.count(frames), frames)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-5)
    assert (np.diff(basis[0]) > 0).all() and basis[0, -1] > 0
    slow = np.exp(-2 * (1 - np.arange(frames) / frames))
    assert np.linalg.norm(basis @ slow) > 0.99 * np.linalg.norm(slow)
    coefficients = np.random.default_rng(0).normal(size=(len(basis), 2, 3)).astype(np.float32)
    kernel = temporal.filters(coefficients, frames)
    np.testing.assert_allclose(kernel[:, 1, 2], coefficients[:, 1, 2] @ basis, atol=1e-5)


def test_a_straight_line_over_frames_is_smooth():
    line = jnp.arange(7.0)[:, None, None]
    assert penalties.laplace_time(line, padding=0) == 0
    assert penalties.laplace_time(line, center=4.0, padding=0) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "l3"}, "of kind l2norm, l2 or l1"),
        ({"surround": True, "padding": 0}, "padding=1 with surround"),
    ],
)
def test_laplace_options_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        penalties.Laplace(**options)


def test_group_sparsity():
    kernel = np.zeros((3, 3, 2, 1), np.float32)
    kernel[..., 0, 0] = 2  # norm 6; the other filter is zero
    value, gradient = jax.value_and_grad(penalties.group_sparsity)(kernel)
    assert value == pytest.approx(3)
    assert np.isfinite(gradient).all()
