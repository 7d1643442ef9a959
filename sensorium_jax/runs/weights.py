"""Exported weights of a trained model: ``weights.safetensors`` and ``config.json`` in one folder.

Both are read without torch and without orbax; nothing in them is executed.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sensorium_jax import models
from sensorium_jax._version import __version__
from sensorium_jax.errors import UserError
from sensorium_jax.experiment.records import from_record, to_record
from sensorium_jax.files import file_digest, read_json, whole_file, write_json
from sensorium_jax.types import Array, Neurons, Params, PyTree

DAMAGE = (SafetensorError, OSError, ImportError, KeyError, TypeError, ValueError, AttributeError)
ARRAYS, CONFIG = "weights.safetensors", "config.json"
FORMAT = 1
_forward = functools.partial(jax.jit, static_argnames="model")(models.forward)


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model with its weights, without recordings.

    Attributes:
        model: the model.
        params: its weights; those of readout and shifter lead with the session axis S.
        neurons: neurons of all sessions, padded to the largest.
        sessions: session names, in the order of the session axis.
    """

    model: models.Model
    params: Params
    neurons: Neurons
    sessions: tuple[str, ...]

    def predict(
        self,
        videos: Array,
        behavior: Array | None = None,
        pupil_center: Array | None = None,
        *,
        session: str,
    ) -> np.ndarray:
        """Predict from normalised inputs in the layout of the starter kit's loader.

        Args:
            videos: [B C T H W]; channel 0 is the film, the others are the behaviour and the gaze
                that the core takes, as planes that are constant in space.
            behavior: [B 2 T]; used by a modulator only.
            pupil_center: [B 2 T]; used by a shifter only.
            session: session name of the mouse.

        Returns:
            Rate [B T' N] in units of the response std, for the last T' frames.

        Raises:
            UserError: an unknown session, or arrays of other shapes.
        """
        videos = np.asarray(videos)
        if videos.ndim != 5:
            raise UserError(f"expected videos of shape (B, C, T, H, W), got {videos.shape}")
        signal_shape = (len(videos), 2, videos.shape[2])
        core = self.model.core
        if core.behavior or core.gaze:  # they are channels of ``videos`` already
            core = core.clone(behavior=False, gaze=False)
        film = np.moveaxis(videos, 1, -1)
        inputs = [film[..., 0] if videos.shape[1] == 1 else film]
        for name, x, module in (
            ("behavior", behavior, self.model.modulator),
            ("pupil_center", pupil_center, self.model.shifter),
        ):
            if x is None and module is None:
                x = np.zeros(signal_shape, np.float32)
            shape = () if x is None else np.shape(x)
            if x is None or shape != signal_shape:
                raise UserError(f"expected {name} of shape {signal_shape}, got {shape}")
            inputs.append(np.swapaxes(x, 1, 2))
        params, neurons = self._select(session)
        model = dataclasses.replace(self.model, core=core)
        try:
            rate, _ = _forward(model, params, *(x[None] for x in inputs), neurons)
        except models.ParamShapeError as error:
            raise UserError(
                f"expected weights that fit videos of shape {videos.shape}, found others "
                f"({error}); check the number of channels, and the options for padding and strides"
            ) from None
        return np.asarray(rate[0])[..., np.asarray(neurons.mask[0])]

    def penalty(self, *, session: str) -> float:
        """The regularisation penalty: of the core plus of one session's readout."""
        return float(sum(models.penalty(self.model, self._select(session)[0].weights)))

    def save(self, folder: str | Path, **notes: Any) -> None:
        """Write ``weights.safetensors`` and ``config.json``.

        Args:
            folder: a new or empty folder.
            notes: JSON values that are added to ``config.json``.

        Raises:
            UserError: the folder is not empty.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"expected an empty or a new folder, found files in {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        arrays = flatten({"params": self.params._asdict(), "neurons": self.neurons._asdict()})
        with whole_file(folder / ARRAYS) as partial:
            save_file(arrays, partial)
        config = {
            "format": FORMAT,
            "version": __version__,
            "model": to_record(self.model),
            "sessions": list(self.sessions),
            "sha256": {ARRAYS: file_digest(folder / ARRAYS)},
        }
        write_json(folder / CONFIG, config | notes, sealed=True)

    def _select(self, session: str) -> tuple[Params, Neurons]:
        """Weights and neurons of one session; the session axis is kept, of length 1."""
        if session not in self.sessions:
            raise UserError(f"no session {session!r}; there are {', '.join(self.sessions)}")
        i = self.sessions.index(session)

        def select(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: x[i : i + 1], tree)

        weights = {k: v if k == "core" else select(v) for k, v in self.params.weights.items()}
        return Params(weights, self.params.stats), select(self.neurons)


def load_weights(folder: str | Path) -> TrainedModel:
    """Open weights that ``TrainedModel.save`` or ``Run.export`` wrote.

    Raises:
        UserError: one of the two files is missing, damaged, or does not fit the other.

    Examples:
        >>> from sensorium_jax.runs import pretrained
        >>> trained = load_weights(pretrained.FOLDER / "gru_baseline_demo")
        >>> len(trained.sessions), int(trained.neurons.mask.sum())
        (3, 336)
        >>> type(trained.model.core).__name__, trained.neurons.position_um.shape
        ('RotationEquivariant', (3, 128, 3))
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG, advice="name the folder of exported weights")
    if config.get("format") != FORMAT:
        raise UserError(
            f"expected weights of format {FORMAT} in {folder / CONFIG}, found "
            f"{config.get('format')!r}; they need another version of sensorium_jax "
            f"(here {__version__}, written by {config.get('version')})"
        )
    _check_digest(folder, config)
    try:
        arrays = load_file(folder / ARRAYS)
        model, sessions = from_record(config["model"]), tuple(config["sessions"])
        tree = unflatten(arrays)
        neurons = Neurons(**tree["neurons"])
        params = Params(**{"stats": {}} | tree["params"])
        _check_parts(model, params, neurons)
    except (*DAMAGE, UserError) as error:
        raise UserError(
            f"expected exported weights in {folder}: {ARRAYS} or {CONFIG} is damaged "
            f"({type(error).__name__}: {error}); export them again"
        ) from None
    if len(neurons.mask) != len(sessions):
        raise UserError(
            f"expected weights of {len(sessions)} sessions in {folder / ARRAYS}, as {CONFIG} says, "
            f"found {len(neurons.mask)}; export them again"
        )
    return TrainedModel(model, params, neurons, sessions)


