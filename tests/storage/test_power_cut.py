"""Power cuts in the storage room: the walk of an installation over a disk that forgets what was not flushed.

One recorded run makes promises as it goes (`Walk.promise`); then, for cuts between any two operations and several
states that each cut may leave, every promise made before the cut holds, and the walk, done again, comes to its end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.storage.test_install import Release, release

from modelota.content.digest import digest_bytes, digest_file
from modelota.errors import ModelotaError
from modelota.spec.slot import SlotDescription, SlotId, describe
from modelota.storage.assembly import Assembly
from modelota.storage.durable import Disk, Ledger
from modelota.storage.kept import KeptChunks
from modelota.storage.layout import Layout, ModelLayout
from modelota.storage.ledger import NoLedger
from modelota.storage.slots import Slots
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging
from modelota.storage.system_calls import SystemCalls
from modelota.testing.disk import RecordedCalls

SECRET = b"s" * 32
OLD = SlotId("1.1.9", "q8")
OLD_FILE = b"the version before" * 1000
REPORTS = [b"{}", b'{"report": 1}' * 900]
STATES_IN_CI = 2  # of each cut; and the cuts are a seeded sample
CUTS_IN_CI = 40

Check = Callable[[Path], bool]


class Promise(NamedTuple):
    """What holds after every cut from `made` on, until `ended`."""

    text: str
    check: Check
    made: int
    ended: int | None


class Walk:
    """An installation beside an old version, as the agent does it, with everything the storage room offers.

    Args:
        root: of the device.
        calls: recorded or real.
        ledger: told before anything is created.
        commit: keeps a fact durably; None where nobody asks.
    """

    def __init__(self, root: Path, calls: SystemCalls, ledger: Ledger, commit: Callable[[str, object], None]) -> None:
        self.disk = Disk((root,), ledger, calls)
        self.layout: ModelLayout = Layout(root).model("acme/assistant")
        self.slots = Slots(self.layout, self.disk)
        self.release: Release = release()
        self.commit = commit
        self.promises: list[Promise] = []
        self._calls = calls

    @property
    def now(self) -> int:
        return len(self._calls.operations) if isinstance(self._calls, RecordedCalls) else 0

    def promise(self, text: str, check: Check) -> None:
        self.promises.append(Promise(text, check, self.now, None))

    def withdraw(self, text: str) -> None:
        self.promises = [
            promise._replace(ended=self.now) if promise.text == text and promise.ended is None else promise
            for promise in self.promises
        ]

    @property
    def description(self) -> SlotDescription:
        return describe(self.release.manifest, "a" * 64, self.release.variant)

    @property
    def staging(self) -> Staging:
        packs = self.layout.staging / "packs"
        return Staging(packs, self.release.plan, self.release.manifest, self.release.opener, self.disk)

    @property
    def assembly(self) -> Assembly:
        return Assembly(self.layout.staging / "slot", self.release.manifest, self.release.variant, self.disk)

    def all(self) -> None:
        self.install()
        self.keep_old()
        self.clean()
        self.repair()
        self.report()

    def install(self) -> None:
        """Stage, assemble, register, seal, switch: what is fetched once and flushed is never fetched again."""
        new = self.description.slot
        if not whole(self.layout, self.description):
            staging = self.staging
            staging.scan()
            self.disk.make_directory(self.layout.staging)
            for frame in self.assembly.missing(self.release.plan, staging):
                staging.put(frame, self.release.sealed(frame))
            staging.flush()
            self.promise("what was fetched is not fetched again", self._nothing_is_missing)
            self.assembly.write(self.release.plan, staging, lambda _: None)
            self.assembly.finish(lambda _: None)
            staging.close()
            self.commit(f"slot {new.name}", self.description)
            if self.layout.slot(new.name).exists():
                self.withdraw("the new slot is whole")
            self.withdraw("what was fetched is not fetched again")
            self.slots.keep_description(self.description, None, self.layout.staging / "slot")
            self.slots.seal(self.layout.staging / "slot", new)
        self.promise(
            "the new slot is whole", lambda root: whole(Layout(root).model("acme/assistant"), self.description)
        )
        self.slots.switch(new)
        self.promise("the new version is in use", lambda root: current(root) == new)
        self.commit("state", new)

    def _nothing_is_missing(self, root: Path) -> bool:
        walk = Walk(root, SystemCalls(), NoLedger(), no_journal)
        if whole(walk.layout, walk.description):
            return True
        staging = walk.staging
        try:
            staging.scan()
            return not walk.assembly.missing(self.release.plan, staging)
        finally:
            staging.close()

    def keep_old(self) -> None:
        """Keep the chunks of the old version sealed, then remove its slot."""
        kept = KeptChunks(self.layout.kept, self.disk, SECRET)
        digest = digest_bytes(OLD_FILE)
        if kept.read(digest) is None:
            kept.hold(digest, OLD_FILE)
            kept.flush()
        self.promise("the old version is kept", lambda root: kept_in(root, digest) == OLD_FILE)
        self.slots.remove(OLD)
        self.promise(
            "the old slot is gone", lambda root: not Layout(root).model("acme/assistant").slot(OLD.name).exists()
        )

    def clean(self) -> None:
        self.withdraw("staging is empty")
        self.disk.remove(self.layout.staging)
        self.promise("staging is empty", lambda root: not Layout(root).model("acme/assistant").staging.exists())

    def repair(self) -> None:
        """Assemble the installed version once more and exchange it for what lies there."""
        self.withdraw("staging is empty")
        partial = self.layout.staging / "slot"
        sources = Sources()
        sources.add(self.release.manifest, "q8", self.layout.slot(self.description.slot.name))
        plan = self.release.plan
        staging = self.staging
        staging.scan()
        for frame in self.assembly.missing(plan, staging):
            staging.put(frame, self.release.sealed(frame))
        self.assembly.write(plan, staging, lambda _: None, sources)
        self.assembly.finish(lambda _: None)
        staging.close()
        self.slots.keep_description(self.description, None, partial)
        self.slots.seal(partial, self.description.slot)
        self.clean()

    def report(self) -> None:
        """Write a file twice, then give it another name."""
        first, second = self.layout.user_data / "report.json", self.layout.user_data / "final.json"
        self.disk.make_directory(first.parent)
        for text in REPORTS:
            self.withdraw("the report is whole")
            self.disk.write_file(first, text)
            self.promise("the report is whole", lambda root, text=text: report_in(root) == text)
        self.disk.rename(first, second)


def no_journal(_: str, __: object) -> None:
    """Forget it."""


def whole(layout: ModelLayout, description: SlotDescription) -> bool:
    """Whether every file of a slot is there and has its digest."""
    for file in description.files:
        path = layout.slot(description.slot.name) / "files" / file.path
        if not path.is_file() or digest_file(path) != (file.digest, file.size_bytes):
            return False
    return True


def current(root: Path) -> SlotId | None:
    return Slots(Layout(root).model("acme/assistant"), Disk((root,), NoLedger())).current()


def old_is_whole(root: Path) -> bool:
    path = Layout(root).model("acme/assistant").slot(OLD.name) / "files" / "model.bin"
    return path.is_file() and path.read_bytes() == OLD_FILE


def kept_in(root: Path, digest: str) -> bytes | None:
    return KeptChunks(Layout(root).model("acme/assistant").kept, Disk((root,), NoLedger()), SECRET).read(digest)


def report_in(root: Path) -> bytes:
    folder = Layout(root).model("acme/assistant").user_data
    return next(path.read_bytes() for path in (folder / "report.json", folder / "final.json") if path.exists())


def ledgered(journal: dict[str, object], state: Path) -> list[str]:
    """Paths below `state` that the ledger was not told of, apart from what was there before the walk."""
    before = {"models", "models/acme", "models/acme/assistant"}
    return [
        name
        for name in sorted(path.relative_to(state).as_posix() for path in state.rglob("*"))
        if f"path {name}" not in journal and name not in before and not name.startswith(BEFORE)
    ]


BEFORE = ("models/acme/assistant/slots", "models/acme/assistant/current")


def check_state(state: Path, walk: Walk, journal: dict[str, object], cut: int) -> None:
    """Every invariant of one state after a cut."""
    for promise in walk.promises:
        if promise.made <= cut and (promise.ended is None or cut < promise.ended):
            assert promise.check(state), promise.text
    new = walk.description
    assert current(state) in {OLD, new.slot}
    assert old_is_whole(state) if current(state) == OLD else whole(Layout(state).model("acme/assistant"), new)
    if Layout(state).model("acme/assistant").slot(new.slot.name).exists():
        assert whole(Layout(state).model("acme/assistant"), new), "a slot has its place before it is whole"
        assert f"slot {new.slot.name}" in journal, "a slot has its place before it is registered"
        slots = Slots(Layout(state).model("acme/assistant"), Disk((state,), NoLedger()))
        assert slots.kept_description(new.slot) == new, "a slot has its place and does not say what it is"
    if journal.get("state") == new.slot:
        assert current(state) == new.slot, "the journal says more than the disk"
    assert not ledgered(journal, state)


def go_on(state: Path, walk: Walk) -> None:
    """The walk comes to its end from this state, and leaves nothing behind but what it should."""
    again = Walk(state, SystemCalls(), NoLedger(), no_journal)
    again.all()
    assert whole(again.layout, again.description)
    assert current(state) == walk.description.slot
    assert report_in(state) == REPORTS[-1]
    assert sorted(path.name for path in again.layout.slots.iterdir()) == [walk.description.slot.name]
    assert not again.layout.staging.exists()


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Walk, RecordedCalls]:
    """The walk, done once on a device that has the old version in use."""
    root = tmp_path / "device"
    model = Layout(root).model("acme/assistant")
    (model.slot(OLD.name) / "files").mkdir(parents=True)
    (model.slot(OLD.name) / "files" / "model.bin").write_bytes(OLD_FILE)
    model.current.symlink_to(f"slots/{OLD.name}")
    calls = RecordedCalls(root)
    walk = Walk(root, calls, calls.journal, calls.journal.commit)
    walk.all()
    return walk, calls


def cuts_and_seeds(count: int, cuts: int | None, seeds: int) -> Iterator[tuple[int, int]]:
    """Every cut with so many states, or a seeded sample of the cuts; states 0 and 1 are the extremes."""
    chosen = range(count + 1)
    for cut in sorted(random.Random(4).sample(chosen, cuts)) if cuts else chosen:
        for seed in range(seeds):
            yield cut, seed if seeds > STATES_IN_CI else cut * 7 + 2 + seed


def walk_cuts(recorded: tuple[Walk, RecordedCalls], place: Path, cuts: int | None, seeds: int) -> int:
    walk, calls = recorded
    states = 0
    for cut, seed in cuts_and_seeds(len(calls.operations), cuts, seeds):
        state = place / "state"
        calls.after_power_cut(cut, seed, state)
        try:
            check_state(state, walk, calls.journal.at(cut), cut)
            go_on(state, walk)
        except (AssertionError, ModelotaError, OSError) as error:
            last = [str(operation)[:120] for operation in calls.operations[max(0, cut - 8) : cut]]
            raise AssertionError("\n".join([f"cut {cut}, seed {seed}: {error}", *last])) from error
        for folder, _, _ in os.walk(state):
            Path(folder).chmod(0o700)
        shutil.rmtree(state)
        states += 1
    return states


@pytest.mark.parametrize("seed", [pytest.param(0, id="all unflushed is lost"), pytest.param(1, id="nothing is lost")])
def test_every_cut_in_its_extremes(recorded: tuple[Walk, RecordedCalls], tmp_path: Path, seed: int) -> None:
    """At every cut, with all or nothing of the unflushed on the disk, every promise holds."""
    walk, calls = recorded
    for cut in range(len(calls.operations) + 1):
        calls.after_power_cut(cut, seed, tmp_path / str(cut))
        check_state(tmp_path / str(cut), walk, calls.journal.at(cut), cut)


def test_a_sample_of_cuts_and_states(recorded: tuple[Walk, RecordedCalls], tmp_path: Path) -> None:
    """At sampled cuts, with torn and reordered writes, every promise holds and the walk comes to its end again."""
    assert walk_cuts(recorded, tmp_path, CUTS_IN_CI, STATES_IN_CI) == CUTS_IN_CI * STATES_IN_CI


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_cut_in_many_states(recorded: tuple[Walk, RecordedCalls], tmp_path: Path) -> None:
    """The same at every cut, with many states each."""
    seeds = int(os.environ.get("MODELOTA_SOAK_STATES", "30"))
    states = walk_cuts(recorded, tmp_path, None, seeds)
    print(json.dumps({"operations": len(recorded[1].operations), "states": states, "violations": 0}))  # noqa: T201  the figures of the soak
