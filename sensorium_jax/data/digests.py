"""Digests of a session's files: whether each holds what was written, in its own place.

``digests.json`` of a session has one for every file of its folder; ``store.json`` has one of every
session's ``digests.json``. A file of numbers is a shard: chunks, each with its crc32c behind it,
and an index of them. tensorstore compares these checksums with what it reads, but a whole shard in
another's place passes. So the digest of a shard is

    sha256(index, crc32c of every chunk)

which costs a few bytes of reading; together with tensorstore's own checks it holds every byte and
its place. That of any other file is the sha256 of all its bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from pathlib import Path

from sensorium_jax.files import read_json, write_json

NAME = "digests.json"
_ENTRY, _CHECKSUM = 16, 4  # bytes of a chunk's entry in the index (offset, length), and of a crc32c
_ABSENT = 2**64 - 1  # offset of a chunk that holds zeros only


class Digests:
    """The digests of a session's files, each compared once, when the file is first used.

    A session of before version 0.2 has none: nothing of it is compared.
    """

    def __init__(self, folder: Path, *, advice: str):
        self._folder = folder
        record = folder / NAME
        self._expected = read_json(record, advice=advice)["files"] if record.exists() else None
        self._checked: set[str] = set()

    def check(self, name: str) -> None:
        """Compare a file, by its path in the session's folder, unless that was done before.

        Raises:
            ValueError: it is another one than was written, or missing.
        """
        if self._expected is None or name in self._checked:
            return
        if name not in self._expected:
            raise ValueError(f"{name} is none of the files that were written")
        if not (self._folder / name).is_file():
            raise ValueError("its file is missing")
        if digest(self._folder, name) != self._expected[name]:
            raise ValueError(f"{name} is not as it was written")
        self._checked.add(name)

    def names(self) -> list[str]:
        """The files that were written; [] of a session of before version 0.2."""
        return sorted(self._expected or ())


def write(folder: Path) -> None:
    """Write the digests of all files of a session."""
    names = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file())
    files = {name: digest(folder, name) for name in names if name != NAME}
    write_json(folder / NAME, {"files": files}, sealed=True)


def digest(folder: Path, name: str) -> str:
    """The digest of a file of a session, by its path in the session's folder.

    Raises:
        OSError: it cannot be read.
    """
    array, chunk, _ = name.partition("/c/")
    if not chunk:
        return hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return _digest_shard(folder / name, chunks=_chunks_per_shard(folder / array))


def _digest_shard(path: Path, *, chunks: int) -> str:
    """sha256 of a shard's index and of the checksum behind each of its chunks."""
    sha = hashlib.sha256()
    file = os.open(path, os.O_RDONLY)
    try:
        length = _ENTRY * chunks + _CHECKSUM
        index = os.pread(file, length, max(os.fstat(file).st_size - length, 0))
        sha.update(index)
        for place in range(0, _ENTRY * chunks, _ENTRY):
            offset, size = (int.from_bytes(index[i : i + 8], "little") for i in (place, place + 8))
            if offset != _ABSENT:
                sha.update(_checksum(file, offset + size))
    finally:
        os.close(file)
    return sha.hexdigest()


def _checksum(file: int, end: int) -> bytes:
    """The checksum that ends at a place of a shard; nothing where a damaged index leads astray."""
    return os.pread(file, _CHECKSUM, end - _CHECKSUM) if _CHECKSUM <= end < 2**63 else b""


def _chunks_per_shard(array: Path) -> int:
    """Number of chunks in every shard of an array, by its ``zarr.json``."""
    file = array / "zarr.json"
    return _count_chunks(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _count_chunks(file: Path, changed: int) -> int:
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
        shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        (codec,) = (c for c in metadata["codecs"] if c["name"] == "sharding_indexed")
        chunk = codec["configuration"]["chunk_shape"]
        return math.prod(a // b for a, b in zip(shard, chunk, strict=True))
    except (ValueError, KeyError, TypeError, RecursionError, ZeroDivisionError) as error:
        raise ValueError(f"{file.name} of the array is damaged ({error})") from None
