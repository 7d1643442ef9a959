"""Small files: read with a clear word when damaged, written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import hashlib
import io
import json
import lzma
import math
import os
import platform
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from sensorium_jax.errors import UserError

# What Python raises for damaged zips, and for headers of .npy files, which are Python literals.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    RuntimeError,  # encrypted
    NotImplementedError,  # of an unknown method
    ValueError,
)
_HEADER_ERRORS = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)
# CPython 3.11 sometimes fails (SystemError: "AST constructor recursion depth mismatch") when
# several threads parse literals at once.
_HEADER_LOCK = threading.Lock()
DIGEST = "digest"  # key of a sealed JSON file
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}  # of file systems without locks


def read_json(path: Path, *, advice: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Parse a JSON file of one object that has these keys; the digest of a sealed one is compared.

    Raises:
        UserError: it is missing, damaged or of other content; the message ends with ``advice``.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"expected {path}, which is missing; {advice}") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8
        raise UserError(f"expected JSON in {path}, which is damaged ({error}); {advice}") from None
    if not isinstance(value, dict):
        raise UserError(f"expected a JSON object in {path}, found {type(value).__name__}; {advice}")
    if DIGEST in value and value.pop(DIGEST) != _json_digest(value):
        raise UserError(f"expected {path} as it was written, found it changed; {advice}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise UserError(f"expected {', '.join(missing)} in {path}, found no such key; {advice}")
    return value


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to, renamed at the end: a reader never sees half a file.

    When writing fails, what was written is removed, and ``path`` is as it was.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, values: Any, *, sealed: bool = False) -> None:
    """Write values as JSON, whole or not at all; see ``plain``.

    Args:
        path: the file.
        values: what is written.
        sealed: add the digest of a dictionary, which ``read_json`` compares.
    """
    values = plain(values)
    if sealed:
        values = {**values, DIGEST: _json_digest(values)}
    with whole_file(path) as beside:
        beside.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")


def _json_digest(values: dict[str, Any]) -> str:
    """SHA-256 of values as JSON gives them back, whatever the order of their keys."""
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """Values as JSON has them: lists, NumPy numbers as Python's, null for what is not finite.

    Examples:
        >>> plain({"a": (1, float("nan")), "b": np.float32(0.5)})
        {'a': [1, None], 'b': 0.5}
    """
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_array(data: bytes) -> np.ndarray:
    """The array of an .npy file, without a copy; object arrays are refused, never unpickled.

    Raises:
        ValueError: it is damaged, or of another length than its header says; on one line.
    """
    try:
        return _read_array(data)
    except _HEADER_ERRORS as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None


def _read_array(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    with _HEADER_LOCK:
        shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    size, found = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if size != found:
        raise ValueError(f"its header says {size:,} bytes of {dtype} {shape}, it has {found:,}")
    x = np.frombuffer(data, dtype, count=math.prod(shape), offset=file.tell())
    return x.reshape(shape, order="F" if fortran else "C")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, with their checksums, which ``np.load`` does not always check.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged; on one line.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.comment for info in archive.infolist()):  # damage: it swallows what follows
                raise ValueError("its directory is damaged")
            files = {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        raise
    except (*ZIP_ERRORS, KeyError) as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None
    return {name.removesuffix(".npy"): read_array(data) for name, data in files.items()}


def read_json_lines(path: Path) -> list[dict[str, float]]:
    """The lines of a log: JSON objects of numbers, with "step" and "time"; damaged ones left out.

    A crash of the machine can leave a line that is cut off, or of zero bytes.
    """
    values = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict) or not {"step", "time"} <= value.keys():
            continue
        if all(isinstance(x, int | float) for x in value.values()):
            values.append(value)
    return values


def check_path(path: Path) -> None:
    """Raise ``UserError`` for a path that tensorstore cannot take: not UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        text = str(path).encode("utf-8", "backslashreplace").decode()
        raise UserError(f"expected a path in UTF-8, got {text}; name another folder") from None


def refuse_overlap(out: Path, sources: Iterable[Path], *, option: str) -> None:
    """Raise ``UserError`` where an output folder is, holds or lies in what is read.

    Args:
        out: the folder that is to be written.
        sources: files and folders that are read.
        option: the option that names ``out``.
    """
    place = out.resolve()
    for source in sources:
        read = source.resolve()
        if place == read or place in read.parents or read in place.parents:
            raise UserError(
                f"expected {option} apart from what is read, found {out} beside or around "
                f"{source}: nothing was written; name another {option}"
            )


def check_output(path: Path, *marks: bytes, option: str = "--out") -> None:
    """Raise ``UserError`` for an output file that exists already and is not the command's own.

    Args:
        path: the file that is to be written.
        marks: bytes that an earlier output of the command holds; none: no file is replaced.
        option: the option that names ``path``.
    """
    if not os.path.lexists(path):
        return
    if marks and path.is_file():
        content = path.read_bytes()
        if all(mark in content for mark in marks):
            return
    written = ", or one that this command wrote," if marks else ""
    raise UserError(
        f"expected a new file{written} as {option}, found {path}, which is left as it is; "
        f"name another {option}"
    )


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold a lock for this process; whatever ends it, even a kill, the lock is free again.

    Where the file system has no locks, as some on clusters, this does nothing.

    Args:
        path: of the lock file, which is removed at the end.
        wait: wait for another holder, in place of an error.
        say: told once what is waited for.

    Raises:
        UserError: another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+") as file:
            _acquire(file, path, wait=wait, say=say)
            if not _is_at(file, path):  # its holder removed it meanwhile
                continue
            started = datetime.datetime.now().isoformat(timespec="seconds")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, started {started}")
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _acquire(file: IO[str], path: Path, *, wait: bool, say: Callable[[str], None]) -> None:
    """Lock an open file; ``UserError`` if another process holds it and ``wait`` is False."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        if not wait:
            raise UserError(
                f"{path.parent} is in use by {holder}; wait until it has ended, or name another"
            ) from None
        say(f"Waiting for {path.parent}, in use by {holder}")
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
