"""The owner's data through updates and ways back: the same layout and another, the user's wish and the watch."""

from __future__ import annotations

import random
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from modelota.conformance.chapters.watched import serving_version
from modelota.conformance.commands import Done
from modelota.conformance.device import Device
from modelota.conformance.readings import entries_below, file_hash, tree_hash, windows_found, windows_of
from modelota.conformance.releases import Table, standin
from modelota.conformance.row import Unreached
from modelota.conformance.socket_client import AgentSocket
from modelota.conformance.stage import USER_DATA, Stage
from modelota.testing.engine import FOUND_FILE

Json = dict[str, Any]
Contents = Mapping[str, str]  # name -> mode and hash

FIRST: Final = "1.1.1"
_ANSWERS_OF_TESTS: Final = 8  # more than a self-test asks for, so that it passes
_REQUESTS_MAX: Final = 40
_DATA_BYTES: Final = 20_000
_PASSPHRASE: Final = {"MODELOTA_PASSPHRASE": "a passphrase of this check"}
_WRONG: Final = {"MODELOTA_PASSPHRASE": "not that passphrase"}
_WATCH: Final[Mapping[str, Mapping[str, object]]] = {"watch": {"crashes": 1}}


class Trip(NamedTuple):
    """An update and the way back.

    Attributes:
        version: that is gone to.
        layout: of the user's data that it keeps; the first version's is 1.
        crashes: it ends by itself in use, so that the watch brings the device back; else the user wants to go back.
    """

    version: str
    layout: int
    crashes: bool

    @property
    def name(self) -> str:
        """What the claims about it are called."""
        return f"{'other' if self.layout != 1 else 'same'}-layout-{'watch' if self.crashes else 'user'}"


TRIPS: Final = (
    Trip("1.1.2", 1, crashes=False),
    Trip("1.1.3", 1, crashes=True),
    Trip("1.1.4", 2, crashes=False),
    Trip("1.1.5", 2, crashes=True),
)


@dataclass
class Kept:
    """The version before while the new one is watched.

    Attributes:
        phase: of the model.
        state: what `GET /v1/versions` calls the version before.
        trees: hashes of its files: before the update, before the return, and in use again.
        writable: names among them that anybody may write.
    """

    phase: str
    state: str | None
    trees: tuple[str, str, str]
    writable: list[str]


@dataclass
class Copy:
    """The sealed copy of the user's data from before the update.

    Attributes:
        modes: of the file and of its directory.
        windows: pieces of the data that lie in it.
        control_windows: pieces that the same search finds in the data themselves.
        size_bytes: of the file.
        told_bytes: its size as the journal tells it.
    """

    modes: tuple[str, str]
    windows: int
    control_windows: int
    size_bytes: int
    told_bytes: int | None


@dataclass
class Travelled:
    """What was seen of one trip.

    Attributes:
        trip: which.
        before: the data before the update.
        newer: the data before the return, what was written after the update included.
        after: the data after it.
        beside: what lies in each directory that came beside.
        kept: the version before, meanwhile.
        copy: the data's copy.
        active: version in use afterwards.
        serves: the version that answers a request for the engine.
    """

    trip: Trip
    before: Contents
    newer: Contents
    after: Contents
    beside: list[Contents]
    kept: Kept
    copy: Copy
    active: str | None
    serves: str | None


@dataclass
class Backup:
    """The data exported on one device and taken in on another.

    Attributes:
        made: `modelota device backup`.
        wrong: `modelota device restore` on the other device with another passphrase.
        restored: the same with the right one.
        mode: of the file.
        windows: pieces of the data that lie in it.
        exported: the data that it was made of.
        imported: the data on the other device afterwards.
    """

    made: Done
    wrong: Done
    restored: Done
    mode: str
    windows: int
    exported: Contents
    imported: Contents


@dataclass
class OwnData:
    """All of it.

    Attributes:
        trips: in order.
        layouts_met: that engines of the first version found in the data, at every start.
        backup: export and import.
    """

    trips: list[Travelled]
    layouts_met: list[str]
    backup: Backup


def own_data(stage: Stage) -> OwnData:
    """Go to each version and back, writing before and after; then carry the data to another device."""
    workshop = stage.workshop
    workshop.publish(_release(stage, Trip(FIRST, 1, crashes=False)))
    device = stage.device("x", workshop, USER_DATA, config=_WATCH)
    device.start()
    _take(device, FIRST)
    plain = _write(device, "letters/before.bin")
    trips = []
    for trip in TRIPS:
        workshop.publish(_release(stage, trip))
        trips.append(_travel(device, trip, plain))
    met = [line for path in device.slot(FIRST).glob(f"cache/*/{FOUND_FILE}") for line in path.read_text().split()]
    backup = _carry_over(stage, device, plain)
    device.stop()
    return OwnData(trips, met, backup)


