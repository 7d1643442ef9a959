"""Fetching the release from a server on this machine that breaks off, lies and sends rubbish."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from typing import NamedTuple

import numpy as np
import pytest

from sensorium_jax import protocol
from sensorium_jax.cli import fetch
from sensorium_jax.errors import UserError
from sensorium_jax.prepare import download

SESSION = protocol.SESSIONS["F"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download, "RETRY_AFTER_S", (0, 0))


class Asked(NamedTuple):
    """What the server was asked, and how much it sent."""

    start: int
    sent: int


class Server:
    """Serves one file at every address, in the ways that tests choose."""

    def __init__(self):
        self.content = b""
        self.breaks = []  # after so many bytes, one a request
        self.ranges, self.length, self.status, self.etag = True, None, None, '"1"'
        self.redirect = None
        self.asked: list[Asked] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        if self.redirect:
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.end_headers()
            return
        if self.status:
            self.asked.append(Asked(0, 0))
            request.send_error(self.status)
            return
        start = 0
        wanted = request.headers["Range"]
        if wanted and self.ranges and request.headers["If-Range"] == self.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content) and start:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        length = len(body) if self.length is None else self.length
        request.send_header("Content-Length", str(length))
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        body = body[: self.breaks.pop(0)] if self.breaks else body
        self.asked.append(Asked(start, len(body)))
        request.wfile.write(body)


@pytest.fixture
def server():
    server = Server()
    server.content = session_zip()
    yield server
    server.http.shutdown()


def session_zip(top=f"{SESSION}/", *, more=()):
    """The zip of a session of one file beside its tiers, which does not compress."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        tiers = io.BytesIO()
        np.save(tiers, np.array(["train"]))
        archive.writestr(f"{top}meta/trials/tiers.npy", tiers.getvalue())
        noise = np.random.default_rng(0).bytes(300_000)
        archive.writestr(f"{top}data/videos/0.npy", noise)
        archive.writestr("__MACOSX/._data", b"x")
        archive.writestr(f"{top}.DS_Store", b"x")
        for name, content in more:
            archive.writestr(name, content)
    return out.getvalue()


def run(server, out, *more):
    words = "--mice", "F", "--yes", "--any-checksum", "--server", server.url
    return fetch.main(["--out", str(out), *words, *more])


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


WHOLE = {"meta/trials/tiers.npy", "data/videos/0.npy"}


@pytest.mark.parametrize("top", [f"{SESSION}/", "", "deeper/still/"])
def test_a_mouse_is_fetched_unzipped_and_recorded(top, server, tmp_path, capsys):
    server.content = session_zip(top)
    assert run(server, tmp_path) == 0
    assert files(tmp_path / SESSION) == WHOLE
    assert {p.name for p in tmp_path.iterdir()} == {SESSION, "manifest.json"}
    record = json.loads((tmp_path / "manifest.json").read_text())[SESSION]
    digest = hashlib.sha256(server.content).hexdigest()
    assert record["sha256"] == digest and record["bytes"] == len(server.content)
    assert record["url"].endswith(f"sensorium_2023_dataset/raw/master/{SESSION}.zip")
    out = " ".join(capsys.readouterr().out.split())
    assert "CC BY-NC-ND 4.0" in out
    assert record["sha256_of_somebody_else"] == download.SHA256["F"]


def test_another_checksum_is_refused_before_anything_is_unzipped(server, tmp_path, capsys):
    words = ["--out", str(tmp_path), "--mice", "F", "--yes", "--server", server.url]
    assert fetch.main(words) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert f"expected the SHA-256 {download.SHA256['F']}" in out and "--any-checksum" in out
    assert {p.name for p in tmp_path.iterdir()} == {f"{SESSION}.zip"}
    assert run(server, tmp_path) == 0 and files(tmp_path / SESSION) == WHOLE


@pytest.mark.parametrize(
    "server", ["http://gin.g-node.org", "file:///etc", "ftp://x", "gin.g-node.org", "https://"]
)
def test_only_https_is_asked(server, tmp_path, capsys):
    assert fetch.main(["--out", str(tmp_path), "--yes", "--server", server]) == 2
    assert "expected an address of https://" in capsys.readouterr().err


