"""Sessions beside the tests: ``nox -s tests-3.12``, ``nox -s lowest``, ``nox -s wheel``, ...

pip install nox && nox --list
"""

from pathlib import Path

import nox

PYTHONS = "3.11", "3.12", "3.13"
nox.options.sessions = ["style", "types", f"tests-{PYTHONS[0]}"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests on one version of Python; words after -- go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The quick tests with the lowest versions that pyproject.toml claims and that fit together."""
    session.install("uv")
    session.run("uv", "pip", "install", "--resolution", "lowest-direct", "-e", ".[test]")
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session(python=PYTHONS[0])
def torch(session: nox.Session) -> None:
    """The tests that need PyTorch: reading checkpoints, and the benchmark against it."""
    session.install("-e", ".[test,bench]")
    session.run("pytest", "-m", "torch", *session.posargs)


@nox.session(python=PYTHONS[0])
def style(session: nox.Session) -> None:
    """Style of every file."""
    session.install("ruff>=0.12")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=PYTHONS[0])
def types(session: nox.Session) -> None:
    """Types of the package."""
    session.install("-e", ".[test]", "pyright")
    session.run("pyright")


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """The wheel in a clean environment, outside of the checkout: trains, and finds its data."""
    session.install("build")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--wheel", "--outdir", folder)
    (built,) = Path(folder).glob("*.whl")
    session.install("--force-reinstall", str(built))
    session.run("python", str(Path("tests/wheel.py").resolve()))
