"""The walker: fail points × operations × what happens there, on a real device; then it must be as if nothing happened.

`OPERATIONS` is the table of what is walked: to walk another operation, add a line. A round puts a device into the state
before an operation, starts it with one armed passage, carries the operation out as far as it comes, ends the device,
starts it again unarmed, and checks `invariants`; then the operation is asked for again and must come to its end.
"""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from modelota import faults
from modelota.content.digest import digest_file
from modelota.spec.slot import SlotDescription
from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from tests.scenarios.conftest import Publisher, Snapshot

MODEL = "acme/assistant"
USER_DATA = b"what the user wrote"
ACTIONS = ("kill", "EIO", "ENOSPC", "EACCES")
DEVICE_POINTS = tuple(name for name in faults.POINTS if not name.startswith("publish."))
ENGINES_OWN = {"cache", "log"}  # directories of a slot that its engine writes
# what versions have in common, so that there is something to save, and what they have not
SHARED, OTHER, ANOTHER = (random.Random(seed).randbytes(300_000) for seed in (3, 4, 5))


@dataclass(frozen=True)
class Operation:
    """Something that a device is asked for.

    Attributes:
        name: of the operation.
        prepare: brings a running, enrolled device into the state before.
        perform: asks for it and waits for its end; whatever goes wrong is the walk's business.
        before: the version in use before, or None.
        after: the version in use afterwards, or None.
        is_done: whether it came to its end; by default, whether `after` is in use.
    """

    name: str
    prepare: Callable[[Publisher, DeviceUnderTest], None]
    perform: Callable[[DeviceUnderTest], None]
    before: str | None
    after: str | None
    is_done: Callable[[DeviceUnderTest], bool] | None = None

    def done(self, device: DeviceUnderTest) -> bool:
        """Whether it came to its end."""
        return self.is_done(device) if self.is_done else device.status()["active_version"] == self.after


class Passage(NamedTuple):
    """The n-th passage through a point, and what happens there."""

    point: str
    nth: int
    action: str

    @property
    def clause(self) -> str:
        return f"{self.point}@{self.nth}={self.action}"


@dataclass
class Figures:
    """What a walk counted."""

    rounds: int = 0
    reached: int = 0
    violations: list[str] = field(default_factory=list)


# -- the operations ----------------------------------------------------------------------------------------------------


def accept(device: DeviceUnderTest, version: str | None = None) -> None:
    """Check, show, accept, wait for the end; nothing to do when that version is offered no more."""
    offer = device.ask("POST", "/v1/check", {"version": version})[0]["offer"]
    if offer is not None:
        device.show(offer["digest"])
        device.decide(offer["digest"])
    come_to_an_end(device)


def come_to_rest(device: DeviceUnderTest) -> Any:
    """Wait until nothing is under way; returns the status."""
    return device.settle(timeout_s=60)


def come_to_an_end(device: DeviceUnderTest) -> None:
    """The same, or until a worker was killed: an armed one is killed again each time that it is tried again."""
    phases = ("idle", "watching", "offered", "degraded")
    wait_until(
        lambda: (status := device.status())["phase"] in phases or status["waits_for"] == ["worker-crashed"],
        "does not come to an end",
        timeout_s=60,
    )


def roll_back(device: DeviceUnderTest) -> None:
    device.ask("POST", "/v1/rollback", {})
    come_to_an_end(device)


def repair(device: DeviceUnderTest) -> None:
    found = device.ask("POST", "/v1/verify", {"repair": True})
    if found["offer"] is not None:
        device.show(found["offer"]["digest"])
        device.decide(found["offer"]["digest"])
    come_to_an_end(device)


def uninstall(device: DeviceUnderTest) -> None:
    """Plan, confirm the plan, wait for the end; what became of the user's data is another scenario's business."""
    plan = device.ask("POST", "/v1/removal/plan", {"user_data": "keep"})
    device.ask("POST", "/v1/removal", {"plan_digest": plan["digest"], "channel": "host"})
    come_to_an_end(device)


def is_gone(device: DeviceUnderTest) -> bool:
    outcome = device.status()["last_outcome"]
    return outcome["operation"] == "uninstall" and outcome["result"] == "done"


def is_whole(device: DeviceUnderTest) -> bool:
    return all(not slot["damaged"] for slot in device.ask("POST", "/v1/verify", {})["slots"])


def install_first(publisher: Publisher, device: DeviceUnderTest, beside: bytes = b"") -> None:
    publisher.publish("1.1.1", kind="feature", beside={"adapter.bin": beside} if beside else None)
    accept(device, "1.1.1")


def two_versions(mode: str, before: bytes, after: bytes) -> Callable[[Publisher, DeviceUnderTest], None]:
    """1.1.1 in use, and 1.1.2 offered as a package of the given kind."""

    def prepare(publisher: Publisher, device: DeviceUnderTest) -> None:
        install_first(publisher, device, before)
        baselines = None if mode == "differential" else ()
        publisher.publish("1.1.2", beside={"adapter.bin": after} if after else None, baselines=baselines)
        offer = device.check()
        assert offer is not None
        assert offer["offer"]["mode"] == mode, f"{offer['offer']['mode']} instead of {mode}"

    return prepare


