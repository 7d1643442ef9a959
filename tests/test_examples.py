"""The examples of docstrings run, and there are enough of them."""

import doctest
import importlib.util
from pathlib import Path

import pytest

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