def test_what_is_there_is_not_fetched_again(server, tmp_path, capsys):
    run(server, tmp_path)
    asked = list(server.asked)
    assert run(server, tmp_path) == 0
    assert server.asked == asked and "is there already" in capsys.readouterr().out


def test_zips_may_be_kept(server, tmp_path):
    assert run(server, tmp_path, "--keep-zips") == 0
    assert (tmp_path / f"{SESSION}.zip").read_bytes() == server.content


def test_a_broken_connection_goes_on_at_once(server, tmp_path):
    server.breaks = [100_000, 50_000]
    assert run(server, tmp_path) == 0
    size = len(server.content)
    assert server.asked == [(0, 100_000), (100_000, 50_000), (150_000, size - 150_000)]


def test_the_same_command_goes_on(server, tmp_path, capsys):
    server.breaks = [1000] * 3
    assert run(server, tmp_path) == 2
    error = capsys.readouterr().out
    assert "broke off" in error and "the same command resumes" in error
    assert run(server, tmp_path) == 0
    assert server.asked[3].start == 3000 and files(tmp_path / SESSION) == WHOLE


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges, server.breaks = False, [100_000]
    assert run(server, tmp_path) == 0
    assert server.asked == [(0, 100_000), (0, len(server.content))]


def test_another_file_by_now_starts_over(server, tmp_path):
    server.breaks = [1000] * 3
    run(server, tmp_path)
    server.content, server.etag = session_zip(more=[("new", b"x")]), '"2"'
    assert run(server, tmp_path) == 0
    assert server.asked[3].start == 0


def test_a_file_that_nothing_tells_from_another_starts_over(server, tmp_path):
    server.etag, server.breaks = None, [1000]
    assert run(server, tmp_path) == 0
    assert [asked.start for asked in server.asked] == [0, 0]


def test_killed_before_the_renaming(server, tmp_path):
    path = tmp_path / f"{SESSION}.zip"
    path.with_name(f"{path.name}.partial").write_bytes(server.content)
    path.with_name(f"{path.name}.etag").write_text(server.etag)
    assert run(server, tmp_path) == 0
    assert not server.asked and files(tmp_path / SESSION) == WHOLE


def test_more_there_than_there_is(server, tmp_path):
    path = tmp_path / f"{SESSION}.zip"
    path.with_name(f"{path.name}.partial").write_bytes(server.content + b"more")
    path.with_name(f"{path.name}.etag").write_text(server.etag)
    assert run(server, tmp_path) == 0
    assert server.asked == [(0, len(server.content))]


@pytest.mark.parametrize("length, words", [(10**6, "broke off"), (1000, "found damage")])
def test_a_length_that_is_a_lie(length, words, server, tmp_path, capsys):
    server.length, server.ranges = length, False
    assert run(server, tmp_path) == 2
    assert words in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / SESSION).exists()


@pytest.mark.parametrize("status, requests", [(404, 1), (403, 1), (503, 3)])
def test_a_server_that_refuses(status, requests, server, tmp_path, capsys):
    server.status = status
    assert run(server, tmp_path) == 2
    assert f"the server says {status}" in " ".join(capsys.readouterr().out.split())
    assert len(server.asked) == requests


def test_no_server(tmp_path, capsys):
    flags = ["--out", str(tmp_path), "--mice", "F", "--yes", "--server", "http://127.0.0.1:9"]
    assert fetch.main(flags) == 2
    assert "the connection to http://127.0.0.1:9/" in capsys.readouterr().out


def test_one_mouse_that_fails_does_not_stop_the_others(server, tmp_path):
    server.breaks = [10, 10, 10]  # all tries of the first
    assert run(server, tmp_path, "--mice", "G,F") == 2
    assert files(tmp_path / SESSION) == WHOLE


# --- zips ---------------------------------------------------------------------------------------


def damaged(data):
    return data[:150_000] + bytes(100) + data[150_100:]


