"""Ways back to versions that have no slot: one that has to be fetched over a slow line, one that is kept sealed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelota.conformance.chapters.attempts import Attempt, of_answer, of_command
from modelota.conformance.chapters.watched import serving_version
from modelota.conformance.commands import Done
from modelota.conformance.device import Device
from modelota.conformance.publisher import PACKS
from modelota.conformance.readings import file_hash, files_below, windows_found, windows_of
from modelota.conformance.releases import Table, standin
from modelota.conformance.row import Unreached
from modelota.conformance.stage import KEPT, Stage
from modelota.testing.network import Slow
from modelota.testing.network import Status as HttpStatus

Json = dict[str, Any]

OLDER, FIRST, LATER = "1.1.1", "1.1.2", "1.1.3"  # the device begins with the second
_OLDER_BYTES: Final = 10 << 20
_SMALL_BYTES: Final = 40 << 10
_BYTES_PER_S: Final = 16 << 10


@dataclass
class LongWayBack:
    """What was seen of the way back to a large version over a line that was slow before.

    Attributes:
        asked: `modelota device rollback VERSION`, which has to ask first.
        view: the offer that it made.
        texts: the same command in each language.
        refused: attempts to accept it without the explicit choice.
        chosen: accepted with `--although-long`; the line is fast by then.
        active: version in use afterwards.
    """

    asked: Done
    view: Json
    texts: dict[str, str]
    refused: list[Attempt]
    chosen: Done
    active: str | None


@dataclass
class SealedWayBack:
    """What was seen of the way back to a version that is kept sealed, with the repository gone.

    Attributes:
        state: what `GET /v1/versions` calls it.
        kept_bytes: of files that hold it.
        plain_windows: pieces of its content that lie in any file below the device root.
        asked: the command, which has to ask first.
        view: the offer that it made.
        requests: that arrived at the repository meanwhile, and were refused.
        served_bytes: content served meanwhile.
        done: `modelota device update --accept`.
        seconds: both commands took.
        active: version in use afterwards.
        serves: the version that answers a request for the engine.
        identical: every file has the bytes of its source.
    """

    state: str | None
    kept_bytes: int
    plain_windows: int
    asked: Done
    view: Json
    requests: int
    served_bytes: int
    done: Done
    seconds: float
    active: str | None
    serves: str | None
    identical: bool


@dataclass
class WaysBack:
    """Both.

    Attributes:
        long: to a remote version.
        sealed: to a kept one.
    """

    long: LongWayBack
    sealed: SealedWayBack


def ways_back(stage: Stage) -> WaysBack:
    """Measure a slow line, ask for a large version over it; then go back to a kept one while nothing is served."""
    workshop = stage.workshop
    tables = {
        version: standin(stage.scratch, KEPT, version, ballast_bytes=size_bytes)
        for version, size_bytes in ((OLDER, _OLDER_BYTES), (FIRST, _SMALL_BYTES), (LATER, _SMALL_BYTES))
    }
    for version in (OLDER, FIRST):
        workshop.publish(tables[version])
    device = stage.device("o", workshop, KEPT)
    device.start()
    workshop.server.script(PACKS, Slow(_BYTES_PER_S))
    _take(device, FIRST)
    workshop.server.behave()
    long = _long(stage, device)
    workshop.publish(tables[LATER])
    _take(device, LATER)
    sealed = _sealed(stage, device, tables[FIRST])
    device.stop()
    return WaysBack(long, sealed)


def _take(device: Device, version: str) -> None:
    before = device.status()["last_outcome"]
    device.accept_offer(version=version)
    outcome = device.outcome(before)
    if outcome["result"] != "done":
        raise Unreached(f"{KEPT} {version} was not installed: {outcome}")


def _ask(device: Device, version: str) -> tuple[Done, Json]:
    """The command, and the offer that it made.

    Raises:
        Unreached: it made none.
    """
    asked = device.command("rollback", version, "--model", device.model, "--json")
    digest = str((asked.error.get("params") or {}).get("digest"))
    view = device.socket.request("GET", f"/v1/offers/{digest}")
    if view.status != 200:
        raise Unreached(f"no offer to go back to {version}: {asked.out[-300:]} {asked.err[-300:]}")
    return asked, view.body


def _long(stage: Stage, device: Device) -> LongWayBack:
    asked, view = _ask(device, OLDER)
    texts = {
        language: device.command("rollback", OLDER, "--model", device.model, "--lang", language).out
        for language in ("zh", "en")
    }
    served, digest = stage.workshop.pack_bytes, view["digest"]
    by_socket = device.answer(digest, "accept")
    refused = [of_answer("socket", by_socket, stage.workshop.pack_bytes - served, device.status()["phase"])]
    by_command = device.command("update", "--accept", digest, "--json")
    refused.append(of_command("command", by_command, stage.workshop.pack_bytes - served, device.status()["phase"]))
    chosen = device.command("update", "--accept", digest, "--although-long", "--json")
    return LongWayBack(asked, view, texts, refused, chosen, device.status()["active_version"])


def _sealed(stage: Stage, device: Device, table: Table) -> SealedWayBack:
    server, version = stage.workshop.server, str(table["version"])
    device.until(
        lambda: not _has_slot(device, version), f"the slot of {version} to be sealed and removed", timeout_s=20
    )
    versions = device.socket.get("/v1/versions", model=device.model)["versions"]
    state = next((str(each["state"]) for each in versions if each["version"] == version), None)
    sources = {file["path"]: Path(file["source"]) for file in table["variants"][0]["files"]}
    windows = windows_of(sources["ballast.bin"].read_bytes())
    plain = sum(windows_found(path.read_bytes(), windows) for path in files_below(device.root))
    kept_bytes = sum(path.stat().st_size for path in files_below(device.place / "kept"))
    server.script("*", HttpStatus(503))
    requests, served = len(server.requests()), stage.workshop.pack_bytes
    started = time.monotonic()
    asked, view = _ask(device, version)
    done = device.command("update", "--accept", view["digest"], "--json")
    seconds = time.monotonic() - started
    moved, came = stage.workshop.pack_bytes - served, len(server.requests()) - requests
    server.behave()
    return SealedWayBack(
        state=state,
        kept_bytes=kept_bytes,
        plain_windows=plain,
        asked=asked,
        view=view,
        requests=came,
        served_bytes=moved,
        done=done,
        seconds=seconds,
        active=device.status()["active_version"],
        serves=serving_version(device),
        identical=_identical(device, version, sources),
    )


def _has_slot(device: Device, version: str) -> bool:
    return any((device.place / "slots").glob(f"{version}+*"))


def _identical(device: Device, version: str, sources: dict[str, Path]) -> bool:
    if not _has_slot(device, version):
        return False
    files = device.slot(version) / "files"
    return all(file_hash(files / name) == file_hash(source) for name, source in sources.items())
