"""A line of releases with every kind of package: published, walked by a device release by release, and back again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelota.conformance.chapters.attempts import Attempt, of_command
from modelota.conformance.device import Device
from modelota.conformance.published import Json, PublishedRepository
from modelota.conformance.publisher import Publisher
from modelota.conformance.readings import file_hash
from modelota.conformance.releases import Table, standin
from modelota.conformance.row import Unreached
from modelota.conformance.stage import RELATED, STEP_BALLAST_BYTES, Stage

_RELATED_VERSIONS: Final = ("1.1.1", "1.1.2", "1.1.3")
_WITH_MODULE: Final = "1.2.1"
_MODULE_BYTES: Final = 32 << 10


@dataclass
class Release:
    """One release and how it was published.

    Attributes:
        table: its description.
        baselines: versions that differential packages were demanded from.
        demanded: the attempt to publish it with an incremental package by all means; None for the first of its model.
        report: what the publisher's tool told of the publication that succeeded.
        manifest: as it was published.
        sha256: of its canonical bytes.
    """

    table: Table
    baselines: tuple[str, ...]
    demanded: Attempt | None
    report: Json
    manifest: Json = field(default_factory=dict)
    sha256: str = ""

    @property
    def name(self) -> str:
        """Model and version."""
        return f"{self.table['model']} {self.table['version']}"

    def plain(self, variant_name: str) -> bytes:
        """The bytes of the variant's source files, one after the other."""
        return b"".join(path.read_bytes() for path in self.sources(variant_name).values())

    def sources(self, variant_name: str) -> dict[str, Path]:
        """The variant's source files by their paths on a device."""
        variant = next(each for each in self.table["variants"] if each["name"] == variant_name)
        return {file["path"]: Path(file["source"]) for file in variant["files"]}


@dataclass
class Line:
    """What was published.

    Attributes:
        releases: by model, in order.
        broken_packs: packs that are not what the manifests say.
        history: what `modelota repo history --json` printed, by model.
    """

    releases: dict[str, list[Release]]
    broken_packs: list[str]
    history: dict[str, list[Json]]

    def release(self, model: str, version: str) -> Release:
        """One of them."""
        return next(each for each in self.releases[model] if each.table["version"] == version)


def published_line(stage: Stage) -> Line:
    """Publish each release, first demanding an incremental package.

    Differential ones are demanded from all releases before it; of the stand-in from the predecessor only, so that its
    devices have a plan that is incremental.
    """
    publisher = stage.parcels
    releases: dict[str, list[Release]] = {}
    for table in (*stage.family.line, *_related(stage)):
        model = str(table["model"])
        before = [each.table["version"] for each in releases.setdefault(model, [])]
        named = before[-1:] if model == RELATED else before
        releases[model].append(_publish(publisher, table, named))
    with PublishedRepository(publisher.server.url, publisher.public / "metadata" / "1.root.json") as repository:
        signed = {(each.manifest["model"], each.manifest["version"]): each for each in repository.signed}
        for release in (each for line in releases.values() for each in line):
            found = signed.get((release.table["model"], release.table["version"]))
            if found is None:
                raise Unreached(f"{release.name} is not in the published repository")
            release.manifest, release.sha256 = found
        broken = repository.broken_packs()
    return Line(releases, broken, {model: publisher.history(model) for model in releases})


def _related(stage: Stage) -> list[Table]:
    """Three that differ a little all over, and one that adds a module to the last."""

    def table(version: str, ballast_of: str, module_bytes: int = 0) -> Table:
        return standin(
            stage.scratch,
            RELATED,
            version,
            ballast_bytes=STEP_BALLAST_BYTES,
            related=True,
            ballast_of=ballast_of,
            module_bytes=module_bytes,
        )

    last = table(_WITH_MODULE, _RELATED_VERSIONS[-1], _MODULE_BYTES)
    return [*(table(version, version) for version in _RELATED_VERSIONS), last]


def _publish(publisher: Publisher, table: Table, before: list[str]) -> Release:
    options = tuple(word for version in before for word in ("--baseline", version))
    attempt = None
    if before:
        done = publisher.try_publish(table, "--incremental", *options)
        attempt = of_command("incremental-demanded", done)
        if done.status == 0:
            return Release(table, tuple(before), attempt, done.objects[-1])
    return Release(table, tuple(before), attempt, publisher.publish(table, *options))


