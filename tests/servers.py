"""Real servers that tests start for themselves, on 127.0.0.1: S3 by rclone or moto, and a plain web server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

S3_KEYS = {"AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "SKTESTSKTEST", "AWS_REGION": "us-east-1"}


def s3_command(folder: Path, port: int) -> list[str] | None:
    """How to start an S3 server that keeps its data in `folder` or in memory; None where there is none."""
    beside = str(Path(sys.executable).parent)
    rclone = shutil.which("rclone") or shutil.which("rclone", path=beside)
    if rclone:
        keys = f"{S3_KEYS['AWS_ACCESS_KEY_ID']},{S3_KEYS['AWS_SECRET_ACCESS_KEY']}"
        where = f"127.0.0.1:{port}"
        return [rclone, "serve", "s3", "--config", "", "--addr", where, "--auth-key", keys, str(folder)]
    moto = shutil.which("moto_server") or shutil.which("moto_server", path=beside)
    return [moto, "-H", "127.0.0.1", "-p", str(port)] if moto else None


@contextmanager
def s3_server(folder: Path) -> Iterator[str | None]:
    """The endpoint of a server with a bucket named `bucket`; None where none can be started."""
    port = _free_port()
    (folder / "bucket").mkdir(parents=True)
    command = s3_command(folder, port)
    if command is None:
        yield None
        return
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not _answers(port, process):
            yield None
            return
        if "moto_server" in command[0]:
            _make_bucket(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def web_server(folder: Path, password: str = "") -> Iterator[str]:
    """The URL of a server that gives, takes and deletes the files of a folder; from who says `user:password`."""
    expected = f"Basic {b64encode(password.encode()).decode()}"

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, directory=str(folder), **named)

        def do_PUT(self) -> None:
            path = Path(self.translate_path(self.path))
            if "forbidden" in self.path:
                self.send_error(403)
                return
            if password and self.headers.get("Authorization") != expected:
                self._body()
                self.send_error(401)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._body())
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def do_DELETE(self) -> None:
            path = Path(self.translate_path(self.path))
            there = path.exists()
            path.unlink(missing_ok=True)
            self.send_response(204 if there else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def _make_bucket(port: int) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port)
    connection.request("PUT", "/bucket", headers={"Host": f"127.0.0.1:{port}"})
    connection.getresponse().read()
    connection.close()
