"""What every part promises (models/parts.py), tried on the example of each, and on broken ones."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from sensorium_jax import complete, load_run, load_weights, parallel, register
from sensorium_jax.errors import UserError
from sensorium_jax.models import Core, Model, cores, modulators, readouts, shifters
from sensorium_jax.models.check import check_model, check_streaming, features_shape
from sensorium_jax.models.parts import Modulator, Readout, Shifter
from sensorium_jax.pages.terminal import make_console

pytestmark = pytest.mark.slow

H, W = 36, 64
PARTS = {Core: cores, Readout: readouts, Shifter: shifters, Modulator: modulators}


def public(kind):
    """Every public class of a kind of part, by name."""
    kinds = (getattr(PARTS[kind], name) for name in PARTS[kind].__all__)
    return [k for k in kinds if isinstance(k, type) and issubclass(k, kind)]


class Causal(Core):
    """A core of one's own: a film padded at its start, so no frame is lost; a kernel over time."""

    maps: int = 3
    frames: int = 4
    warmup_frames = 0

    @property
    def memory_frames(self):
        return self.frames - 1

    @nn.compact
    def __call__(self, video, behavior, pupil_center, *, train):
        del behavior, pupil_center, train
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.frames, self.maps))
        pixels = self.param("pixels", nn.initializers.normal(), (self.maps,))
        x = video[:, :, ::6, ::8, None] * pixels.astype(video.dtype)
        padded = jnp.pad(x, [(0, 0), (self.frames - 1, 0), (0, 0), (0, 0), (0, 0)])
        taps = (padded[:, i : i + x.shape[1]] * kernel[i] for i in range(self.frames))
        return sum(taps).astype(video.dtype)


def inputs(core, *, frames=None, seed=0):
    frames = frames or core.warmup_frames + 5
    rng = np.random.default_rng(seed)
    shapes = (2, frames, H, W), (2, frames, 2), (2, frames, 2)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


@functools.cache
def prepared(core):
    """Variables away from their start, and the compiled features of (variables, inputs)."""
    variables = jax.jit(functools.partial(core.init, train=False))(jax.random.key(0), *inputs(core))
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda x: x + rng.normal(0, 0.05, x.shape).astype(x.dtype), variables)
    return variables, jax.jit(lambda v, *x: core.apply(v, *x, train=False))


EXAMPLES = [kind.example() for kind in public(Core)] + [Causal()]
IDS = [type(core).__name__ for core in EXAMPLES]


def model_of(core):
    return Model(core, readouts.Gaussian(init_sigma=0.2), shifters.MLP())


