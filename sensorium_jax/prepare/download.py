"""Fetch recordings of the SENSORIUM 2023 release, and unzip them."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import shutil
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sensorium_jax import protocol
from sensorium_jax.errors import UserError, is_full_disk
from sensorium_jax.files import read_json, write_json
from sensorium_jax.prepare.raw_files import TIERS_FILE

SERVER = "https://gin.g-node.org"
# Of the new and of the old mice (the dataset's page, lRomul/sensorium and ViV1T-closed-loop).
REPOSITORIES = "pollytur/sensorium_2023_dataset", "pollytur/Sensorium2023Data"
LICENCE = """The recordings are the work of the SENSORIUM 2023 organisers, under the licence
CC BY-NC-ND 4.0 (https://creativecommons.org/licenses/by-nc-nd/4.0): share them with attribution,
not for commerce, and not changed. (Stated in appendix A.8 of the competition's retrospective, which
is to be cited: https://arxiv.org/abs/2407.09100.)"""
# Sizes of the zips of the new mice in GB, and their SHA-256 as measured by another user: the
# organisers published neither. Of the old mice nobody did.
ZIP_GB = {"F": 9.5, "G": 8.9, "H": 9.9, "I": 9.7, "J": 10.0}
SHA256 = {
    "F": "24da060fe55e060f8aa67d5c23c04a5d9868f84487eba05a4daa24e8c722dba0",
    "G": "937a7046e911782c65011b51bb489798f93c7879bfcb2e318ccf62174f7e2dda",
    "H": "860592ab060d40a03be0c270da19a26cf63f751d31b1588ba99b89ff8e55171c",
    "I": "be7c9661aa652efbe00005b15b32a5cb4a8862a999dfcaa4bb99f9dec6457ddb",
    "J": "fcbbaa6c714a0e8f77f3cfaf50f435232036b21391cae998f336ac6b38b73516",
}
UNZIPPED_GB = {"new": 94 / 5, "old": 49 / 5}  # per mouse: float64 and float32 arrays
MOST_UNZIPPED_BYTES = 60 * 10**9  # three times the largest mouse: more is a zip bomb
BLOCK_BYTES = 2**20
TIMEOUT_S = 60
RETRY_AFTER_S = (1, 4, 16)
SAME_COMMAND = "the same command resumes where it stopped"
OnBytes = Callable[[int, int | None], None]  # bytes done, total
OnMouseBytes = Callable[[str, str, int, int | None], None]  # mouse, activity, bytes done, total


class Mouse(NamedTuple):
    """A mouse to fetch."""

    letter: str
    session: str
    url: str

    @property
    def set(self) -> str:
        """Either "new", for mice whose test responses are withheld, or "old"."""
        return "new" if self.letter in protocol.NEW_MICE else "old"

    @property
    def unzipped_gb(self) -> float:
        """Size of the unzipped session, in GB."""
        return UNZIPPED_GB[self.set]


def fetch_mouse(
    mouse: Mouse,
    out: Path,
    *,
    on_bytes: OnMouseBytes = lambda letter, what, done, total: None,
    keep_zip: bool = False,
    any_checksum: bool = False,
) -> None:
    """Fetch, check and unzip one mouse, and record its source in ``out/manifest.json``.

    Args:
        mouse: the mouse (``choose_mice``).
        out: folder of the sessions.
        on_bytes: called with the mouse's letter, the activity, the bytes done, and their total.
        keep_zip: keep the zip after unzipping.
        any_checksum: take a zip whose SHA-256 is not the one in ``SHA256``.

    Raises:
        UserError: as ``fetch`` and ``unzip``, or another SHA-256: the zip stays, and nothing is
            unzipped.
    """
    path = out / f"{mouse.session}.zip"

    def progress(activity: str) -> OnBytes:
        return lambda done, total: on_bytes(mouse.letter, activity, done, total)

    if not path.exists():
        fetch(mouse.url, path, on_bytes=progress("fetching"))
    digest = sha256(path, on_bytes=progress("checking"))
    size, expected = path.stat().st_size, SHA256.get(mouse.letter)
    if expected not in (None, digest) and not any_checksum:
        raise UserError(
            f"expected the SHA-256 {expected} of {path}, as somebody measured it (the organisers "
            f"published none), found {digest}: it was not unzipped; delete it to fetch it again, "
            "or say --any-checksum if you trust it"
        )
    unzip(path, out / mouse.session, on_bytes=progress("unzipping"))
    record = {
        "url": mouse.url,
        "bytes": size,
        "sha256": digest,
        "sha256_of_somebody_else": expected,
        "fetched": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    manifest = out / "manifest.json"
    records = read_json(manifest, advice="remove it") if manifest.exists() else {}
    write_json(manifest, records | {mouse.session: record})
    if not keep_zip:
        path.unlink()


# --- fetching -----------------------------------------------------------------------------------


def fetch(url: str, path: Path, *, on_bytes: OnBytes = lambda done, total: None) -> None:
    """Fetch a file; resumes from ``<path>.partial`` if there is one.

    Raises:
        UserError: there is no such server or file, the disk is full, or the connection fails
            repeatedly.
    """
    for wait in (*RETRY_AFTER_S, None):
        try:
            _fetch_rest(url, path, on_bytes)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 or wait is None:
                raise UserError(
                    f"expected {url}, the server says {error.code} ({error.reason}); check the "
                    "address in a browser, or name a mirror with --server"
                ) from None
        except (OSError, http.client.HTTPException) as error:
            if is_full_disk(error):
                raise
            if wait is None:
                raise UserError(
                    f"the connection to {url} broke off ({error or type(error).__name__}); "
                    f"{SAME_COMMAND}"
                ) from None
        time.sleep(wait)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another address, unless that can be read or changed on the way."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not _is_safe(newurl):
            raise UserError(
                f"expected an address of https:// behind {req.full_url}, the server says {newurl}; "
                "name a mirror with --server"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_safe(url: str) -> bool:
    """Whether an address is asked by https, or on this machine."""
    address = urllib.parse.urlsplit(url)
    if address.scheme == "http":
        return address.hostname in ("127.0.0.1", "localhost", "::1")
    return address.scheme == "https" and bool(address.hostname)


def _fetch_rest(url: str, path: Path, on_bytes: OnBytes) -> None:
    partial, tag = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.etag")
    done = partial.stat().st_size if partial.exists() and tag.exists() else 0
    request = urllib.request.Request(url)
    if done:  # request the remaining bytes if the file has not changed, else all
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", tag.read_text())
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        response = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:
            raise
        if error.headers["Content-Range"] == f"bytes */{done}":  # killed before the renaming
            partial.replace(path)
            tag.unlink()
            return
        partial.unlink()
        raise ConnectionError("what was there is longer than the file") from None
    with response:
        if response.status != 206:
            done = 0
        remaining = int(response.headers["Content-Length"] or 0)
        total = done + remaining if remaining else None
        _check_space(path.parent, remaining, f"the zip {path.name}")
        tag.write_text(response.headers["ETag"] or response.headers["Last-Modified"] or "")
        if not tag.read_text():
            tag.unlink()  # the server identifies no version: never resume
        with partial.open("ab" if done else "wb") as file:
            while block := response.read(BLOCK_BYTES):
                file.write(block)
                done += len(block)
                on_bytes(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"expected {total} bytes, got {done}")
    partial.replace(path)
    tag.unlink(missing_ok=True)


def sha256(path: Path, *, on_bytes: OnBytes = lambda done, total: None) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "empty").touch()
        ...     sha256(Path(folder) / "empty")[:16]
        'e3b0c44298fc1c14'
    """
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            on_bytes(done, total)
    return digest.hexdigest()


# --- unzipping ----------------------------------------------------------------------------------


def unzip(path: Path, folder: Path, *, on_bytes: OnBytes = lambda done, total: None) -> None:
    """Unzip one session to ``folder``, complete or not at all.

    The session may be a folder of the zip. Files that macOS added are ignored.

    Raises:
        UserError: the zip is damaged (it is then renamed, to be fetched again), has files that
            would be written outside of the folder, far too much data or no session, or the disk is
            full.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            total = sum(info.file_size for info, _ in members)
            if total > MOST_UNZIPPED_BYTES:
                raise UserError(
                    f"expected at most {MOST_UNZIPPED_BYTES / 1e9:.0f} GB in {path}, it says "
                    f"{total / 1e9:.0f} GB: not a recording; delete it"
                )
            _check_space(folder.parent, total, f"the files of {path.name}")
            done = 0
            for info, name in members:
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, BLOCK_BYTES)
                done += info.file_size
                on_bytes(done, total)
        partial.rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        damaged = path.with_name(f"{path.name}.damaged")
        path.replace(damaged)
        raise UserError(
            f"expected a sound zip at {path}, found damage ({error}); it is now {damaged.name}, "
            "and the same command fetches it again"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _members(archive: zipfile.ZipFile, path: Path) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of the session, with their names relative to its folder."""
    infos = [info for info in archive.infolist() if not info.is_dir() and not _added_by_macos(info)]
    for info in infos:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        link = stat.S_ISLNK(info.external_attr >> 16)
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or link:
            raise UserError(
                f"expected files of a recording in {path}, found {info.filename!r}, which would "
                "land elsewhere: nothing was unzipped; delete the zip"
            )
    roots = [i.filename.removesuffix(TIERS_FILE) for i in infos if i.filename.endswith(TIERS_FILE)]
    if len(roots) != 1:
        raise UserError(
            f"expected one session (with {TIERS_FILE}) in {path}, found {len(roots)}; delete the "
            "zip"
        )
    members = [info for info in infos if info.filename.startswith(roots[0])]
    return [(info, PurePosixPath(info.filename.removeprefix(roots[0]))) for info in members]


def _added_by_macos(info: zipfile.ZipInfo) -> bool:
    """Whether macOS added this file to the zip."""
    parts = PurePosixPath(info.filename).parts
    return "__MACOSX" in parts or parts[-1] == ".DS_Store"


def _check_space(folder: Path, size: int, content: str) -> None:
    """Raise ``UserError`` unless there are ``size`` bytes free in a folder."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"expected {size / 1e9:.1f} GB free in {folder} for {content}, found "
            f"{free / 1e9:.1f}; free some, and {SAME_COMMAND}"
        )


# --- choosing mice ------------------------------------------------------------------------------


def choose_mice(letters: str, server: str) -> list[Mouse]:
    """The mice of letters such as "A,F".

    Raises:
        UserError: an unknown letter, or none; a server that is not asked by https, unless it is on
            this machine.

    Examples:
        >>> [(mouse.letter, mouse.set) for mouse in choose_mice("a,F", SERVER)]
        [('A', 'old'), ('F', 'new')]
    """
    names = [letter.strip().upper() for letter in letters.split(",") if letter.strip()]
    unknown = [letter for letter in names if letter not in protocol.SESSIONS]
    if unknown or not names:
        valid = ", ".join(protocol.SESSIONS)
        raise UserError(f"expected mice of {valid}, got {', '.join(unknown) or 'none'}")
    if not _is_safe(server):
        raise UserError(f"expected an address of https:// as --server, got {server}; change it")
    return [
        Mouse(letter, session, f"{server}/{repository}/raw/master/{session}.zip")
        for letter in dict.fromkeys(names)
        for session in [protocol.SESSIONS[letter]]
        for repository in [REPOSITORIES[letter not in protocol.NEW_MICE]]
    ]
