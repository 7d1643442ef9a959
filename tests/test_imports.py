"""Who may import whom: one row a wing, held by the syntax tree of every file, both ways."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sensorium_jax"
GROUND = {"types", "protocol", "errors", "files", "tables"}
TABLE = {  # wing: the wings that it imports from, besides itself
    "types": set(),
    "protocol": set(),
    "errors": set(),
    "_version": set(),
    "_moved": set(),
    "tables": set(),
    "files": {"errors"},
    "models": {"types", "protocol", "errors"},
    "experiment": {"models", "errors"},
    "configs": {"models", "experiment", "errors"},
    "stimuli": {"protocol", "errors"},
    "data": {"types", "protocol", "errors", "files", "_version", "_moved"},
    "parallel": {"models", "types", "protocol", "errors", "_moved"},
    "prepare": {"data", "scores", "protocol", "errors", "files"},
    "scores": {"data", *GROUND},
    "simulate": {"prepare", "data", "stimuli", "protocol", "errors", "files", "types", "_moved"},
    "runs": {"models", "experiment", "data", "parallel", "prepare", "scores", "simulate"}
    | {"types", "protocol", "errors", "files", "_version"},
    "pages": {"models", "runs", "scores", "prepare", "stimuli", *GROUND, "_version"},
    "submission": {"runs", "scores", "data", "protocol", "errors", "files"},
    "torch_import": {"models", "runs", "types", "protocol", "errors", "files"},
    "training": {"models", "experiment", "data", "parallel", "scores", "simulate", "runs", "pages"}
    | {"types", "protocol", "errors", "files"},
    "studies": {"models", "experiment", "configs", "data", "scores", "pages", "training"}
    | {"protocol", "errors", "files"},
    "cli": {"configs", "data", "experiment", "pages", "prepare", "runs", "scores", "simulate"}
    | {"stimuli", "studies", "submission", "torch_import", "training"}
    | {"types", "protocol", "errors", "files", "tables", "_version"},
    "__main__": {"cli"},
}
HOLDERS = {  # packages that one place of ours alone imports
    "flax": {"models"},
    "orbax": {"runs/checkpoint.py"},
    "rich": {"pages"},
    "matplotlib": {"pages"},
    "torch": {"torch_import/convert.py"},
    "absl": {"cli"},
    "optuna": {"studies/search.py"},
}
NO_JAX = {*GROUND, "_version", "_moved", "data", "prepare", "scores", "stimuli", "simulate"}
OUTSIDE = {"experiments", "data_prep", "tests", "benchmarks", "tools"}


def imports(path):
    """(line, module) of every import in a file, but for type checkers."""
    tree = ast.parse(path.read_text())
    checked = [
        n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
    ]
    ignored = {id(child) for n in checked for part in n.body for child in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def files():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if parts != ("__init__.py",):
            yield path, parts[0].removesuffix(".py")


def arrows():
    """wing -> {wing it imports: where}"""
    found = {}
    for path, wing in files():
        for line, module in imports(path):
            package, _, rest = module.partition(".")
            if package == "sensorium_jax" and (target := rest.partition(".")[0]) != wing:
                found.setdefault(wing, {}).setdefault(target, f"{path}:{line}")
    return found


def test_every_wing_imports_what_its_row_allows_and_all_of_it():
    found = arrows()
    wrong = [
        f"{where}: {wing} imports {target}, which its row does not allow"
        for wing, targets in found.items()
        for target, where in targets.items()
        if target not in TABLE[wing]
    ]
    wrong += [
        f"the row of {wing} allows {target}, which nothing there imports"
        for wing, allowed in TABLE.items()
        for target in sorted(allowed - set(found.get(wing, ())))
    ]
    assert not wrong, "\n".join(wrong)
    assert set(TABLE) == {wing for _, wing in files()}


@pytest.mark.parametrize("package", HOLDERS)
def test_a_package_is_imported_in_its_place_alone(package):
    wrong, places = [], set()
    for path, wing in files():
        name = path.relative_to(PACKAGE).as_posix()
        for line, module in imports(path):
            if module.partition(".")[0] == package:
                places |= {wing, name} & HOLDERS[package]
                if not {wing, name} & HOLDERS[package]:
                    wrong.append(f"{path}:{line}: imports {module}")
    assert not wrong, "\n".join(wrong)
    assert places == HOLDERS[package]


def test_shard_map_is_used_by_parallel_alone():
    users = {wing for path, wing in files() if "shard_map(" in path.read_text()}
    assert users == {"parallel"}


def test_the_package_imports_nothing_around_it():
    wrong = [
        f"{path}:{line}: imports {module}"
        for path, _ in files()
        for line, module in imports(path)
        if module.partition(".")[0] in OUTSIDE
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_between_wings_or_files():
    wings = {wing: set(targets) for wing, targets in arrows().items()}
    modules = {}
    for path, _ in files():
        name = ".".join(("sensorium_jax", *path.relative_to(PACKAGE).with_suffix("").parts))
        modules[name.removesuffix(".__init__")] = path
    by_file = {
        name: {found for _, module in imports(path) if (found := nearest(module, modules)) != name}
        for name, path in modules.items()
    }
    for graph in (wings, by_file):
        assert not circle(graph)


def nearest(module, modules):
    """The module of ours that an import loads; the importer's own for others."""
    while module and module not in modules:
        module = module.rpartition(".")[0]
    return module


def circle(graph):
    """Some nodes that import each other in a ring; [] if there are none."""
    state = {}

    def visit(node, way):
        if state.get(node) == "done" or not node:
            return []
        if node in way:
            return way[way.index(node) :]
        for target in sorted(graph.get(node, ())):
            if ring := visit(target, [*way, node]):
                return ring
        state[node] = "done"
        return []

    return next((ring for node in sorted(graph) if (ring := visit(node, []))), [])


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c"]
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


@pytest.mark.parametrize("wing", sorted(NO_JAX))
def test_numbers_and_data_load_no_jax(wing):
    """Workers that read trials must not touch a device."""
    names = [
        ".".join(("sensorium_jax", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path, unit in files()
        if unit == wing and path.name not in ("__main__.py", "pipeline.py")
    ]
    code = f"import sys, {', '.join(names)}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
