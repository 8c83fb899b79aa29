"""What must be refused before anything is fetched or published: demands, versions, addresses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from modelota.conformance.chapters.attempts import Attempt, of_command
from modelota.conformance.publisher import Publisher
from modelota.conformance.readings import tree_hash
from modelota.conformance.releases import standin
from modelota.conformance.stage import EXCESSIVE, STEPS, VERSIONS, Stage
from modelota.testing.network import InstrumentedServer

Json = dict[str, Any]

_REFUSED = (
    "1.0.0",
    "0.1.1",
    "1.1.0",
    "01.1.1",
    "1.1",
    "1.1.1.1",
    "1.1.-1",
    "v1.1.1",
    "1.1.1-rc1",
    "１.1.1",  # a full-width digit
    "",
)
_ACCEPTED = ("1.1.1",)
_SKIPS = ("1.2.2", "2.1.2", "2.2.1", "1.1.1")  # after 1.1.1: lower parts did not restart, or it is not newer
_STEPS = ("1.1.2", "1.2.1", "2.1.1")


@dataclass
class Demand:
    """A release that demands too much of this device.

    Attributes:
        requirement: what it demands.
        refused: errors that the check answered with.
        offered: an offer was made all the same.
        content_bytes: served because of the check.
        accept: attempt to install it all the same.
        texts: what `modelota device check` printed, by language.
    """

    requirement: str
    refused: list[Json]
    offered: bool
    content_bytes: int
    accept: Attempt
    texts: dict[str, str]


def demands(stage: Stage) -> list[Demand]:
    """Publish one release per demand that no device meets, and check for it."""
    workshop = stage.workshop
    for model, (_, requires) in EXCESSIVE.items():
        workshop.publish(standin(stage.scratch, model, requires=requires))
    device = stage.device("d", workshop, STEPS)
    device.start()
    found = []
    for model, (requirement, _) in EXCESSIVE.items():
        served = workshop.pack_bytes
        result = device.check(model)
        accept = device.command("update", "--model", model, "--json")
        texts = {lang: device.command("check", "--model", model, "--lang", lang).out for lang in ("zh", "en")}
        moved = workshop.pack_bytes - served
        attempt = of_command("update", accept, moved, device.status(model)["phase"])
        found.append(Demand(requirement, result["refused"], result["offer"] is not None, moved, attempt, texts))
    device.stop()
    return found


@dataclass
class Versions:
    """What the publisher's tool said to version numbers and contents.

    Attributes:
        refused: text of a version that has to be refused -> code and detail.
        accepted: text of one that has to be accepted -> code, or None.
        skipped: version that must not follow 1.1.1 -> code and detail.
        followed: version that may follow 1.1.1 -> code, or None.
        other_content: the same version with other content.
        other_version: the same content under another version.
        unchanged: the public repository had the same bytes before and after both.
        again: exactly the same release again: an interrupted publication is finished, nothing changes.
    """

    refused: dict[str, Json] = field(default_factory=dict)
    accepted: dict[str, str | None] = field(default_factory=dict)
    skipped: dict[str, Json] = field(default_factory=dict)
    followed: dict[str, str | None] = field(default_factory=dict)
    other_content: Attempt | None = None
    other_version: Attempt | None = None
    unchanged: bool = False
    again: str | None = None


def versions(stage: Stage) -> Versions:
    """Try versions and contents on a model of their own."""
    workshop, told = stage.workshop, Versions()
    base = standin(stage.scratch, VERSIONS)
    told.refused = _dry_all(workshop, base, _REFUSED)
    told.accepted = {text: found["code"] for text, found in _dry_all(workshop, base, _ACCEPTED).items()}
    workshop.publish(base)
    other = standin(stage.scratch, VERSIONS, "1.1.2")
    told.skipped = _dry_all(workshop, other, _SKIPS)
    told.followed = {text: found["code"] for text, found in _dry_all(workshop, other, _STEPS).items()}
    before = tree_hash(workshop.public)
    told.other_content = of_command("", workshop.try_publish(other | {"version": "1.1.1"}, name="other-content"))
    told.other_version = of_command("", workshop.try_publish(base | {"version": "1.1.2"}, name="other-version"))
    told.unchanged = tree_hash(workshop.public) == before
    told.again = workshop.try_publish(base, name="again").code
    return told


def _dry_all(workshop: Publisher, table: Json, texts: Sequence[str]) -> dict[str, Json]:
    """Dry runs of one release under several versions, two at a time: they write nothing."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda one: _dry(workshop, table | {"version": one[1]}, f"attempt-{one[0]}"), enumerate(texts))
        return dict(zip(texts, found, strict=True))


def _dry(workshop: Publisher, table: Json, name: str) -> Json:
    """What a dry run refuses the release for; code None when it does not."""
    done = workshop.try_publish(table, "--dry-run", name=name)
    if done.status == 0:
        return {"code": None, "detail": None}
    refusals: list[Json] = next((found["refusals"] for found in done.objects if found.get("refusals")), [])
    error = done.error or (refusals[0] if refusals else {})
    return {"code": error.get("code"), "detail": (error.get("params") or {}).get("detail"), "status": done.status}


@dataclass
class Transport:
    """What a device said to addresses it must not use.

    Attributes:
        insecure: plain http to other machines and to names that only look like this one -> how it was refused.
        untrusted_tls: https with a certificate that nobody vouches for -> how it was refused.
        untrusted_requests: requests that arrived over that connection.
    """

    insecure: dict[str, Attempt]
    untrusted_tls: Attempt
    untrusted_requests: int


def transport(stage: Stage) -> Transport:
    """Enrol devices with such addresses and let them check."""
    text = stage.workshop.enrolment.read_text(encoding="utf-8")
    hosts = ("198.51.100.7", "127.0.0.1.example", "localhost.example", "0.0.0.0", "127.0.0.1@198.51.100.7")  # noqa: S104  an address to refuse
    insecure = {}
    for index, host in enumerate(hosts):
        insecure[host] = _tried(stage, f"t{index}", text, f"http://{host}/")
    with InstrumentedServer(stage.workshop.public, tls=True) as server:
        untrusted = _tried(stage, "tls", text, server.url)
        arrived = len(server.requests())
    return Transport(insecure, untrusted, arrived)


def _tried(stage: Stage, name: str, enrolment: str, url: str) -> Attempt:
    file = stage.scratch / f"{name}.toml"
    file.write_text(re.sub(r'(?m)^url = ".*"$', f'url = "{url}"', enrolment, count=1), encoding="utf-8")
    root = stage.place / name
    root.mkdir(mode=0o700)
    (root / "config.toml").write_text('[keys]\nstore = "file"\n', encoding="utf-8")
    done = stage.cli.run("device", "init", str(file), "--root", str(root), "--json")
    if done.status == 0:
        done = stage.cli.run("device", "check", "--model", STEPS, "--root", str(root), "--json")
    return of_command(url, done)
