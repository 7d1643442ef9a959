"""Models of mouse visual cortex on the SENSORIUM 2023 benchmark, in JAX.

The names below are imported when first used, so that the data pipeline's workers, which import
this package too, never load JAX.
"""

import importlib
from typing import TYPE_CHECKING

from sensorium_jax import _moved
from sensorium_jax._version import __version__

_PUBLIC = {
    "Data": "experiment",
    "Experiment": "experiment",
    "Model": "models",
    "Report": "scores",
    "Run": "runs.run",
    "TrainedModel": "runs.weights",
    "UserError": "errors",
    "complete": "training",
    "config_names": "configs",
    "demo_store": "simulate.demo",
    "ensemble": "runs.ensembles",
    "load_config": "configs",
    "load_pretrained": "runs.pretrained",
    "load_recordings": "data.recordings",
    "load_run": "runs.run",
    "load_weights": "runs.weights",
    "make_evaluate": "runs.predictions",
    "make_mesh": "parallel",
    "override": "experiment",
    "pretrained_names": "runs.pretrained",
    "register": "experiment",
}
_MODULES = (*_moved.SHORT, "protocol", "stimuli", "submission", "torch_import", "types")

__all__ = ["__version__", *_PUBLIC, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:  # what the names are, for editors and type checkers
    from sensorium_jax import protocol, stimuli, submission, torch_import, types
    from sensorium_jax.configs import config_names, load_config
    from sensorium_jax.data.recordings import load_recordings
    from sensorium_jax.errors import UserError
    from sensorium_jax.experiment import Data, Experiment, optim, override, register
    from sensorium_jax.models import Model, cores, losses, modulators, readouts, shifters
    from sensorium_jax.parallel import make_mesh
    from sensorium_jax.runs.ensembles import ensemble
    from sensorium_jax.runs.predictions import make_evaluate
    from sensorium_jax.runs.pretrained import load_pretrained, pretrained_names
    from sensorium_jax.runs.run import Run, load_run
    from sensorium_jax.runs.weights import TrainedModel, load_weights
    from sensorium_jax.scores import Report, metrics
    from sensorium_jax.simulate.demo import demo_store
    from sensorium_jax.training import complete

_moved.install()


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
