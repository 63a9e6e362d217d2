"""A script that handles secrets everywhere: none of them is anywhere in its store, and the script had them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from objstore.store import Store
from tracker import Task

SCRIPT = """
import argparse, logging, os, sys
from tracker import Task

parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--num-tokens", type=int)
task = Task.init("secrets", "run")
args = parser.parse_args(["--api-key", "argumentsecret1", "--num-tokens", "4096"])
db = task.connect({"db": {"user": "ann", "password": "connectedsecret2"}, "pad_token": "[PAD]"}, name="db")
password = "sourcesecret3"
print("token is ghp_consolesecret4aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
print("-----BEGIN RSA PRIVATE KEY-----\\nkeysecret5keysecret5\\n-----END RSA PRIVATE KEY-----", file=sys.stderr)
logging.warning("connecting to postgres://ann:loggedsecret6@db/x")
task.set_parameter("General/url", "https://ann:urlsecret7@example.org/x")
assert [text[-1] for text in (args.api_key, db["db"]["password"], password)] == ["1", "2", "3"]  # the true ones
print(task.id)
"""
SECRETS = [
    "argumentsecret1",
    "connectedsecret2",
    "sourcesecret3",
    "consolesecret4",
    "keysecret5",
    "loggedsecret6",
    "urlsecret7",
    "remotesecret8",
]


def record(folder: Path, **environment: str) -> str:
    """Run the script in a git repository whose remote's URL has a token; returns the task's id."""

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], cwd=folder, check=True
        )

    git("init", "-q")
    git("remote", "add", "origin", "https://ann:remotesecret8@example.org/x.git")
    (folder / "run.py").write_text("print('the first version')\n")
    git("add", "run.py")
    git("commit", "-qm", "first")
    (folder / "run.py").write_text(SCRIPT)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRACKER_")}
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=folder,
        env={**clean, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr.count("what looks like a secret") == (0 if environment else 1)
    return done.stdout.split()[-1]


def everything(root: Path) -> bytes:
    """All bytes below a store, and all objects, decoded."""
    store = Store.open(root)
    objects = [store.objects.read(row.id, row.kind) for row in store.objects.rows()]
    return b"\0".join([*objects, *(path.read_bytes() for path in root.rglob("*") if path.is_file())])


def test_no_secret_reaches_the_store(tmp_path: Path) -> None:
    """Of arguments, parameters, source, console, log and remote; what looks alike is kept."""
    key = record(tmp_path)
    kept = everything(tmp_path / ".tracker")
    assert [secret for secret in SECRETS if secret.encode() in kept] == []
    assert b"the first version" in kept  # the diff itself is there
    os.environ["TRACKER_DIR"] = str(tmp_path / ".tracker")
    try:
        task = Task.get_task(key)
    finally:
        del os.environ["TRACKER_DIR"]
    assert task is not None
    parameters = task.get_parameters()
    assert parameters["Args/num_tokens"] == "4096"
    assert parameters["db/pad_token"] == "[PAD]"
    assert parameters["db/db/user"] == "ann"
    assert parameters["db/db/password"] == "[redacted secret]"
    assert parameters["Args/api_key"] == "[redacted secret]"


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """By a setting, for who keeps a store that nobody else sees; URLs of remotes never have their password."""
    record(tmp_path, TRACKER_REDACT="0")
    kept = everything(tmp_path / ".tracker")
    assert [secret for secret in SECRETS if secret.encode() not in kept] == ["remotesecret8"]
