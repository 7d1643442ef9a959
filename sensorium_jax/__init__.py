"""Models of mouse visual cortex on the SENSORIUM 2023 benchmark, in JAX.

The names below are imported when first used, so that the data pipeline's workers, which import
this package too, never load JAX.
"""

import importlib

from sensorium_jax._version import __version__

_PUBLIC = {
    "Experiment": "experiment",
    "Model": "model",
    "Report": "report",
    "Run": "run",
    "UserError": "errors",
    "TrainedModel": "weights",
    "demo_store": "demo",
    "ensemble": "ensembles",
    "load_pretrained": "pretrained",
    "load_recordings": "data.pipeline",
    "load_run": "run",
    "load_weights": "weights",
    "make_evaluate": "evaluate",
    "make_mesh": "parallel",
    "pretrained_names": "pretrained",
    "register": "experiment",
}
_MODULES = (
    "cores",
    "losses",
    "metrics",
    "modulators",
    "optim",
    "protocol",
    "readouts",
    "shifters",
    "submission",
    "torch_import",
    "types",
)

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
