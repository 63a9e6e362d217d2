"""One task in full, and what differs between two."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tracker import pages
from tracker.errors import CorruptRecord
from tracker.pages import Difference, Page
from tracker.records import Entry, Ref, Segment, State

BLOB = str(Ref("blob", "b" * 64, 7))
TREE = str(Ref("tree", "a" * 64, 9))
PATCH = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-old\n+new\n+more\n"


def page(keys: Mapping[str, object], *segments: Segment, models: dict[str, State] | None = None) -> Page:
    """The page of a task with these keys, set one after another."""
    entries = {key: Entry(value, stamp, "w") for stamp, (key, value) in enumerate(keys.items())}
    return pages.page("k" * 32, State("task", entries, segments), (models or {}).get)


def never(ref: Ref) -> bytes:
    """Nothing has to be read."""
    raise AssertionError(f"{ref} was read")


def test_a_page_has_artifacts_models_packages_plots_and_health() -> None:
    """Models in the order in which they were linked, with the weights that their own records name."""
    weights = State(
        "model",
        {"weights": Entry({"$ref": BLOB, "file": "m.pt"}, 1, "w"), "framework": Entry("Torch", 1, "w")},
    )
    plot = {"$ref": BLOB, "title": "t", "series": "s", "iteration": 0, "time": 1}
    found = page(
        {
            "artifact/data": {"$ref": TREE, "type": "archive", "file": "data.zip"},
            "artifact/link": {"url": "https://host/x", "type": "custom", "file": "x"},
            "model/output/zz": {"name": "first"},
            "model/output/aa": {"name": "second"},
            "packages": "# Python 3.11\n\nnumpy == 2.0\nmine @ git+https://x\n",
            "health/dropped": 3,
        },
        Segment("w", 1, 2, plots=(plot, plot)),
        models={"zz": weights},
    )
    folder, link = found.artifacts
    assert (folder.hash, folder.kind, folder.size, folder.own_name) == ("a" * 64, "tree", 9, "data")
    assert (link.hash, link.url, link.own_name) == ("", "https://host/x", "x")
    first, second = found.outputs
    assert (first.name, first.id, first.hash, first.type, first.file) == (
        "first",
        "zz",
        "b" * 64,
        "Torch",
        "m.pt",
    )
    assert (second.name, second.id, second.hash) == ("second", "aa", "")
    assert found.packages == {"numpy": "2.0", "mine @ git+https://x": ""}
    assert (found.plots, found.health) == ({"t/s": 2}, {"dropped": 3})


@pytest.mark.parametrize(
    "keys", [{"artifact/x": {"$ref": "nonsense"}}, {"script": {"diff": {}}}, {"model/output/x": "no mapping"}]
)
def test_a_page_that_cannot_be_read_names_its_task(keys: dict[str, object]) -> None:
    """Rather than fail in some way of its own."""
    with pytest.raises(CorruptRecord):
        page(keys)


def test_a_patch_is_counted_by_files_and_lines() -> None:
    """The headers of a file are no lines of it."""
    assert pages.patch_size(PATCH) == (1, 2, 1)
    assert pages.patch_size("") == (0, 0, 0)


def test_what_is_equal_is_left_out() -> None:
    """Also a value that is NaN on both sides, and content of one hash under another file name."""
    keys: dict[str, object] = {
        "single/f1": {"value": "nan", "time": 1},
        "artifact/d": {"$ref": BLOB, "type": "dict", "file": "d.json"},
        "script": {"version_num": "c" * 40, "diff": PATCH},
        "param/Args/x": {"value": "1"},
    }
    other = {**keys, "artifact/d": {"$ref": BLOB, "type": "custom", "file": "e.json"}, "name": "another"}
    assert pages.difference(page(keys), page(other), never, never) == Difference()


def test_what_differs_stands_left_and_right() -> None:
    """None where a side has none."""
    left = page(
        {
            "param/Args/lr": {"value": "0.1"},
            "tag/a": True,
            "packages": "numpy == 1.0\n",
            "artifact/d": {"$ref": BLOB, "type": "dict", "file": "d"},
            "script": {"version_num": "c" * 40, "branch": "main"},
        }
    )
    right = page(
        {
            "param/Args/lr": {"value": "0.2"},
            "param/Args/new": {"value": "1"},
            "tag/b": True,
            "packages": "numpy == 2.0\n",
            "single/f1": {"value": 0.5},
            "script": {"version_num": "d" * 40, "branch": "main"},
        }
    )
    found = pages.difference(left, right, never, never)
    assert found.params == {"Args/lr": ("0.1", "0.2"), "Args/new": (None, "1")}
    assert found.tags == (("a",), ("b",))
    assert found.packages == {"numpy": ("1.0", "2.0")}
    assert found.singles == {"f1": (None, 0.5)}
    assert found.script == {"commit": ("c" * 40, "d" * 40)}
    assert found.artifacts.keys() == {"d"}
    assert found.artifacts["d"][1] is None
    assert not found.empty


def test_two_models_of_one_name_are_both_compared() -> None:
    """The second gets a number."""
    weights = {
        key: State("model", {"weights": Entry({"$ref": ref, "file": "m"}, 1, "w")})
        for key, ref in (("x", BLOB), ("y", TREE))
    }
    left = page({"model/output/x": {"name": "m"}, "model/output/y": {"name": "m"}}, models=weights)
    right = page({"model/output/x": {"name": "m"}}, models=weights)
    assert pages.difference(left, right, never, never).models.keys() == {"m (2)"}


def test_patches_are_compared_line_by_line_wherever_they_are_stored() -> None:
    """One inline, one an object of its own."""
    left = page({"script": {"version_num": "c" * 40, "diff": PATCH}})
    right = page({"script": {"version_num": "c" * 40, "diff": {"$ref": BLOB}}})
    found = pages.difference(left, right, never, lambda _: PATCH.replace("more", "less").encode())
    assert "-+more\n++less" in found.patch
    assert found.patch_sizes is None
    same = pages.difference(left, right, never, lambda _: PATCH.encode())
    assert same.empty


def test_patches_too_long_to_compare_are_only_measured() -> None:
    """Comparing takes the square of their lines, and nobody reads the result."""
    left, right = (
        {"script": {"version_num": "c" * 40, "diff": f"{mark}\n" * pages.PATCH_MAX}} for mark in "ab"
    )
    found = pages.difference(page(left), page(right), never, never)
    assert (found.patch, found.patch_sizes) == ("", (2 * pages.PATCH_MAX, 2 * pages.PATCH_MAX))
    assert not found.empty
