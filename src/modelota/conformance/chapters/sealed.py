"""A release that must lie sealed: it serves, one byte of it is changed, it is repaired; and a backup of user data."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelota.conformance.chapters.watched import serving_version
from modelota.conformance.commands import Done
from modelota.conformance.device import Device
from modelota.conformance.readings import (
    descendants,
    file_hash,
    files_below,
    flip_byte,
    open_names,
    windows_found,
    windows_of,
)
from modelota.conformance.releases import PROMPT, Table, standin
from modelota.conformance.row import Unreached
from modelota.conformance.socket_client import Answer
from modelota.conformance.stage import SEALED, Stage

Json = dict[str, Any]

_BALLAST_BYTES: Final = 256 << 10
_NOTES_BYTES: Final = 20_000
_PASSPHRASE: Final = "a passphrase of this check"  # noqa: S105  of a disposable file


@dataclass
class SealedSlot:
    """What was seen of a version that lies sealed.

    Attributes:
        answers: what the engine said, before the damage and after the repair.
        plain_windows: pieces of the model found in files below the device root: while it served, and afterwards.
        searched_bytes: how much was searched the first time.
        control_windows: pieces found by the same search in the source files: the search is able to find them.
        in_memory: names of memory files that the engine held open.
        damaged: answer to the request for an engine after one byte was changed.
        asked: `modelota device verify --repair`, which has to ask first.
        repaired: `modelota device update --accept` of the offer.
        looks_plain: a file of the slot has the bytes of its source.
        serves: the version that answers a request for the engine afterwards.
        backup_bytes: size of the backup of the user's data.
        backup_windows: pieces of that data that lie in it.
    """

    answers: list[str]
    plain_windows: tuple[int, int]
    searched_bytes: int
    control_windows: int
    in_memory: list[str]
    damaged: Answer
    asked: Done
    repaired: Done
    looks_plain: bool
    serves: str | None
    backup_bytes: int
    backup_windows: int


def sealed_slot(stage: Stage) -> SealedSlot:
    """Install a release whose manifest requires a sealed slot, search the disk, damage it, repair it, search again."""
    table = standin(stage.scratch, SEALED, ballast_bytes=_BALLAST_BYTES) | {"at_rest": "sealed"}
    stage.workshop.publish(table)
    device = stage.device("q", stage.workshop, SEALED)
    device.start()
    if device.update()["result"] != "done":
        raise Unreached(f"{SEALED} was not installed: {device.status()['last_outcome']}")
    sources = [Path(file["source"]) for file in table["variants"][0]["files"]]
    windows = windows_of(b"".join(path.read_bytes() for path in sources))
    control = sum(windows_found(path.read_bytes(), windows) for path in sources)
    serving_version(device)
    answers = [_ask(device)]
    first, searched_bytes = _search(device, windows)
    in_memory = sorted(_memory_files(device))
    looks_plain = _looks_plain(device, table)
    victim = device.slot(str(table["version"])) / "files" / "ballast.bin"
    device.stop()
    flip_byte(victim, victim.stat().st_size // 2)
    device.start()
    damaged = device.socket.request("POST", "/v1/chat", {"model": device.model})
    asked = device.command("verify", "--repair", "--json", "--model", device.model)
    digest = str((asked.error.get("params") or {}).get("digest"))
    repaired = device.command("update", "--accept", digest, "--json")
    serves = serving_version(device)
    answers.append(_ask(device))
    second, _ = _search(device, windows)
    backup_bytes, backup_windows = _backup(stage, device)
    device.stop()
    return SealedSlot(
        answers=answers,
        plain_windows=(first, second),
        searched_bytes=searched_bytes,
        control_windows=control,
        in_memory=in_memory,
        damaged=damaged,
        asked=asked,
        repaired=repaired,
        looks_plain=looks_plain,
        serves=serves,
        backup_bytes=backup_bytes,
        backup_windows=backup_windows,
    )


def _ask(device: Device) -> str:
    return device.command("chat", PROMPT, "--model", device.model, "--lang", "en").out.strip()


def _search(device: Device, windows: tuple[bytes, ...]) -> tuple[int, int]:
    """How many windows lie in any file below the root, and how many bytes that were."""
    found = size_bytes = 0
    for path in files_below(device.root):
        data = path.read_bytes()
        found += windows_found(data, windows)
        size_bytes += len(data)
    return found, size_bytes


def _memory_files(device: Device) -> set[str]:
    engines = [process.pid for process in descendants(device.agent_pid) if process.role == "engine"]
    return {name for pid in engines for name in open_names(pid) if name.startswith("/memfd:")}


def _looks_plain(device: Device, table: Table) -> bool:
    files = device.slot(str(table["version"])) / "files"
    return any(
        file_hash(files / file["path"]) == file_hash(Path(file["source"])) for file in table["variants"][0]["files"]
    )


def _backup(stage: Stage, device: Device) -> tuple[int, int]:
    """Have known user data written to a backup; its size, and how many pieces of the data lie in it."""
    notes = random.Random("notes").randbytes(_NOTES_BYTES)  # noqa: S311  known content, not a secret
    (device.place / "userdata").mkdir(exist_ok=True)
    (device.place / "userdata" / "notes.bin").write_bytes(notes)
    file = stage.scratch / "user.backup"
    body = {"path": str(file), "passphrase": _PASSPHRASE, "model": device.model}
    done = device.socket.request("POST", "/v1/backup", body)
    if done.status != 200:
        raise Unreached(f"backup: {done.status} {done.body}")
    data = file.read_bytes()
    return len(data), windows_found(data, windows_of(notes))