@pytest.mark.parametrize("core", EXAMPLES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_examples_keep_all_promises(core, dtype):
    check_model(dataclasses.replace(model_of(core), dtype=dtype))
    parallel.check_core(core)
    check_streaming(core)


@pytest.mark.parametrize("core", EXAMPLES, ids=IDS)
def test_every_input_counts_at_its_own_frame_and_not_before(core):
    """A branch that is late, or looks ahead, is a fault that no score would name."""
    variables, features = prepared(core)
    film = inputs(core)
    before, frame = features(variables, *film), film[0].shape[1] - 2
    used = True, core.behavior, core.gaze
    for branch, counts in enumerate(used):
        other = [x.copy() for x in film]
        other[branch][:, frame] += 1
        change = np.abs(features(variables, *other) - before).max((0, 2, 3, 4))
        at = frame - core.warmup_frames
        assert not change[:at].any()
        assert (change[at] > 1e-4) == counts


@pytest.mark.parametrize("core", EXAMPLES, ids=IDS)
def test_training_gives_finite_features_and_gradients(core):
    variables, _ = prepared(core)
    film = inputs(core)

    def loss(weights):
        options = {"train": True, "rngs": {"dropout": jax.random.key(0)}}
        x, _ = core.apply(
            variables | {"params": weights}, *film, mutable=["batch_stats"], **options
        )
        return jnp.sum(x**2) + core.penalty(weights)

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("core", EXAMPLES, ids=IDS)
def test_bfloat16_inputs_with_float32_weights_are_a_rounding(core):
    variables, features = prepared(core)
    film = inputs(core)
    rounded = features(variables, *(jnp.asarray(x, jnp.bfloat16) for x in film))
    full = features(variables, *film)
    assert rounded.dtype == jnp.bfloat16
    error = jnp.sqrt(jnp.mean((rounded.astype(jnp.float32) - full) ** 2))
    assert error < 0.05 * jnp.std(full)


@pytest.mark.parametrize("readout", [kind.example() for kind in public(Readout)])
def test_readouts_shifters_and_modulators_keep_theirs(readout):
    shifter = shifters.MLP.example() if readout.takes_shift else None
    check_model(Model(Causal(), readout, shifter, modulators.MLP.example()))


@pytest.mark.parametrize("shifter", [kind.example() for kind in public(Shifter)])
def test_every_shifter_moves_what_readouts_read(shifter):
    check_model(Model(Causal(), readouts.Gaussian(), shifter))


def broken(**changes):
    """A core that is Causal but for one thing."""
    return type("Broken", (Causal,), {"__module__": __name__, **changes})()


class Late(Causal):
    def __call__(self, video, behavior, pupil_center, *, train):
        return super().__call__(video, behavior, pupil_center, train=train)[:, 1:]


class NoCast(Causal):
    @nn.compact
    def __call__(self, video, behavior, pupil_center, *, train):
        return video[..., None] * self.param("gain", nn.initializers.ones, (3,))


class Flat(Causal):
    def __call__(self, video, behavior, pupil_center, *, train):
        return super().__call__(video, behavior, pupil_center, train=train).mean(2)


class Fails(Causal):
    def __call__(self, video, behavior, pupil_center, *, train):
        raise RuntimeError("no such layer")


class LinenNorm(Causal):
    @nn.compact
    def __call__(self, video, behavior, pupil_center, *, train):
        return nn.BatchNorm(use_running_average=not train)(video[..., None])


@pytest.mark.parametrize(
    ("core", "dtype", "words"),
    [
        (Late(), "float32", "core Late to give features .* warmup_frames"),
        (Flat(), "float32", "core Flat to give features"),
        (NoCast(), "bfloat16", "core NoCast to compute in the dtype .* cast weights"),
        (Fails(), "float32", "core Fails to run .*RuntimeError: no such layer"),
        (broken(penalty=lambda self, w: w["pixels"]), "float32", "penalty of the core .* scalar"),
        (
            broken(spatial_filters=lambda self, w: w["pixels"]),
            "float32",
            "expected spatial_filters",
        ),
    ],
)
def test_a_broken_core_is_named_before_training(core, dtype, words, store, tmp_path):
    model = dataclasses.replace(model_of(core), dtype=dtype)
    experiment = small.experiment(model=model)
    with pytest.raises(UserError, match=words) as error:
        complete(experiment, tmp_path / "run", store=store, console=make_console(quiet=True))
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_statistics_of_one_device_are_refused():
    check_model(model_of(LinenNorm()))
    with pytest.raises(UserError, match="LinenNorm to keep running statistics of the whole batch"):
        parallel.check_core(LinenNorm())


def test_a_part_that_is_no_part_is_refused_when_the_model_is_made():
    class Bare(nn.Module):
        warmup_frames = 0

    with pytest.raises(ValueError, match="model.core .* derived from models.Core, got Bare"):
        Model(Bare(), readouts.Gaussian())
    with pytest.raises(ValueError, match="model.shifter .* or None, got MLP"):
        Model(Causal(), readouts.Gaussian(), modulators.MLP())


@pytest.mark.parametrize(
    ("memory", "words"),
    [(None, "declare memory_frames"), (0, "memory_frames = 0, found a difference"), (1, "= 1")],
)
def test_streams_refuse_a_memory_that_is_not_declared_or_wrong(memory, words):
    with pytest.raises(UserError, match=words):
        check_streaming(broken(memory_frames=memory))
    check_streaming(broken(memory_frames=5))  # more than it needs does no harm


def test_a_core_of_ones_own_does_all_that_ours_do(store, tmp_path):
    """Trains, writes its page, reopens, exports, predicts, and streams what it predicts."""
    register(Causal)
    experiment = small.experiment(model=model_of(Causal()))
    workdir = tmp_path / "run"
    report = complete(experiment, workdir, store=store, console=make_console(quiet=True))
    page = (workdir / "report.html").read_text()
    assert "Causal, 3 maps" in page and "First layer" not in page
    run = load_run(workdir)
    assert run.evaluate(run.params, "oracle") == report_of(report)
    session = run.recordings.session_names[0]
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (20, H, W)).astype(np.uint8)
    behavior, pupil = rng.uniform(0, 30, (20, 2)), rng.normal(150, 5, (20, 2))
    expected = run.predict(film, behavior, pupil, session=session)
    stream = run.stream(session)
    pieces = [
        stream.predict(*(x[i:j] for x in (film, behavior, pupil)))
        for i, j in ((0, 1), (1, 3), (3, 20))
    ]
    np.testing.assert_allclose(np.concatenate(pieces), expected, rtol=1e-5, atol=1e-5)
    run.export(tmp_path / "weights")
    trained = load_weights(tmp_path / "weights")
    normalised = rng.normal(size=(2, 1, 9, H, W)).astype(np.float32)
    zeros = np.zeros((2, 2, 9), np.float32)
    rate = trained.predict(normalised, zeros, zeros, session=session)
    assert rate.shape == (2, 9, run.recordings.sessions[0].neurons) and np.isfinite(rate).all()


def report_of(report):
    scores = tuple(s for s in report.scores if s.tier == "oracle")
    return dataclasses.replace(report, scores=scores)


def test_maps_are_counted_from_the_core_itself():
    assert features_shape(Causal(), frames=3) == (2, 3, 6, 8, 3)
