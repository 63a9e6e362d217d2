"""upload_artifact: encode, store, and only then record. On return the content survives the process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore import files
from objstore.errors import StoreError
from objstore.ids import ObjectId
from tracker import codecs, layout, trust
from tracker.errors import BadValue
from tracker.records import Ref
from tracker.sdk import artifacts

if TYPE_CHECKING:
    from tracker.sdk.task.artifacts import Outputs


@dataclass(frozen=True, slots=True)
class Options:
    """upload_artifact's choices."""

    metadata: Mapping[str, Any] | None = None
    delete_after_upload: bool = False
    auto_pickle: bool | None = None
    preview: Any = None
    extension_name: str | None = None
    serialization_function: Any = None
    sort_keys: bool = True
    wait: bool = False
    tries: int = 1
    type: str = ""  # another one than the codec's, which has to read it all the same


def upload(task: Outputs, name: str, value: Any, options: Options) -> bool:
    """Store a value under a name; False when the store could not be written. Raises BadValue, ValueError."""
    encoded = codecs.encode(
        name,
        value,
        extension_name=options.extension_name,
        serialization_function=options.serialization_function,
        auto_pickle=task.workspace.config.auto_pickle if options.auto_pickle is None else options.auto_pickle,
        sort_keys=options.sort_keys,
        preview=options.preview,
    )
    if encoded.notice:
        task.fault(encoded.notice, None)
    try:
        place = artifacts.store(task.workspace, task.attach, encoded)
        preview = _preview(task, encoded.preview)
    except (OSError, StoreError) as error:  # StoreError: a folder with a socket in it, say
        task.fault(f"artifact {name!r} was not stored: {error}", error)
        return False
    record = {
        **place,
        "type": options.type or encoded.type,
        "file": encoded.file_name,
        "content_type": encoded.content_type,
        "preview": preview,
        "metadata": {str(k): str(v) for k, v in (options.metadata or {}).items()},
        "timestamp": int(time.time()),
    }
    if encoded.kind == "bytes" and "$ref" in place:  # any of these may turn out to need unpickling
        record["mac"] = trust.sign(task.id, Ref.parse(place["$ref"]).id)
    task.set_key(f"artifact/{name}", record)
    if task.destination and "$ref" in place:
        _deliver(task, name, record, options)
    path = Path(str(encoded.payload)) if encoded.kind in ("file", "tree") else None
    whole = not place.get("$ref", "").startswith("tree:") or _comes_back(task, name, place["$ref"])
    if path is not None and options.delete_after_upload and whole and task.sync():
        _delete(path)
    return True


def _deliver(task: Outputs, name: str, record: Mapping[str, Any], options: Options) -> None:
    """Have a copy made at the output destination; once it is there, the record says where."""
    from tracker.sdk import deliveries
    from tracker.storage import naming

    ref = Ref.parse(record["$ref"])
    folder = naming.task_folder(str(task.get_record("project")), str(task.get_record("name")), task.id)
    url = f"{task.destination}/{naming.artifact_name(folder, name, record['file'])}"

    def done() -> None:
        now = task.get_record(f"artifact/{name}")
        if now and now.get("$ref") == record["$ref"]:  # else it was replaced or deleted meanwhile
            task.amend(f"artifact/{name}", {**now, "url": naming.public(url)})

    read, size = deliveries.contents(task, ref)
    delivery = deliveries.Delivery(url, f"artifact {name!r}", read, size, done, options.tries)
    if options.wait or not task.runs_here:
        task.deliveries.deliver(delivery)
    else:
        task.deliveries.send(delivery)


def _preview(task: Outputs, text: str) -> str | dict[str, str]:
    """A preview as the record has it: a long one is an object, since every table and every edit reads the record."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= layout.PREVIEW_MAX else {"$ref": task.attach(data)}


def _comes_back(task: Outputs, name: str, ref: str) -> bool:
    """Whether a stored folder can be written back; a warning now, not when it is wanted, where it cannot."""
    try:
        files.check_checkout(task.workspace.store.objects, ObjectId.parse(Ref.parse(ref).id))
    except (OSError, StoreError) as error:
        task.fault(f"artifact {name!r} is stored, but cannot be written back as a folder: {error}", None)
        return False
    return True


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def delete(task: Outputs, names: Sequence[str], strict: bool, copies: bool, silent: bool) -> bool:
    """Remove artifacts by name; see Task.delete_artifacts."""
    from tracker.storage import naming

    known = task.artifacts
    done = True
    for name in names:
        if name not in known:
            message = (
                f"there is no artifact {name!r} to delete: task {task.id} has {', '.join(known) or 'none'}"
            )
            if strict:
                raise BadValue(message)
            if not silent:
                task.fault(message, None)
            done = False
            continue
        task.unregister_artifact(name)
        url, file = known[name].url, known[name].file
        if copies and naming.is_copy(url, task.id, "artifacts", name, file):
            _remove_copy(task, name, url)
        task.amend(f"artifact/{name}", None)
    return done


def _remove_copy(task: Outputs, name: str, url: str) -> None:
    from tracker.storage import file_at

    try:
        place, file = file_at(url)
        place.delete(file)
    except (OSError, StoreError, ValueError) as error:
        task.fault(f"the copy of artifact {name!r} at {url} was not deleted: {error}", None)