@dataclass
class Arrival:
    """What was seen while a device took one release.

    Attributes:
        release: which.
        held: versions that the device had before.
        view: the offer it accepted.
        served_bytes: content served for it.
        outcome: how it ended.
        identical: every file of the slot has the SHA-256 of its source.
    """

    release: Release
    held: tuple[str, ...]
    view: Json
    served_bytes: int
    outcome: Json
    identical: bool

    @property
    def offer(self) -> Json:
        """The canonical offer."""
        offer: Json = self.view["offer"]
        return offer


@dataclass
class Return:
    """What was seen of the way back to one baseline.

    Attributes:
        release: the baseline.
        held: versions that the device had before.
        kept: its slot was on the device still.
        offer: that had to be answered, or None.
        bytes_before_decision: content served until it was answered.
        served_bytes: content served in all.
        seconds: from the command to the end, the answer's time not counted but both commands.
        status: of the last command.
        active: version in use afterwards.
        serves: the version that answers a request for the engine.
        identical: every file of the slot has the SHA-256 of its source.
        left_over: names that do not belong into the device root afterwards.
    """

    release: Release
    held: tuple[str, ...]
    kept: bool
    offer: Json | None
    bytes_before_decision: int
    served_bytes: int
    seconds: float
    status: int
    active: str | None
    serves: str | None
    identical: bool
    left_over: list[str]


@dataclass
class Travels:
    """What a device went through.

    Attributes:
        arrivals: by model, in order.
        returns: by model, in order.
    """

    arrivals: dict[str, list[Arrival]] = field(default_factory=dict)
    returns: dict[str, list[Return]] = field(default_factory=dict)


def travels(stage: Stage) -> Travels:
    """Install every release of both models in order, then go back to every baseline, newest first."""
    line = stage.chapter(published_line)
    device = stage.device("v", stage.parcels, stage.family.model)
    device.start()
    told = Travels()
    for model, releases in line.releases.items():
        told.arrivals[model] = [_arrive(stage, device, model, release) for release in releases]
        told.returns[model] = [_return(stage, device, model, release) for release in reversed(releases[:-1])]
    device.stop()
    return told


def _arrive(stage: Stage, device: Device, model: str, release: Release) -> Arrival:
    served, before = stage.parcels.pack_bytes, device.status(model)["last_outcome"]
    held = tuple(sorted(_installed(device, model)))
    view = device.accept_offer(model, version=release.table["version"])
    outcome = device.outcome(before, model)
    if outcome["result"] != "done":
        raise Unreached(f"{release.name} was not installed: {outcome}")
    moved = stage.parcels.pack_bytes - served
    return Arrival(release, held, view, moved, outcome, _identical(device, model, release))


def _return(stage: Stage, device: Device, model: str, release: Release) -> Return:
    publisher, version = stage.parcels, release.table["version"]
    served, held = publisher.pack_bytes, tuple(sorted(_installed(device, model)))
    started = time.monotonic()
    done = device.command("rollback", version, "--model", model, "--json")
    seconds, offer, undecided = time.monotonic() - started, None, 0
    if done.code == "decision-required":
        digest = str(done.error["params"]["digest"])
        offer = device.socket.get(f"/v1/offers/{digest}")["offer"]
        undecided = publisher.pack_bytes - served
        started = time.monotonic()
        done = device.command("update", "--accept", digest, "--json")
        seconds += time.monotonic() - started
    serves = device.socket.request("POST", "/v1/chat", {"model": model})
    return Return(
        release=release,
        held=held,
        kept=version in held,
        offer=offer,
        bytes_before_decision=undecided,
        served_bytes=publisher.pack_bytes - served,
        seconds=seconds,
        status=done.status,
        active=device.status(model)["active_version"],
        serves=serves.body["version"] if serves.status == 200 else None,
        identical=_identical(device, model, release),
        left_over=device.left_over(model),
    )


def _installed(device: Device, model: str) -> set[str]:
    slots = device.root / "models" / model / "slots"
    return {path.name.partition("+")[0] for path in slots.iterdir()} if slots.is_dir() else set()


def _identical(device: Device, model: str, release: Release) -> bool:
    version = release.table["version"]
    if version not in _installed(device, model):
        return False
    slot = device.slot(version, model)
    files = release.sources(slot.name.partition("+")[2])
    there = {str(path.relative_to(slot / "files")) for path in (slot / "files").rglob("*") if path.is_file()}
    return there == set(files) and all(file_hash(slot / "files" / name) == file_hash(p) for name, p in files.items())