def linked():
    out = io.BytesIO(session_zip())
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo(f"{SESSION}/data/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def escaping(name):
    return session_zip(more=[(name, b"x")])


ZIPS = {
    "cut short": (session_zip()[:-500], "found damage"),
    "damaged": (damaged(session_zip()), "found damage"),
    "no zip": (b"<html>please log in</html>", "found damage"),
    "no session": (session_zip()[:0] + escaping("x").replace(b"tiers", b"reits"), "found 0"),
    "two sessions": (escaping("other/meta/trials/tiers.npy"), "found 2"),
    "climbs out": (escaping("../../outside"), "'../../outside', which would land elsewhere"),
    "climbs out inside": (escaping(f"{SESSION}/../../outside"), "would land elsewhere"),
    "starts at the root": (escaping("/outside"), "'/outside', which would land elsewhere"),
    "names a drive": (escaping("C:/outside"), "would land elsewhere"),
    "links": (linked(), "data/link', which would land elsewhere"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zips_that_are_not_unzipped(name, server, tmp_path, capsys):
    server.content, words = ZIPS[name]
    assert run(server, tmp_path / "raw") == 2
    assert words in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "raw" / SESSION).exists() and not (tmp_path / "outside").exists()
    assert not list((tmp_path / "raw").glob(".*"))


def test_a_damaged_zip_is_fetched_again(server, tmp_path):
    good, server.content = server.content, damaged(server.content)
    assert run(server, tmp_path) == 2
    assert (tmp_path / f"{SESSION}.zip.damaged").exists()
    server.content, server.etag = good, '"2"'
    assert run(server, tmp_path) == 0
    assert files(tmp_path / SESSION) == WHOLE


def test_a_zip_bomb(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "MOST_UNZIPPED_BYTES", 200_000)
    assert run(server, tmp_path) == 2
    assert "not a recording" in capsys.readouterr().out
    assert not (tmp_path / SESSION).exists()


def test_more_inside_than_it_says(tmp_path):
    """A member that inflates beyond its declared size is cut there, and its checksum is wrong."""
    path = tmp_path / "x.zip"
    data = bytearray(session_zip())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(f"{SESSION}/data/videos/0.npy")
    entry = data.rindex(info.filename.encode()) - 46
    data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="found damage"):
        download.unzip(path, tmp_path / "session")
    assert not (tmp_path / "session").exists()


@pytest.mark.parametrize("free, what", [(1000, "the zip"), (310_000, "the files of")])
def test_a_full_disk(free, what, server, tmp_path, monkeypatch, capsys):
    usage = type("Usage", (), {"free": free})
    if what == "the files of":  # both fit alone, but not together
        server.content = session_zip()
        monkeypatch.setattr(download, "_check_space", checks(free, download._check_space))
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    assert run(server, tmp_path) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert f"for {what}" in out and "the same command resumes" in out
    assert not (tmp_path / SESSION).exists()


def checks(free, check):
    """The disk is full by the time of unzipping."""

    def at_unzipping(folder, needed, what):
        check(folder, free + 1 if what.startswith("the files") else 0, what)

    return at_unzipping


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--out", "x", "--mice", "K"], "expected mice of A, B, C, D, E, F, G, H, I, J, got K"),
        (["--out", "x", "--mice", ","], "got none"),
        (["--mice", "F"], "expected --out"),
        (["--out", "x", "--mice", "F"], "expected a person to agree to the licence"),
    ],
)
def test_bad_commands(flags, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert fetch.main(flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1


def test_list_names_all_and_fetches_none(capsys):
    letters = ",".join(protocol.SESSIONS)
    assert fetch.main(["--list", "--mice", letters]) == 0
    out = capsys.readouterr().out
    for session in protocol.SESSIONS.values():
        assert f"{session}.zip" in out.replace("\n", "")
    assert out.count("Sensorium2023Data") == out.count("sensorium_2023_dataset") == 5


def test_ctrl_c(server, tmp_path, monkeypatch, capsys):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "fetch", stop)
    assert run(server, tmp_path) == 130
    assert "Run the same command again to resume" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["http://example.org/x.zip", "file:///etc/passwd", "ftp://x/y"])
def test_a_server_leads_to_https_only(address, server, tmp_path, capsys):
    server.redirect = address
    assert run(server, tmp_path) == 2
    shown = "".join(capsys.readouterr())
    assert address in shown and "--server" in shown  # urllib refuses files by itself
    assert not list(tmp_path.rglob("*.zip*"))
