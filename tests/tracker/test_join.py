"""The merge is a join: three real stores, whatever happens in them, and every order of uniting them gives one state.

A state machine records, seals, edits, deletes, restores, resets, kills and recovers in three stores whose clocks are
days apart, and copies folders between them: of now, of long ago, in part, with and without journals. What each store
must then show follows from what was told by whom and who had seen what; the merge itself is not asked.

`PYTHONPATH=. python tests/tracker/test_join.py 2000` runs as many examples as it is told.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from objstore import journal, trash
from objstore import layout as store_layout
from objstore.heads import Head, Heads, Table
from objstore.ids import ObjectId, hash_bytes
from objstore.store import Store
from tracker import config, layout, recorder, removal, scalars, seal
from tracker.package_data import template_dir
from tracker.reader import Reader, Thing, read_state, united_covers
from tracker.recorder import Recorder
from tracker.records import Entry, Ref, Segment, State, recoverer
from tracker.state import attempt, merge
from tracker.workspace import Workspace

KEYS = ("a" * 32, "b" * 32)
MODEL = "c" * 32
EVERYTHING = (*KEYS, MODEL)
DAY = 86_400_000_000  # microseconds
PLACES = (0, 1, 2)
AHEAD = (0, 2 * DAY, -3 * DAY)  # how far each place's clock is ahead
NOW = 1_700_000_000_000_000
TAGS = ("red",)
ENDING = ("status", "status_reason", "completed")  # what a recovery says
LOCAL = Path("/dev/shm")  # where fsync costs nothing: what is durable when is the business of other tests

places = st.sampled_from(PLACES)
tasks = st.sampled_from((KEYS[0], KEYS[0], KEYS[0], KEYS[1]))  # most of it happens to one
Op = tuple[str, int, str]  # a writer, the number of one of its events, a key that it sets


@dataclass(frozen=True)
class Deed:
    """Something that somebody said of a key, and all that was known where it was said."""

    key: str
    name: str
    value: Any
    seen: frozenset[Op]


@dataclass
class Running:
    """A process that takes part in a run, and what it has told."""

    place: int
    key: str
    recorder: Recorder
    began: frozenset[Op]  # what its store knew when it began
    points: list[tuple[int, float]] = field(default_factory=list)  # (number of the event, value)
    lines: list[tuple[int, str]] = field(default_factory=list)

    @property
    def writer(self) -> str:
        """Its id."""
        return self.recorder.writer

    @property
    def number(self) -> int:
        """Of its last event."""
        return self.recorder._journal.last


@dataclass
class Place:
    """A store, its clock, and all heads that ever came to it."""

    root: Path
    ahead: int
    workspace: Workspace
    heads: dict[ObjectId, Head] = field(default_factory=dict)


class Stores(RuleBasedStateMachine):
    """Three places, two tasks, a model, and what anybody did to them."""

    runs: Bundle[Running] = Bundle("runs")
    saved: Bundle[Path] = Bundle("saved")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="join-", dir=LOCAL if LOCAL.is_dir() else None))
        self.ticks = 0
        self.told = 0  # values and lines are all different
        self.deeds: dict[Op, Deed] = {}
        self.writers: dict[str, Running] = {}
        self.states: dict[ObjectId, State] = {}
        self.contents: dict[tuple[Path, str], bytes] = {}
        self.places = [self._place(n) for n in PLACES]

    def _place(self, number: int) -> Place:
        store = Store.create(self.folder / f"{number}" / ".tracker", template_dir())
        workspace = Workspace(store, config.Config())
        workspace._writer = f"{5 * number + 3:016x}"
        return Place(store.root, AHEAD[number], workspace)

    def teardown(self) -> None:
        """Unite in every order, then let go of what still runs."""
        try:
            self.every_order_of_unions_gives_one_state()
        finally:
            for run in self.writers.values():
                _let_go(run)
            for place in self.places:
                place.workspace.store.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- clocks and bookkeeping --------------------------------------------------------------------------------------

    @contextmanager
    def clock(self, place: Place) -> Iterator[None]:
        """The time as it is in a place."""

        def now() -> int:
            self.ticks += 1
            return (NOW + place.ahead + self.ticks // 5) * 1000  # coarse: stamps meet

        # Ids that are no accident, so that an example can be run again.
        def name(size: int) -> bytes:
            return hashlib.blake2b(str(len(self.writers)).encode(), digest_size=size).digest()

        with (
            patch.object(time, "time_ns", now),
            patch.object(recorder, "_now", now),
            patch.object(os, "urandom", name),
        ):
            yield

    def look(self) -> None:
        """Note the heads that have come to any place, and what they say."""
        for place in self.places:
            for head in itertools.chain.from_iterable(place.workspace.store.heads.all().values()):
                place.heads.setdefault(head.id, head)
                if head.id not in self.states:
                    self.states[head.id] = read_state(place.workspace.store, head.commit)

    def known(self, place: Place, key: str) -> dict[str, int]:
        """Per writer the number of its last event that has come to a place, in heads or journals."""
        found = united_covers(head for head in place.heads.values() if head.key == key)
        for run in self.writers.values():
            if run.key == key:
                for record in journal.read(place.root / layout.live_path(run.key, run.writer)):
                    found[run.writer] = max(record.number, found.get(run.writer, 0))
        return {writer: number for writer, number in found.items() if number}

    def seen(self, place: Place, key: str) -> frozenset[Op]:
        """What was said of a key and has come to a place."""
        known = self.known(place, key)
        return frozenset(
            op for op, deed in self.deeds.items() if deed.key == key and op[1] <= known.get(op[0], 0)
        )

    @initialize(number=places)
    def begin(self, number: int) -> None:
        """One run has been, so that there is something to change from the start."""
        self.end(self.start(number, KEYS[0], aware=False))

    # --- runs --------------------------------------------------------------------------------------------------------

    @rule(target=runs, number=places, key=tasks, aware=st.booleans())
    def start(self, number: int, key: str, aware: bool) -> Running:
        """A process begins, or joins, a run; it has looked at what is there, or has not."""
        place = self.places[number]
        with self.clock(place):
            known = dict(place.workspace.known(key)) if aware else {}
            ((name, begun),) = attempt(State("task", known), "resume").items()
            recording = Recorder(
                place.root, key, config.Config(), known=known, attempt=int(name.partition("/")[2])
            )
            run = Running(number, key, recording, self.seen(place, key) if aware else frozenset())
            self.writers[run.writer] = run
            self.put(run, "status", "in_progress")
            self.put(run, name, begun)
        return run

    def put(self, run: Running, name: str, value: Any, of: str | None = None) -> None:
        """One key, by a running process."""
        run.recorder.set(name, value, of=of)
        own = frozenset(
            op for op, deed in self.deeds.items() if op[0] == run.writer and deed.key == (of or run.key)
        )
        seen = own if of else own | run.began
        self.deeds[run.writer, run.number, name] = Deed(of or run.key, name, value, seen)

    @rule(
        run=runs,
        count=st.integers(1, 4),
        what=st.sampled_from(["points", "lines", "both"]),
        again=st.booleans(),
        then=st.sampled_from(["go on", "roll"]),
    )
    def report(self, run: Running, count: int, what: str, again: bool, then: str) -> None:
        """Points, console lines; of one series or of a second; sealed at once or later."""
        with self.clock(self.places[run.place]):
            for _ in range(count):
                self.told += 1
                if what != "lines":
                    run.recorder.scalar("t", "s" if again else "u", float(self.told), self.told)
                    run.points.append((run.number, float(self.told)))
                if what != "points":
                    run.recorder.text("stdout", f"line {self.told}")
                    run.lines.append((run.number, f"line {self.told}"))
        if then == "roll":
            self.roll(run)

    @rule(run=runs, tag=st.sampled_from(TAGS), value=st.sampled_from([True, None]))
    def tag(self, run: Running, tag: str, value: bool | None) -> None:
        """A tag is set or removed by the run itself."""
        with self.clock(self.places[run.place]):
            self.put(run, f"tag/{tag}", value)

    @rule(run=runs, name=st.sampled_from(["name", "comment"]))
    def tell_of_model(self, run: Running, name: str) -> None:
        """A key of the model."""
        with self.clock(self.places[run.place]):
            self.told += 1
            self.put(run, name, f"{self.told}", of=MODEL)

    @rule(run=runs)
    def seal_so_far(self, run: Running) -> None:
        """A long run is sealed while it goes on."""
        self.roll(run)

    def roll(self, run: Running) -> None:
        """As its recorder does it."""
        store = self.places[run.place].workspace.store
        run.recorder._seal_so_far(lambda writer: seal.seal(store, run.key, own=writer, rolling=True))
        assert "roll" not in run.recorder.warned

    @rule(run=consumes(runs))
    def end(self, run: Running) -> None:
        """It completes, closes and seals, as every run does: after that nobody says that it was aborted."""
        place = self.places[run.place]
        with self.clock(place):
            self.put(run, "status_reason", "")
            self.put(run, "completed", NOW)
            self.put(run, "status", f"completed by {run.writer}")
        run.recorder.close()
        recorder.forget(run.recorder)
        seal.seal(place.workspace.store, run.key, own=run.writer)
        status = place.workspace.thing(run.key).state.keys["status"]
        assert status.writer != recoverer(run.writer)

    @rule(run=consumes(runs))
    def kill(self, run: Running) -> None:
        """It dies without a word."""
        _let_go(run)

    @rule(number=places)
    def recover(self, number: int) -> None:
        """Whoever comes next seals what ended or dead writers have left; it changes nothing that is read."""
        place = self.places[number]
        before = self.views(place)
        place.workspace.recover()
        assert self.views(place) == before

    @rule(run=runs)
    def recover_a_living_one(self, run: Running) -> None:
        """A lock that was lost: the process is taken for dead where it runs, and goes on all the same."""
        place = self.places[run.place]
        alive = place.root / layout.live_path(run.key, run.writer) / "alive"
        if not alive.exists():
            return
        alive.rename(alive.with_name("held"))
        shutil.copy(alive.with_name("held"), alive)
        place.workspace.recover()
        alive.with_name("held").replace(alive)
        thing = place.workspace.thing(run.key)
        assert thing.alive
        assert thing.state.keys["status"].writer != recoverer(run.writer)  # here it is seen to live

    @rule(run=runs)
    def trash_a_living_one(self, run: Running) -> None:
        """It is even set aside, once all of it is covered; its next sign of life brings it back."""
        place = self.places[run.place]
        name = layout.live_path(run.key, run.writer)
        covered = united_covers(place.workspace.store.heads.of(run.key)).get(run.writer, 0)
        if covered < run.number or not (place.root / name).exists():
            return
        before = self.views(place, ENDING)
        trash.set_aside(place.root, name, 1)
        assert self.views(place, ENDING) == before
        run.recorder._move_back()
        assert self.views(place, ENDING) == before

    # --- edits -------------------------------------------------------------------------------------------------------

    def edit(self, number: int, key: str, changes: dict[str, Any], how: Any = None) -> None:
        """Somebody changes what is there; what that says must then be so, whatever the clocks say."""
        place = self.places[number]
        self.look()
        seen = self.seen(place, key)
        with self.clock(place):
            how(key) if how else place.workspace.edit(key, changes)
        state = place.workspace.thing(key).state
        for name, value in changes.items():
            self.deeds[place.workspace._writer, place.workspace._edits, name] = Deed(key, name, value, seen)
            assert state.get(name) == value, name

    def there(self, number: int, key: str) -> bool:
        """Whether a place knows of a task."""
        return bool(self.known(self.places[number], key))

    @rule(number=places, key=tasks, tag=st.sampled_from(TAGS), value=st.sampled_from([True, None]))
    def edit_tag(self, number: int, key: str, tag: str, value: bool | None) -> None:
        """A tag is set or removed."""
        if self.there(number, key):
            self.told += 1
            self.edit(number, key, {f"tag/{tag}": value, "comment": f"{self.told}"})

    @rule(number=places, key=tasks)
    def delete_or_restore(self, number: int, key: str) -> None:
        """A task is deleted; one that is, is restored."""
        if not self.there(number, key):
            return
        workspace = self.places[number].workspace
        if workspace.thing(key).state.get("deleted"):
            self.edit(number, key, {"deleted": None}, lambda k: removal.restore(workspace, k))
            assert not any(head.commit.deleted for head in workspace.store.heads.of(key))
        else:
            self.edit(
                number, key, {"deleted": True}, lambda k: removal.delete(workspace, [workspace.thing(k)])
            )
            (head,) = workspace.store.heads.of(key)
            assert head.commit.deleted
            assert head.commit.cut >= workspace.thing(key).state.keys["deleted"].stamp

    @rule(number=places, key=tasks)
    def reset(self, number: int, key: str) -> None:
        """A new attempt hides all that was reported so far, and what those writers report later."""
        if not self.there(number, key):
            return
        place = self.places[number]
        self.look()
        thing = place.workspace.thing(key)
        begun = attempt(thing.state, "reset", hide=True)
        self.edit(number, key, {**begun, "status": "created"})
        assert place.workspace.thing(key).state.reports == ()
        assert place.workspace.thing(key).state.segments == thing.state.segments

    # --- copies ------------------------------------------------------------------------------------------------------

    @rule(source=places, to=places)
    def copy(self, source: int, to: int) -> None:
        """The folders of the union, as rsync does."""
        union(self.places[source].root, self.places[to].root)

    @rule(source=places, to=places, chosen=st.sets(st.sampled_from(EVERYTHING), max_size=2))
    def copy_in_part(self, source: int, to: int, chosen: set[str]) -> None:
        """A copy that was cut short: all packs, and the heads of some."""
        union(self.places[source].root, self.places[to].root, chosen)

    @rule(source=places, to=places)
    def copy_with_journals(self, source: int, to: int) -> None:
        """`cp -rn` of everything in the midst of a run: there it looks dead."""
        if source != to:
            for folder in self.places[source].root.glob("live/*/*"):
                copied = self.places[to].root / folder.relative_to(self.places[source].root)
                if not copied.exists():
                    shutil.copytree(folder, copied)
            union(self.places[source].root, self.places[to].root)

    @rule(target=saved, number=places)
    def save(self, number: int) -> Path:
        """A backup is made."""
        self.told += 1
        folder = self.folder / f"saved-{self.told}"
        union(self.places[number].root, folder)
        return folder

    @rule(folder=saved, number=places)
    def bring_back(self, folder: Path, number: int) -> None:
        """Old heads come back by a copy of long ago: where they were known nothing changes."""
        place = self.places[number]
        self.look()
        before = self.views(place)
        old = {head.id for heads in Heads(folder).all().values() for head in heads}
        union(folder, place.root)
        if old <= place.heads.keys():
            assert self.views(place) == before

    @rule(number=places)
    def fold_heads(self, number: int) -> None:
        """All living heads move into a table; dead ones are removed."""
        self.look()
        place = self.places[number]
        before = self.views(place)
        alive = place.workspace.store.heads.live()
        loose = list(place.root.glob("refs/*/*"))
        if alive:
            data = Table(heads=tuple(itertools.chain.from_iterable(alive.values()))).encode()
            place.workspace.store.publish_bytes(store_layout.table_path(hash_bytes(data).hex()), data)
            for path in loose:
                path.unlink()
        assert self.views(place) == before

    # --- what must be so ---------------------------------------------------------------------------------------------

    def views(self, place: Place, but: tuple[str, ...] = ()) -> dict[str, bytes]:
        """What a reader with nothing in mind finds, to the byte."""
        found = Reader(Store.open(place.root)).things()
        return {key: _without(thing.state, but).encode() for key, thing in found.items()}

    @invariant()
    def all_is_well(self) -> None:
        """In every place."""
        self.look()
        for place in self.places:
            things = place.workspace.things()
            self.what_a_place_shows_is_all_that_came_to_it(place)
            self.no_report_is_lost_or_doubled(place, things)
            self.what_was_undone_stays_undone(place, things)

    def what_a_place_shows_is_all_that_came_to_it(self, place: Place) -> None:
        """Its living heads say what all heads that it ever had say together: none that died is missed."""
        for key, alive in place.workspace.store.heads.live().items():
            had = [self.states[head.id] for head in place.heads.values() if head.key == key]
            shown = merge(self.states[head.id] for head in alive)
            assert shown.encode() == merge(had).encode()
            self.check_keys(shown, had)

    def check_keys(self, shown: State, had: list[State]) -> None:
        """Per key the greatest (stamp, writer) of all that was ever said."""
        said: dict[str, list[Entry]] = {}
        for state in had:
            for name, entry in state.keys.items():
                said.setdefault(name, []).append(entry)
        assert shown.keys.keys() == said.keys()
        for name, entry in shown.keys.items():
            assert (entry.stamp, entry.writer) == max((e.stamp, e.writer) for e in said[name])

    def no_report_is_lost_or_doubled(self, place: Place, things: dict[str, Thing]) -> None:
        """Of each writer exactly what it told up to the last of its events that a place knows of, and its counts."""
        for key in [key for key in KEYS if key in things]:
            known = self.known(place, key)
            state = things[key].state
            segments = {segment.writer: segment for segment in state.segments}
            assert segments.keys() == {w for w, run in self.writers.items() if run.key == key and w in known}
            hidden = {op[2] for op in self.seen(place, key)}
            assert [s.writer for s in state.reports] == [w for w in segments if f"hidden/{w}" not in hidden]
            for writer, segment in segments.items():
                points = [v for n, v in self.writers[writer].points if n <= known[writer]]
                lines = [v for n, v in self.writers[writer].lines if n <= known[writer]]
                assert self.read_points(place, things[key], segment) == points
                assert self.read_lines(place, things[key], segment) == lines
                assert sum(s["count"] for c in segment.scalars for _, _, s in c["series"]) == len(points)
                assert sum(c["lines"] for c in segment.console) == len(lines)

    def what_was_undone_stays_undone(self, place: Place, things: dict[str, Thing]) -> None:
        """Removed is what somebody removed who had seen all that set it; set is what nobody who saw it removed."""
        for key in [key for key in KEYS if key in things]:
            seen = [(op, self.deeds[op]) for op in self.seen(place, key)]
            for name in ["deleted", *(f"tag/{tag}" for tag in TAGS)]:
                adds = {op: deed for op, deed in seen if deed.name == name and deed.value}
                removals = {op: deed for op, deed in seen if deed.name == name and not deed.value}
                value = things[key].state.get(name)
                if not adds or any(adds.keys() <= deed.seen for deed in removals.values()):
                    assert not value, (key, name)
                if any(removals.keys() <= deed.seen for deed in adds.values()):
                    assert value, (key, name)

    def read_points(self, place: Place, thing: Thing, segment: Segment) -> list[float]:
        """What a writer told of any series, in the order of telling, which is that of the values."""
        found: list[float] = []
        for chunk in segment.scalars:
            for series in scalars.decode(self.content(place, thing, chunk["$ref"])):
                found += map(float, series.values)
        return sorted(found)

    def read_lines(self, place: Place, thing: Thing, segment: Segment) -> list[str]:
        """Its console."""
        rows = (
            r for chunk in segment.console for r in self.content(place, thing, chunk["$ref"]).splitlines()
        )
        return [orjson.loads(row)[2] for row in rows]

    def content(self, place: Place, thing: Thing, ref: str) -> bytes:
        """An object; what was read once need not be read again."""
        if (place.root, ref) not in self.contents:
            self.contents[place.root, ref] = place.workspace.read(thing, Ref.parse(ref))
        return self.contents[place.root, ref]

    def every_order_of_unions_gives_one_state(self) -> None:
        """Of any subset of the places, one after another or in groups; in the end the same, to the byte, everywhere."""
        self.look()
        for count in (2, 3):
            for chosen in itertools.combinations(self.places, count):
                expected = None
                for order in itertools.permutations(chosen):
                    target = self.folder / f"united-{self._new()}"
                    target.mkdir()
                    shutil.copyfile(order[0].root / "format", target / "format")
                    for place in order:
                        union(place.root, target)
                    found = self.united(Store.open(target), {h for p in chosen for h in p.heads})
                    assert expected is None or found == expected
                    expected = found
        # A meeting at a bucket: each takes what it finds there and leaves what it has.
        bucket = self.folder / "bucket"
        for place in (*self.places, *self.places):
            union(place.root, bucket)
            union(bucket, place.root)
        assert len({tuple(sorted(self.united(Store.open(p.root)).items())) for p in self.places}) == 1

    def _new(self) -> int:
        self.told += 1
        return self.told

    def united(self, store: Store, ids: set[ObjectId] | None = None) -> dict[str, bytes]:
        """The states of a store's heads; which, whatever was merged before, is that of all heads together."""
        reader = Reader(store)
        found = {key: merge(map(reader.state, heads)) for key, heads in store.heads.live().items()}
        for key, state in found.items() if ids is not None else ():
            parts = [s for i, s in self.states.items() if i in (ids or ()) and self._key_of(i) == key]
            random.Random(len(parts)).shuffle(parts)
            middle = len(parts) // 2
            halves = [merge(half) for half in (parts[:middle], parts[middle:]) if half]
            assert merge([*halves, *parts]).encode() == state.encode()
        return {key: state.encode() for key, state in found.items()}

    def _key_of(self, commit: ObjectId) -> str:
        return next(p.heads[commit].key for p in self.places if commit in p.heads)