def second_in_use(publisher: Publisher, device: DeviceUnderTest) -> None:
    install_first(publisher, device)
    publisher.publish("1.1.2")
    accept(device, "1.1.2")


def other_layout(publisher: Publisher, device: DeviceUnderTest) -> None:
    """1.1.1 in use, and 1.1.2 offered, which keeps the user's data in another layout."""
    install_first(publisher, device)
    user_data = Path(device.status()["user_data"])
    user_data.mkdir(exist_ok=True)
    (user_data / "notes.txt").write_bytes(USER_DATA)
    publisher.publish("1.1.2", permissions="[]\nuser_data_schema = 2")


def other_layout_in_use(publisher: Publisher, device: DeviceUnderTest) -> None:
    """1.1.2 in use, which has written to the user's data in its own layout."""
    other_layout(publisher, device)
    accept(device, "1.1.2")
    (Path(device.status()["user_data"]) / "newer.txt").write_bytes(USER_DATA)


def damaged(publisher: Publisher, device: DeviceUnderTest) -> None:
    """1.1.2 in use, a byte of the version before flipped."""
    install_first(publisher, device, SHARED)
    publisher.publish("1.1.2", beside={"adapter.bin": SHARED})
    accept(device, "1.1.2")
    path = device.layout.model(MODEL).slot("1.1.1+q8") / "files" / "model.bin"
    path.chmod(0o644)
    with path.open("r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 1]))


def published_first(publisher: Publisher, _: DeviceUnderTest) -> None:
    publisher.publish("1.1.1", kind="feature")


def changed(data: bytes) -> bytes:
    """The same with one byte in every thousand changed."""
    copy = bytearray(data)
    for offset in range(0, len(copy), 1000):
        copy[offset] ^= 1
    return bytes(copy)


OPERATIONS: tuple[Operation, ...] = (
    Operation("install", published_first, accept, None, "1.1.1"),
    Operation("full", two_versions("full", OTHER, ANOTHER), accept, "1.1.1", "1.1.2"),
    Operation("incremental", two_versions("incremental", SHARED, SHARED), accept, "1.1.1", "1.1.2"),
    Operation("differential", two_versions("differential", SHARED, changed(SHARED)), accept, "1.1.1", "1.1.2"),
    Operation("rollback", second_in_use, roll_back, "1.1.2", "1.1.1"),
    Operation("layout", other_layout, accept, "1.1.1", "1.1.2"),
    Operation("layout-back", other_layout_in_use, roll_back, "1.1.2", "1.1.1"),
    Operation("repair", damaged, repair, "1.1.2", "1.1.2", is_done=is_whole),
    Operation("uninstall", second_in_use, uninstall, "1.1.2", None, is_done=is_gone),
)


# -- the walk ----------------------------------------------------------------------------------------------------------


class Walker:
    """Walks one operation on one device."""

    def __init__(self, place: Path, operation: Operation) -> None:
        place.mkdir(parents=True)
        self.operation = operation
        publisher = Publisher(place)
        self.device = publisher.device()
        user_data = self.device.layout.model(MODEL).user_data
        self.device.start()
        operation.prepare(publisher, self.device)
        self.device.stop()
        user_data.mkdir(parents=True, exist_ok=True)
        (user_data / "notes.txt").write_bytes(USER_DATA)
        self._log = place / f"{self.device.root.name}.log"
        self._snapshot = Snapshot(self.device)

    def close(self) -> None:
        """End the device, however it is."""
        self.device.kill()

    def round(self, passage: Passage, figures: Figures) -> None:
        """One round.

        Raises:
            AssertionError: an invariant does not hold.
            DeviceGoneError: the device does not start any more, or hangs.
        """
        self._snapshot.restore()
        device, operation = self.device, self.operation
        written = self._log.stat().st_size if self._log.exists() else 0
        with suppress(DeviceGoneError, AssertionError):  # it was killed, or answered with the error
            device.start(faults_armed=passage.clause)
            operation.perform(device)
        figures.rounds += 1
        figures.reached += self._is_told(device) or faults.VARIABLE.encode() in self._log.read_bytes()[written:]
        device.kill()
        device.start()
        allowed = {operation.before, operation.after}
        device_invariants(device, allowed)
        for _ in range(3):  # an answer may have to be given again, as when a first check only brings the offer
            if operation.done(device):
                break
            operation.perform(device)
        assert operation.done(device), f"does not complete: {device.status()}"
        device_invariants(device, {operation.after})
        device.stop()
        disk_invariants(device, operation.after)

    def _is_told(self, device: DeviceUnderTest) -> bool:
        """Whether a worker said that it reached the passage, or the supervisor that its worker is gone."""
        for name in ("background.log", "foreground.log"):
            with suppress(OSError):
                if faults.VARIABLE.encode() in (device.layout.log / name).read_bytes():
                    return True
        with suppress(DeviceGoneError, AssertionError):
            return any(entry["facts"].get("code") == "worker-crashed" for entry in device.log())
        return False

    def walk(self, passages: Iterator[Passage], figures: Figures) -> None:
        """Walk `passages`; what does not hold is counted, with the way to see it again."""
        for passage in passages:
            try:
                self.round(passage, figures)
            except (AssertionError, DeviceGoneError) as error:
                figures.violations.append(f"{self.operation.name} {passage.clause}: {error}")
                self.device.kill()

    def exhaust(self, point: str, action: str, figures: Figures) -> None:
        """Walk n = 1, 2, 3 … of a point until none is reached."""
        for nth in itertools.count(1):
            before = figures.reached
            self.walk(iter([Passage(point, nth, action)]), figures)
            if figures.reached == before:
                return


def sample(operations: int, count: int, seed: int) -> list[list[Passage]]:
    """For each of so many operations a seeded sample of passages, every point and action as often as any other."""
    chance = random.Random(seed)
    pairs = list(itertools.product(DEVICE_POINTS, ACTIONS))
    chance.shuffle(pairs)
    endless = itertools.cycle(pairs)
    return [
        [Passage(point, chance.choice((1, 1, 2, 3, 5)), action) for point, action in itertools.islice(endless, count)]
        for _ in range(operations)
    ]


# -- what must hold ----------------------------------------------------------------------------------------------------


def device_invariants(device: DeviceUnderTest, allowed: set[str | None]) -> None:
    """One version in use, which serves and is what the link names; nothing staged; no slot but those that are told."""
    status = come_to_rest(device)
    version = status["active_version"]
    assert version in allowed, f"{version} in use instead of {allowed}: {status}"
    assert status["phase"] != "degraded", status
    model = device.layout.model(MODEL)
    if version is not None:
        assert f"version {version}" in device.chat("Who are you?")
        assert model.current.readlink() == Path("slots") / f"{version}+q8"
    views = device.ask("GET", "/v1/versions")["versions"]
    kept = {f"{view['version']}+q8" for view in views if view["state"] in {"active", "previous", "kept"}}
    wait_until(lambda: not model.staging.exists(), "staging is not empty")
    wait_until(lambda: slots_of(device) == kept, f"slots other than {kept}")
    sequence = [entry["seq"] for entry in device.log()]
    assert sequence == sorted(set(sequence))
    assert (model.user_data / "notes.txt").read_bytes() == USER_DATA


def slots_of(device: DeviceUnderTest) -> set[str]:
    with suppress(FileNotFoundError):
        return {path.name for path in device.layout.model(MODEL).slots.iterdir()}
    return set()


def disk_invariants(device: DeviceUnderTest, version: str | None) -> None:
    """Of a device that does not run: database sound, files of every slot whole, nothing there that nobody knows."""
    with closing(sqlite3.connect(f"file:{device.layout.database}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ledger = {path for (path,) in database.execute("SELECT path FROM ledger WHERE removed_at IS NULL")}
        described = [
            msgspec.json.decode(data, type=SlotDescription)
            for (data,) in database.execute("SELECT description FROM slots")
        ]
    model = device.layout.model(MODEL)
    if version is None:
        assert not described, f"uninstalled, but there are {[each.slot.name for each in described]}"
    else:
        assert any(description.slot.version == version for description in described)
    for description in described:
        for file in description.files:
            path = model.slot(description.slot.name) / "files" / file.path
            assert digest_file(path) == (file.digest, file.size_bytes), f"{path} is not whole"
    slots = {str(model.slot(description.slot.name)) for description in described}
    known = ledger & slots  # a slot is noted as a whole
    strays = [
        path for path in below(model.directory) if not known & set(map(str, path.parents)) and str(path) not in ledger
    ]
    assert not strays, f"not in the ledger: {strays}"
    temporary = [path for path in device.root.rglob("*") if path.name.endswith(".tmp")]
    assert not temporary, f"left over: {temporary}"


def below(directory: Path) -> Iterator[Path]:
    """Everything below a model's directory but the user's data and what engines write in their own directories."""
    for folder, folders, names in os.walk(directory):
        place = Path(folder)
        if place.name.endswith("+q8"):
            folders[:] = [name for name in folders if name not in ENGINES_OWN]
        if place == directory:
            folders[:] = [name for name in folders if name != "userdata" and not name.startswith("userdata-from-")]
        yield from (place / name for name in (*folders, *names))


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def worker_of(device: DeviceUnderTest) -> int | None:
    """Process id of a worker of the device, or None."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (path / "cmdline").read_bytes()
            if b"modelota.agent.worker" in command and os.fsencode(device.root) in command:
                return int(path.name)
    return None
