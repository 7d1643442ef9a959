"""The files of a session in the raw layout, in a folder or in a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from sensorium_jax.errors import UserError
from sensorium_jax.files import ZIP_ERRORS

TIERS_FILE = "meta/trials/tiers.npy"
MOST_BYTES = 2**30  # of one file; the largest files of the release have 27 MB
FETCH = "fetch that session again"


def is_zip(path: Path) -> bool:
    """Whether a path is a zip by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def session_roots(path: Path) -> list[str | None]:
    """Where a zip or folder holds sessions: folders in the zip; [None] for a folder or bad zip."""
    try:
        return [*zip_roots(path)] if is_zip(path) else [None]
    except UserError:  # whoever opens it tells
        return [None]


class FolderFiles:
    """Files of a session folder."""

    def __init__(self, path: Path):
        self._path, self.name = path, path.resolve().name

    def has(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        return (self._path / name).exists()

    def numbers(self, folder: str) -> set[int]:
        """The <i> of every <i>.npy in a folder."""
        return _numbers(p.name for p in (self._path / folder).glob("*.npy"))

    def read(self, name: str) -> bytes:
        """The bytes of a file; ``UserError`` if it is missing or damaged."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            raise UserError(f"expected {self._path / name}, which is missing; {FETCH}") from None
        except OSError as error:
            raise UserError(
                f"expected to read {self._path / name}, which failed ({error.strerror}); check its "
                "permissions and the disk"
            ) from None


class ZipFiles:
    """Files of a zipped session folder, as the release is published."""

    def __init__(self, path: Path, root: str | None = None):
        roots = zip_roots(path)
        if root is None and len(roots) != 1:
            raise UserError(
                f"expected one session (with {TIERS_FILE}) in {path}, found {len(roots)}; {FETCH}"
            )
        self._path, self._zip = path, _open_zip(path)
        self._root = roots[0] if root is None else root
        names = self._zip.namelist()
        self._names = {n.removeprefix(self._root) for n in names if n.startswith(self._root)}
        self.name = Path(self._root).name or path.stem

    def has(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        return any(n == name or n.startswith(f"{name}/") for n in self._names)

    def numbers(self, folder: str) -> set[int]:
        """The <i> of every <i>.npy in a folder."""
        return _numbers(Path(n).name for n in self._names if n.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes:
        """The bytes of a file; ``UserError`` if it is missing or damaged."""
        if name not in self._names:
            raise UserError(f"expected {self._path / name}, which is missing; {FETCH}")
        size = self._zip.getinfo(self._root + name).file_size
        if size > MOST_BYTES:
            raise UserError(
                f"expected {self._path / name} to hold at most {MOST_BYTES:,} bytes, it says "
                f"{size:,}: not a recording; {FETCH}"
            )
        try:
            return self._zip.read(self._root + name)
        except ZIP_ERRORS as error:
            raise UserError(
                f"expected {self._path / name}, which is damaged ({error}); {FETCH}"
            ) from None


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"expected a zip at {path}, which is damaged ({error}); {FETCH}") from None


def zip_roots(path: Path) -> list[str]:
    """The folders of a zip that hold a session, each as the beginning of its files' names.

    Raises:
        UserError: the zip is damaged, or holds no session.
    """
    with _open_zip(path) as archive:
        names = [n for n in archive.namelist() if not n.startswith("__MACOSX")]
    roots = [n.removesuffix(TIERS_FILE) for n in names if n.endswith(TIERS_FILE)]
    if not roots:
        raise UserError(f"expected a session (with {TIERS_FILE}) in {path}, found none; {FETCH}")
    return sorted(roots)


def _numbers(names: Iterable[str]) -> set[int]:
    stems = (name.removesuffix(".npy") for name in names if name.endswith(".npy"))
    return {int(stem) for stem in stems if stem.isascii() and stem.isdecimal()}