def _check_digest(folder: Path, config: dict[str, Any]) -> None:
    """Raise ``UserError`` for weights that are not those that their record was written with."""
    digests = config.get("sha256", {})  # before version 0.2 there are none
    path = folder / ARRAYS
    if ARRAYS in digests and not (path.is_file() and file_digest(path) == digests[ARRAYS]):
        raise UserError(
            f"expected {path} as it was written, which is damaged or missing; export them again"
        )


def _check_parts(model: models.Model, params: Params, neurons: Neurons) -> None:
    """Raise ``ValueError`` for weights of other parts than the model's, or neurons without places.

    The shapes of weights are those of the first film: they are checked when a model predicts.
    """
    if not isinstance(model, models.Model):
        raise ValueError(f"expected a model, found {type(model).__name__}")
    parts = {"core", "readout"} | {x for x in ("shifter", "modulator") if getattr(model, x)}
    if params.weights.keys() != parts:
        raise ValueError(f"expected {', '.join(sorted(parts))}, found {', '.join(params.weights)}")
    numbers = jax.tree.leaves((params, neurons.position_um, neurons.mean_response))
    if any(x.dtype.kind != "f" for x in numbers) or neurons.mask.dtype != bool:
        raise ValueError("expected floats, and true or false as the neurons' mask")
    shape = neurons.mask.shape
    if neurons.mask.ndim != 2 or neurons.position_um.shape != (*shape, 3):
        raise ValueError(f"expected a place of every neuron of the mask {shape}")
    if neurons.mean_response.shape != shape:
        raise ValueError(f"expected a mean response of every neuron of the mask {shape}")


def flatten(tree: PyTree, prefix: str = "") -> dict[str, np.ndarray]:
    """The leaves of a tree of dictionaries, by path: keys joined by "/".

    Examples:
        >>> flatten({"core": {"bias": np.zeros(2)}})
        {'core/bias': array([0., 0.])}
    """
    if not isinstance(tree, dict):
        return {prefix: np.asarray(tree, order="C")}
    flat = {}
    for name, branch in tree.items():
        flat |= flatten(branch, f"{prefix}/{name}" if prefix else name)
    return flat


def unflatten(flat: dict[str, np.ndarray]) -> PyTree:
    """The inverse of ``flatten``.

    Examples:
        >>> unflatten({"core/bias": np.zeros(2)})
        {'core': {'bias': array([0., 0.])}}
    """
    tree: dict[str, Any] = {}
    for path, array in flat.items():
        *branches, leaf = path.split("/")
        node = functools.reduce(lambda node, name: node.setdefault(name, {}), branches, tree)
        node[leaf] = array
    return tree
