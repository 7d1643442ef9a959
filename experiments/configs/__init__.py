"""Experiments of one's own. Those that come with the package are in ``sensorium_jax.configs``."""

import importlib
import warnings


def __getattr__(name: str):
    from sensorium_jax import configs

    if name not in configs.config_names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"import {name} from sensorium_jax.configs", DeprecationWarning, stacklevel=2)
    return importlib.import_module(f"sensorium_jax.configs.{name}")
