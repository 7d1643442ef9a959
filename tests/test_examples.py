"""The examples of docstrings run, and there are enough of them."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest
import small

from sensorium_jax import complete
from sensorium_jax.pages.terminal import make_console

PACKAGE = Path(__file__).parents[1] / "sensorium_jax"
WINGS = "models", "scores", "data", "runs", "stimuli"  # that users call
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "__main__.py":
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__")


def examples(module):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    return [test for test in found if test.examples]


WITH_EXAMPLES = [
    m for m in modules() if ">>>" in Path(importlib.util.find_spec(m).origin).read_text()
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_run(module):
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for test in examples(module):
        assert runner.run(test).failed == 0, test.name


def test_there_are_enough_of_them():
    counts = {
        wing: sum(len(examples(m)) for m in WITH_EXAMPLES if f".{wing}" in m) for wing in WINGS
    }
    assert sum(counts.values()) >= 60 and min(counts.values()) >= 4, counts


@pytest.mark.slow
def test_the_block_of_the_readme_runs(store, tmp_path, monkeypatch):
    """After the first command: a run of its name lies there, here a tiny one."""
    complete(
        small.experiment(),
        tmp_path / "runs/gru_baseline-demo",
        store=store,
        console=make_console(quiet=True),
    )
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE.parent / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert names["rate"].shape == (60, names["run"].recordings.sessions[0].neurons)


def test_the_readme_is_short_and_its_commands_are_those_of_ci():
    text = (PACKAGE.parent / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    ci = (PACKAGE.parent / ".ci/run").read_text()
    commands = re.findall(r"^pip install -e .* && .*$", text, re.M)
    assert len(commands) == 2 and all(command in ci for command in commands)


def test_links_of_the_documentation_lead_somewhere():
    for page in [PACKAGE.parent / "README.md", *(PACKAGE.parent / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
