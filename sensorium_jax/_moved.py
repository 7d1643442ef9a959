"""Names of modules from before version 0.2: they go on being imported, and say what to import now.

Nothing in the package imports by these names.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from types import CodeType, ModuleType

PACKAGE = __name__.partition(".")[0]

# Short names that stay, each with all of its submodules.
SHORT = {
    "cores": "models.cores",
    "losses": "models.losses",
    "metrics": "scores.metrics",
    "modulators": "models.modulators",
    "optim": "experiment.optim",
    "readouts": "models.readouts",
    "shifters": "models.shifters",
}

# Names that warn: where what was in them is now.
MOVED = {
    "checkpoint": ("runs.checkpoint",),
    "compare": ("scores.compare",),
    "data.convert": ("prepare.convert",),
    "data.doctor": ("prepare.doctor",),
    "data.labels": ("prepare.labels",),
    "data.nwb": ("prepare.nwb",),
    "data.raw": ("prepare.raw",),
    "data.recording": ("prepare.recording", "prepare.survey"),
    "data.release": ("prepare.release",),
    "data.stored": ("prepare.stored",),
    "demo": ("simulate.demo",),
    "ensembles": ("runs.ensembles", "training.ensemble"),
    "evaluate": ("runs.predictions", "scores.evaluate", "scores.tally"),
    "figures": ("pages.figures",),
    "leaderboard": ("scores.published",),
    "metric_log": ("training.metric_log",),
    "model": ("models", "models.model", "models.inputs", "models.streaming"),
    "nn": ("models.nn",),
    "pretrained": ("runs.pretrained",),
    "programs": ("cli.programs", "pages.terminal"),
    "report": ("scores.report", "scores.score"),
    "results": ("scores.results",),
    "run": ("runs.run", "runs.workdir", "scores.evaluate"),
    "run_page": ("pages.run",),
    "stimuli.pictures": ("pages.stimuli",),
    "streaming": ("models.streaming",),
    "train": ("training", "training.loop", "errors"),
    "uncertainty": ("scores.intervals",),
    "weights": ("runs.weights",),
}
ELSEWHERE = {  # modules that stay, some of whose names are in others now
    "data.format": ("data.writer",),
    "data.pipeline": ("data.recordings",),
    "parallel": ("parallel",),
    "simulate.neurons": ("simulate.population",),
}
NAMES = {  # that changed
    "go_on": "step",
    "known": "find_mouse",
    "Memory": "Carry",
    "of_sessions": "select_sessions",
    "Moments": "RunningMoments",
    "Partial": "DefinedMean",
    "DRAWN": "INTERVAL_SCORES",
    "SHOWN": "TITLES",
    "in_turn": "first_process_first",
    "replicated": "replicated_sharding",
    "score_all": "evaluate_tiers",
    "session_bars": "bars",
}

# Programs that were run as ``python -m sensorium_jax.NAME``: the subcommand that each is now.
PROGRAMS = {
    "compare": "compare",
    "data.doctor": "examine",
    "leaderboard": "leaderboard",
    "stimuli.__main__": "stimuli",
    "submission.__main__": "submit",
    "torch_import.__main__": "import-torch",
}


def look_up(module: str, name: str):
    """A name that is no longer in a module, from where it is now, with a warning.

    Raises:
        AttributeError: it never was there.
    """
    for place in ELSEWHERE[module.removeprefix(f"{PACKAGE}.")]:
        new = importlib.import_module(f"{PACKAGE}.{place}")
        name_now = NAMES.get(name, name)
        if not name.startswith("_") and name_now in vars(new):
            _warn(f"{module}.{name}", f"{new.__name__} {name_now}")
            return getattr(new, name_now)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class Facade(ModuleType):
    """A module of before: its names are looked up where they are now."""

    def __init__(self, old: str, places: tuple[str, ...]):
        super().__init__(f"{PACKAGE}.{old}", f"See {', '.join(f'{PACKAGE}.{p}' for p in places)}.")
        self._places = places

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        modules = [importlib.import_module(f"{PACKAGE}.{place}") for place in self._places]
        for candidate in (name, NAMES.get(name, name)):
            for module in modules:
                if hasattr(module, candidate):
                    return getattr(module, candidate)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Loader(importlib.abc.InspectLoader):
    """Gives the module, or a facade of several, that stands behind an old name."""

    def __init__(self, module: ModuleType | None, program: str | None):
        self._module, self._program = module, program
        self._spec = getattr(module, "__spec__", None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """The module was executed in its own place, whose spec it keeps."""
        module.__spec__ = self._spec or module.__spec__

    def get_source(self, fullname: str) -> None:
        return None

    def get_code(self, fullname: str) -> CodeType:
        """What ``python -m`` runs."""
        source = f"from {PACKAGE}.cli.main import start_moved; start_moved({self._program!r})"
        return compile(source, fullname, "exec")


class Finder(importlib.abc.MetaPathFinder):
    """Finds modules by the names in the tables, and no others."""

    def find_spec(self, fullname: str, path=None, target=None):
        package, _, old = fullname.partition(".")
        if package != PACKAGE or not old:
            return None
        if old in MOVED and old not in ("nn", "data.doctor"):
            new = " and ".join(f"{PACKAGE}.{place}" for place in MOVED[old])
            _warn(fullname, new)
            module = Facade(old, MOVED[old])
        elif old in PROGRAMS and old not in MOVED:
            module = ModuleType(fullname)
        else:
            new = _renamed(old)
            if new is None:
                return None
            if old.partition(".")[0] not in SHORT:
                _warn(fullname, f"{PACKAGE}.{new}")
            module = importlib.import_module(f"{PACKAGE}.{new}")
        loader = _Loader(module, PROGRAMS.get(old))
        return importlib.machinery.ModuleSpec(fullname, loader, origin="moved")


def _renamed(old: str) -> str | None:
    """The new name of a module that moved as it was; None for any other."""
    for prefix, new in {**SHORT, "nn": "models.nn", "data.doctor": "prepare.doctor"}.items():
        if old == prefix or old.startswith(f"{prefix}."):
            return new + old.removeprefix(prefix)
    return None


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} moved: import from {new}", DeprecationWarning, stacklevel=3)


def install() -> None:
    """Let modules be imported by the tables; called once, by the package.

    First of all finders: the others would load a module of an aliased package a second time.
    """
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
