"""A trained model outside its run: ``weights.safetensors`` and ``config.json`` in one folder.

Both are read with neither torch nor orbax; nothing in them is executed.
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
from sensorium_jax.files import read_json, whole_file, write_json
from sensorium_jax.types import Array, Neurons, Params, PyTree

DAMAGE = (SafetensorError, OSError, ImportError, KeyError, TypeError, ValueError, AttributeError)
ARRAYS, CONFIG = "weights.safetensors", "config.json"
FORMAT = 1
_forward = functools.partial(jax.jit, static_argnames="model")(models.forward)


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model with its weights.

    Attributes:
        model: what to compute.
        params: its weights, one set of readout and shifter for each session.
        neurons: of every session, padded to the largest.
        sessions: names, in the order of the weights.
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
        """Predict from inputs as the starter kit's loader gives them: normalised, time last.

        Args:
            videos: [B C T H W]; channel 0 the film, then the behaviour and the gaze that the core
                takes, as planes that are constant in space.
            behavior: [B 2 T]; only a modulator looks at it.
            pupil_center: [B 2 T]; only a shifter looks at it.
            session: which mouse.

        Returns:
            Rate [B T' N] in units of the response std, for the last T' frames.

        Raises:
            UserError: unknown session, or arrays of other shapes.
        """
        videos = np.asarray(videos)
        if videos.ndim != 5:
            raise UserError(f"expected videos of shape (B, C, T, H, W), got {videos.shape}")
        two = (len(videos), 2, videos.shape[2])
        core = self.model.core.clone(behavior=False, gaze=False)
        inputs = [np.moveaxis(videos, 1, -1)]
        for name, x, needed in (
            ("behavior", behavior, self.model.modulator),
            ("pupil_center", pupil_center, self.model.shifter),
        ):
            if x is None and needed is None:
                x = np.zeros(two, np.float32)
            if np.shape(x) != two:
                raise UserError(f"expected {name} of shape {two}, got {np.shape(x)}")
            inputs.append(np.swapaxes(x, 1, 2))
        params, neurons = self._of(session)
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
        """The core's penalty plus that of one session's readout."""
        return float(sum(models.penalty(self.model, self._of(session)[0].weights)))

    def save(self, folder: str | Path, **notes: Any) -> None:
        """Write ``weights.safetensors`` and ``config.json``; ``notes`` (JSON values) go along.

        Raises:
            UserError: the folder holds files already.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"expected an empty or a new folder, found files in {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        arrays = _flat({"params": self.params._asdict(), "neurons": self.neurons._asdict()})
        with whole_file(folder / ARRAYS) as beside:
            save_file(arrays, beside)
        config = {
            "format": FORMAT,
            "version": __version__,
            "model": to_record(self.model),
            "sessions": list(self.sessions),
        }
        write_json(folder / CONFIG, config | notes)

    def _of(self, session: str) -> tuple[Params, Neurons]:
        """Weights and neurons of one session, its axis kept."""
        if session not in self.sessions:
            raise UserError(f"no session {session!r}; there are {', '.join(self.sessions)}")
        i = self.sessions.index(session)

        def one(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: x[i : i + 1], tree)

        weights = {k: v if k == "core" else one(v) for k, v in self.params.weights.items()}
        return Params(weights, self.params.stats), one(self.neurons)


def load_weights(folder: str | Path) -> TrainedModel:
    """Open what ``TrainedModel.save`` wrote.

    Raises:
        UserError: one of the two files is missing, damaged, or does not fit the other.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG, advice="name the folder of exported weights")
    if config.get("format") != FORMAT:
        raise UserError(
            f"expected weights of format {FORMAT} in {folder / CONFIG}, found "
            f"{config.get('format')!r}; they need another version of sensorium_jax "
            f"(here {__version__}, written by {config.get('version')})"
        )
    try:
        arrays = load_file(folder / ARRAYS)
        model, sessions = from_record(config["model"]), tuple(config["sessions"])
        tree = _nested(arrays)
        neurons = Neurons(**tree["neurons"])
        params = Params(tree["params"]["weights"], tree["params"].get("stats", {}))
    except DAMAGE as error:
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


def _flat(tree: PyTree, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays by their path, names joined by "/"."""
    if not isinstance(tree, dict):
        return {prefix: np.ascontiguousarray(tree)}
    flat = {}
    for name, branch in tree.items():
        flat |= _flat(branch, f"{prefix}/{name}" if prefix else name)
    return flat


def _nested(flat: dict[str, np.ndarray]) -> PyTree:
    """The inverse of ``_flat``."""
    tree: dict[str, Any] = {}
    for path, array in flat.items():
        *branches, leaf = path.split("/")
        node = functools.reduce(lambda node, name: node.setdefault(name, {}), branches, tree)
        node[leaf] = array
    return tree
