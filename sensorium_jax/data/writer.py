"""Writing a store: every session atomically, complete or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from sensorium_jax._version import __version__
from sensorium_jax.data import digests
from sensorium_jax.data.format import (
    CHUNK_FRAMES,
    SESSION_FILE,
    STORE_FILE,
    VERSION,
    Trial,
    TrialTable,
    array_spec,
    is_session_record,
)
from sensorium_jax.errors import UserError
from sensorium_jax.files import write_json

ZSTD_LEVEL, LZ4_LEVEL = 3, 1
# Makes a session a group of zarr 3, and its statistics groups within: zarr.open_group(session).
GROUP_FILE, GROUP = "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}}


def check_store_folder(path: Path) -> None:
    """Raise ``UserError`` unless a folder is new, empty, or a store with nothing foreign in it.

    Beside sessions a store may hold tables and pages (.csv, .html), which commands of ours write.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"expected a folder for the store at {path}, found a file; name another")
    for entry in sorted(path.iterdir()) if path.exists() else ():
        hidden = entry.name.startswith(".") and entry.suffix in (".partial", ".replaced", ".lock")
        table = entry.suffix in (".csv", ".html") and entry.is_file()
        session = is_session_record(entry / SESSION_FILE, version=None)
        damaged = (path / STORE_FILE).exists() and entry.name in _listed(path)
        if not (hidden or table or session or damaged or entry.name == STORE_FILE):
            raise UserError(
                f"expected an empty folder or a store in {path}, found {entry.name}, which no "
                "conversion wrote: nothing was written; name another --out"
            )


def _listed(path: Path) -> list[str]:
    """The sessions that ``store.json`` names; none for a damaged one."""
    try:
        return list(json.loads((path / STORE_FILE).read_text(encoding="utf-8"))["sessions"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def recover(store: Path) -> None:
    """Bring sessions back whose replacement was killed half-way, and remove replaced ones."""
    for replaced in sorted(store.glob(".*.replaced")):
        folder = store / replaced.name.removeprefix(".").removesuffix(".replaced")
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            replaced.rename(folder)


def is_complete(store: Path, session: str, *, made_from: dict[str, Any]) -> bool:
    """Whether the store already holds a session made from the same recording and options.

    Examples:
        >>> is_complete(Path("nowhere"), "dynamic29515-10-12", made_from={"response": "float32"})
        False
    """
    file = store / session / SESSION_FILE
    return is_session_record(file) and json.loads(file.read_text()).get("made_from") == made_from


class SessionWriter:
    """Writes one session into a hidden folder, which is renamed once everything is written.

        with SessionWriter(store, name, trials=..., frames=..., neurons=..., ...) as writer:
            writer.write(0, trial)
            writer.finish(table, arrays, ...)
        finish_store(store)

    A writer that is killed leaves an earlier session of that name as it was.
    """

    def __init__(
        self,
        store: Path,
        name: str,
        *,
        trials: int,
        frames: int,
        neurons: int,
        image: tuple[int, int],
        video_dtype: str,
        response_dtype: str,
        simulated: bool,
    ):
        self._folder = store / name
        self._partial = store / f".{name}.partial"
        self._replaced = store / f".{name}.replaced"
        self._meta = {"neurons": neurons, "frames": frames, "simulated": simulated}
        self._shapes = {
            "video": (trials, frames, *image),
            "behavior": (trials, frames, 2),
            "pupil_center": (trials, frames, 2),
            "response": (trials, frames, neurons),
        }
        if simulated:
            self._shapes["rate"] = self._shapes["response"]
        self._dtypes = {name: "float32" for name in self._shapes}
        self._dtypes |= {"video": video_dtype, "response": response_dtype}
        self._pending: list[ts.WriteFutures] = []

    def __enter__(self) -> SessionWriter:
        shutil.rmtree(self._partial, ignore_errors=True)  # of a killed conversion
        self._arrays = {
            name: _create(
                self._partial / name, dtype=self._dtypes[name], shape=shape, chunk=CHUNK_FRAMES
            )
            for name, shape in self._shapes.items()
        }
        return self

    def write(self, row: int, trial: Trial, *, rate: np.ndarray | None = None) -> None:
        """Write one trial of T valid frames, and the true rate [T N] of a simulated mouse."""
        self._wait()  # for the previous trial: at most two are in memory
        fields = trial._asdict() | ({} if rate is None else {"rate": rate})
        self._pending = [
            self._arrays[name][row, : len(x)].write(x.astype(self._dtypes[name], copy=False))
            for name, x in fields.items()
        ]

    def finish(
        self,
        table: TrialTable,
        arrays: dict[str, np.ndarray],
        *,
        trial_files: int,
        made_from: dict[str, Any],
        provenance: dict[str, Any],
    ) -> None:
        """Write the trial table and the arrays of the whole session.

        Args:
            table: the trials.
            arrays: by name, such as "pooled/video_std".
            trial_files: number of file numbers of the recording, gaps included.
            made_from: recording and options, which ``is_complete`` compares.
            provenance: source, command and checksums, for people.
        """
        self._wait()
        for name, x in arrays.items():
            _create(self._partial / name, dtype=str(x.dtype), shape=x.shape).write(x).result()
        self._meta |= {
            "version": VERSION,
            "stores_zeros": True,  # every chunk has its file: a missing one is damage
            "trial_files": trial_files,
            "made_from": made_from,
            "provenance": {"written_by": f"sensorium_jax {__version__}", **provenance},
            "trials": {k: v.tolist() for k, v in table._asdict().items()},
        }
        parents = {(self._partial / name).parent for name in arrays} | {self._partial}
        for folder in parents:
            write_json(folder / GROUP_FILE, GROUP)
        write_json(self._partial / SESSION_FILE, self._meta)
        digests.write(self._partial)

    def _wait(self) -> None:
        for future in self._pending:
            future.result()
        self._pending = []

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if kind is None:  # the earlier session is there until the new one is, and removed after
            if self._folder.exists():
                self._folder.rename(self._replaced)
            self._partial.rename(self._folder)
            shutil.rmtree(self._replaced, ignore_errors=True)
            return
        for future in self._pending:
            future.exception()
        shutil.rmtree(self._partial, ignore_errors=True)


def _create(
    path: Path, *, dtype: str, shape: tuple[int, ...], chunk: int | None = None
) -> ts.TensorStore:
    """Make a zarr3 array: a shard a trial, of chunks of ``chunk`` frames; None: a single chunk."""
    shard = list(shape) if chunk is None else [1, *shape[1:]]
    inner = shard if chunk is None else [1, min(chunk, shape[1]), *shape[2:]]
    if chunk is not None:  # a shard holds a whole number of chunks
        shard[1] = -(-shape[1] // inner[1]) * inner[1]
    blosc_options = {
        "cname": "lz4",
        "clevel": LZ4_LEVEL,
        "shuffle": "bitshuffle",
        "typesize": np.dtype(dtype).itemsize,
        "blocksize": 0,
    }
    zstd = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL}}
    blosc = {"name": "blosc", "configuration": blosc_options}
    codecs = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        zstd if dtype == "uint8" else blosc,
        {"name": "crc32c"},
    ]
    metadata = {
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {"chunk_shape": inner, "codecs": codecs},
            }
        ],
    }
    options = {"metadata": metadata, "store_data_equal_to_fill_value": True}
    return ts.open(array_spec(path) | options, create=True).result()
