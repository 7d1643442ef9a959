"""Experiments by name: one file each, with the sizes ``published`` and ``demo``."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sensorium_jax.errors import UserError, hint

if TYPE_CHECKING:
    from sensorium_jax.experiment import Experiment  # loads JAX, which --help does without

SIZES = "demo", "published"


def config_names() -> list[str]:
    """The names that ``load_config`` knows.

    Examples:
        >>> config_names()[:2]
        ['ensemble_baseline', 'factorized_baseline']
    """
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__")


def load_config(config: str, size: str = "demo") -> Experiment:
    """The experiment of a config, given by name or as a Python file that defines the sizes.

    Args:
        config: a name, or the path of a file ending in .py, which is executed.
        size: "demo" or "published".

    Raises:
        UserError: no such name, file or size, or a file without an experiment of that size.

    Examples:
        >>> load_config("gru_baseline", "published").model.core.channels
        8
        >>> load_config("gru_baseline", "large")
        Traceback (most recent call last):
        sensorium_jax.errors.UserError: no size 'large'; ...
    """
    if size not in SIZES:
        raise UserError(f"no size {size!r}; {hint(size, SIZES)}")
    if config.endswith(".py"):
        module = _load_file(Path(config))
    elif config in config_names():
        module = importlib.import_module(f"sensorium_jax.configs.{config}")
    else:
        advice = f"{hint(config, config_names())}; a file of your own is named by its path, x.py"
        raise UserError(f"no config {config!r}; {advice}")
    from sensorium_jax.experiment import Experiment

    experiment = getattr(module, size, None)
    if not isinstance(experiment, Experiment):
        raise UserError(
            f"expected {size} = Experiment(...) in {config}, found {type(experiment).__name__}; "
            f"define it, or choose another --size"
        )
    return experiment


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"expected a config in {path}, found no file; check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None, "every file x.py has a loader"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file can raise anything
        raise UserError(
            f"expected a config in {path}, which fails ({type(error).__name__}: {error}); mend it"
        ) from error
    return module