def _let_go(run: Running) -> None:
    """What SIGKILL does to a journal."""
    run.recorder._heart.set()
    run.recorder.closed = True
    run.recorder._journal.close()
    recorder.forget(run.recorder)


def _without(state: State, names: tuple[str, ...]) -> State:
    return State(
        state.kind, {k: e for k, e in state.keys.items() if k not in names}, state.segments, state.extra
    )


def union(source: Path, target: Path, keys: set[str] | None = None) -> None:
    """Copy what is not there; of heads those of `keys`. Packs first, so that no head comes before its objects."""
    for name in (store_layout.PACKS, store_layout.TABLES, store_layout.REFS):
        for path in sorted((source / name).rglob("*")):
            copied = target / path.relative_to(source)
            chosen = keys is None or name == store_layout.PACKS or path.name.partition(".")[0] in keys
            if path.is_file() and chosen and not copied.exists():
                copied.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, copied)  # no file of the union ever changes


def run(examples: int, steps: int) -> None:
    """Try so many examples of at most so many steps."""
    run_state_machine_as_test(
        Stores,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_unions_gives_one_state() -> None:
    """Whatever happened in the stores: nothing is lost, nothing is doubled, and nothing that was undone comes back."""
    run(40, 30)


@pytest.mark.exhaustive
@pytest.mark.timeout(600)  # 15 s of work, on a machine that may have other work to do
def test_any_order_of_unions_gives_one_state_at_length() -> None:
    """The same, longer stories."""
    run(80, 50)


if __name__ == "__main__":
    run(int(sys.argv[1]), 60)
