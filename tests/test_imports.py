"""Who may import whom: the arrows of the design, held by the syntax tree of every file."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sensorium_jax"
TORCH = Path("torch_import/__main__.py")  # which reads checkpoints

LEAVES = {"types", "protocol", "errors", "files", "pages", "programs", "_version"}
DATA = LEAVES | {"data", "simulate", "stimuli"}
ABOVE = {"model", "parallel", "metrics", "report", "results", "uncertainty"}
ALLOWED = {
    "types": set(),
    "protocol": set(),
    "errors": set(),
    "_version": set(),
    "files": {"errors"},
    "programs": {"errors"},
    "nn": {"types", "nn"},
    "cores": {"types", "nn", "cores"},
    "readouts": {"types", "nn", "readouts"},
    "shifters": {"types", "nn"},
    "modulators": {"types"},
    "losses": {"types"},
    "metrics": set(),
    "uncertainty": {"metrics"},
    "pages": {"files"},
    "figures": {"pages", "protocol", "report"},
    "report": {"errors", "metrics", "uncertainty", "pages", "figures"},
    "results": {"errors", "files", "report"},
    "compare": LEAVES | {"metrics", "report", "results", "uncertainty"},
    "leaderboard": LEAVES | {"report", "results"},
    "run_page": LEAVES | {"ensembles", "figures", "report", "run"},
    "stimuli": {"protocol", "errors", "files", "programs", "stimuli"},
    "model": {"types"},
    "optim": set(),
    "data": LEAVES | {"data"},
    "simulate": LEAVES | {"stimuli", "simulate", "data"},
    "demo": DATA,
    "parallel": {"model", "losses", "protocol", "types", "errors", "nn"},
    "evaluate": LEAVES | ABOVE | {"data"},
    "experiment": {
        "losses",
        "optim",
        "model",
        "errors",
        "cores",
        "readouts",
        "shifters",
        "modulators",
    },
    "checkpoint": {"types", "errors"},
    "metric_log": set(),
    "train": LEAVES
    | ABOVE
    | {"data", "checkpoint", "evaluate", "experiment", "metric_log", "optim"},
    "weights": {"types", "errors", "files", "_version", "model", "experiment"},
    "run": LEAVES
    | ABOVE
    | {"data", "checkpoint", "evaluate", "experiment", "weights", "streaming"},
    "streaming": {"model", "types", "protocol", "errors"},
    "pretrained": LEAVES | ABOVE | {"data", "demo", "experiment", "run", "weights"},
    "ensembles": LEAVES | ABOVE | {"data", "evaluate", "experiment", "run", "train"},
    "submission": LEAVES | {"data", "metrics", "evaluate", "ensembles", "submission"},
    "torch_import": LEAVES
    | {"torch_import", "cores", "readouts", "shifters", "nn", "model", "weights"},
}
NO_JAX = (DATA - {"types"}) | {"demo"}  # types: for checkers only


def imports(path):
    """(line, module) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            if node.module == "sensorium_jax":
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def test_imports_follow_the_design():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        unit = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if unit == "__init__":
            continue
        for line, module in imports(path):
            root, _, rest = module.partition(".")
            target = rest.partition(".")[0]
            if root == "sensorium_jax" and target not in ALLOWED[unit]:
                wrong.append(f"{path}:{line}: {unit} imports {module}")
            if unit in NO_JAX and root in ("jax", "flax", "optax", "orbax"):
                wrong.append(f"{path}:{line}: {unit} imports {module}; workers must not load jax")
            if root in ("experiments", "data_prep", "tests", "benchmarks"):
                wrong.append(f"{path}:{line}: the package imports {module}")
            if root == "torch" and path.relative_to(PACKAGE) != TORCH:
                wrong.append(f"{path}:{line}: {unit} imports {module}; only {TORCH} may")
    assert not wrong, "\n".join(wrong)