def _release(stage: Stage, trip: Trip) -> Table:
    script: Json = {"user_data_layout": trip.layout}
    if trip.crashes:
        script["crash_after"] = _ANSWERS_OF_TESTS
    return standin(stage.scratch, USER_DATA, trip.version, script=script) | {"user_data_schema": trip.layout}


def _take(device: Device, version: str) -> None:
    before = device.status()["last_outcome"]
    device.accept_offer(version=version)
    outcome = device.outcome(before)
    if outcome["result"] != "done":
        raise Unreached(f"{USER_DATA} {version} was not installed: {outcome}")


def _place(device: Device) -> Path:
    return Path(device.status()["user_data"])


def _write(device: Device, name: str) -> bytes:
    """Write known data, as an application does; private, as its owner may want them."""
    data = random.Random(name).randbytes(_DATA_BYTES)  # noqa: S311  known content, not a secret
    path = _place(device) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o640)
    return data


def contents(directory: Path) -> Contents:
    """Everything below a directory: modes, and hashes of files."""
    return {
        str(path.relative_to(directory)): f"{path.lstat().st_mode:o} {file_hash(path) if path.is_file() else ''}"
        for path in entries_below(directory)
    }


def _travel(device: Device, trip: Trip, plain: bytes) -> Travelled:
    files, place, copies = device.slot(FIRST) / "files", _place(device), device.place / "backups"
    tree, before = tree_hash(files), contents(place)
    known, asides = set(entries_below(copies)), set(_asides(device))
    _take(device, trip.version)
    made = sorted(set(entries_below(copies)) - known)
    if not made:
        raise Unreached(f"no copy of the user's data was made before {trip.version}")
    copy = _copy(device, made[0], plain)
    _write(device, f"letters/after-{trip.version}.bin")
    newer, status = contents(place), device.status()
    versions = device.socket.get("/v1/versions", model=device.model)["versions"]
    state = next((str(each["state"]) for each in versions if each["version"] == FIRST), None)
    during = tree_hash(files)
    writable = [str(path) for path in (files, *entries_below(files)) if path.lstat().st_mode & 0o222]
    _return(device, trip, status)
    serves = serving_version(device)
    return Travelled(
        trip=trip,
        before=before,
        newer=newer,
        after=contents(place),
        beside=[contents(path) for path in _asides(device) if path not in asides],
        kept=Kept(str(status["phase"]), state, (tree, during, tree_hash(files)), writable),
        copy=copy,
        active=device.status()["active_version"],
        serves=serves,
    )


def _asides(device: Device) -> list[Path]:
    return sorted(device.place.glob("userdata-from-*"))


def _copy(device: Device, path: Path, plain: bytes) -> Copy:
    windows, sealed = windows_of(plain), path.read_bytes()
    told = [entry["facts"] for entry in device.log() if entry["event"] == "user-data-saved"]
    sizes = [fact["sealed_bytes"] for fact in told if fact["path"] == str(path)]
    return Copy(
        modes=(_mode(path), _mode(path.parent)),
        windows=windows_found(sealed, windows),
        control_windows=windows_found((_place(device) / "letters" / "before.bin").read_bytes(), windows),
        size_bytes=len(sealed),
        told_bytes=sizes[0] if sizes else None,
    )


def _mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def _return(device: Device, trip: Trip, status: Json) -> None:
    """Go back: as the user, or by having the version crash as often as the watch bears it."""
    if not trip.crashes:
        device.command("rollback", "--model", device.model, "--json")
        return
    gateway = AgentSocket(device.root / "run" / "gateway.sock")
    body = {"messages": [{"role": "user", "content": "Go on"}], "max_tokens": 4, "model": device.model}
    for _ in range(_REQUESTS_MAX):
        if device.status()["active_version"] != trip.version:
            break
        with suppress(Unreached):  # the answer in which it dies
            gateway.request("POST", "/v1/chat/completions", body)
    device.outcome(status["last_outcome"])


def _carry_over(stage: Stage, device: Device, plain: bytes) -> Backup:
    other = stage.device("t", stage.workshop, USER_DATA)
    other.start()
    file, cli = stage.scratch / "own-data.backup", stage.cli

    def run(verb: str, which: Device, environment: Mapping[str, str]) -> Done:
        words = ("device", verb, str(file), "--model", which.model, "--root", str(which.root), "--json")
        return cli.run(*words, environment=environment)

    made = run("backup", device, _PASSPHRASE)
    if not file.exists():
        raise Unreached(f"no backup was written: {made.out[-300:]} {made.err[-300:]}")
    wrong, restored = run("restore", other, _WRONG), run("restore", other, _PASSPHRASE)
    told = Backup(
        made=made,
        wrong=wrong,
        restored=restored,
        mode=_mode(file),
        windows=windows_found(file.read_bytes(), windows_of(plain)),
        exported=contents(_place(device)),
        imported=contents(_place(other)),
    )
    other.stop()
    return told
