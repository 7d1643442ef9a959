"""What subcommands share: exit codes, errors of one line, large pages, compiled programs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium_jax.cli.parser import Parser
from sensorium_jax.cli.signals import report_stop, signals_interrupt
from sensorium_jax.errors import DONE, USER_ERROR, Interrupted, UserError, hint, one_line
from sensorium_jax.pages.terminal import Console

Words = Mapping[str, tuple[Callable[[], Parser], Callable[[Any], int]]]


def exit_code(body: Callable[[], int]) -> int:
    """What ``body`` returns; one line and a code of errors.py for what its user can mend."""
    try:
        with signals_interrupt():
            return body()
    except KeyboardInterrupt:
        return report_stop()
    except Interrupted as stop:
        return report_stop(str(stop))
    except BrokenPipeError:  # whoever read the output has ended, as head does
        sys.stdout = open(os.devnull, "w")
        return DONE
    except Exception as error:
        print(f"error: {one_line(_cause(error))}", file=sys.stderr)
        return USER_ERROR


def _cause(error: Exception) -> Exception:
    """A missing device, where JAX fails because of that; else the error itself."""
    if "jax" in sys.modules and isinstance(error, RuntimeError | AssertionError):
        try:
            check_devices()
        except UserError as missing:
            return missing
    return error


def dispatch(command: str, about: str | None, words: Words, argv: Sequence[str]) -> int:
    """Run a subcommand whose second word, such as ``write`` of ``submit write``, says what it does.

    Args:
        command: the first word.
        about: printed by ``--help``.
        words: by second word, what makes its parser and what runs it.
        argv: the second word, and what follows it.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: sensorium-jax {command} {{{','.join(words)}}} ...\n\n{about}", end="")
        return DONE if argv else USER_ERROR
    word, *rest = argv
    if word not in words:
        print(f"error: no subcommand {command} {word!r}; {hint(word, words)}", file=sys.stderr)
        return USER_ERROR
    make_parser, run = words[word]
    flags = make_parser().parse_args(rest)
    return exit_code(lambda: run(flags))


def use_huge_pages() -> None:
    """Start this program again with memory in large pages, where Linux gives them to who asks.

    On a CPU the memory of every step is new to the process, and the kernel hands it out page by
    page: 4 KiB at a time that takes up to a third of a step. Asked through glibc's own tunable
    (2.35 and later), which only counts when a process starts.
    """
    variable, huge = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    name, version = platform.libc_ver()
    new_enough = name == "glibc" and tuple(map(int, version.split(".")[:2])) >= (2, 35)
    if new_enough and variable not in os.environ and setting.exists():
        if "[madvise]" in setting.read_text():
            os.environ[variable] = huge
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def check_devices() -> None:
    """Let JAX find its devices now, so that what is wrong with them is said in one line.

    Raises:
        UserError: JAX_PLATFORMS or the installation names what is not there.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        asked = os.environ.get("JAX_PLATFORMS")
        raise UserError(
            f"expected a device for JAX{f' (JAX_PLATFORMS={asked})' if asked else ''}, found none "
            f"({reason}); unset JAX_PLATFORMS, or pip install 'sensorium_jax[cuda]' (tpu: [tpu])"
        ) from None


def use_compilation_cache(console: Console) -> None:
    """Keep compiled programs between runs, in the user's cache."""
    import jax
    import platformdirs

    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if folder is None:
        folder = str(platformdirs.user_cache_path("sensorium_jax") / "xla")
        jax.config.update("jax_compilation_cache_dir", folder)
    console.print(f"Compiled programs are kept in {folder}")
