"""The owner's page, notifications, and answers that are put off, taken back and grow old; on a device of their own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelota.conformance.device import Device
from modelota.conformance.publisher import PACKS, Publisher
from modelota.conformance.releases import Table, standin
from modelota.conformance.row import Unreached
from modelota.conformance.stage import OWNER, Stage
from modelota.conformance.visitor import Seen, Visitor
from modelota.testing.network import Slow

Json = dict[str, Any]

FIRST, SECOND, THIRD = "1.1.1", "1.1.2", "1.1.3"
LANGUAGES: Final = {"zh": "zh-CN", "en": "en"}
CHOICE: Final = {"model": OWNER, "reason": "user", "user_data": "keep"}
_BALLAST_BYTES: Final = 1 << 20
_SLOW_BYTES_S: Final = 300_000
_REMIND_S: Final = 2


@dataclass
class Owner:
    """What the owner saw and did, and what became of it.

    Attributes:
        offer: the one that was shown on the page.
        table: its release.
        pages: text of the page that shows it, by language.
        policy: headers of that page.
        strangers: HTTP status of requests that must be refused, by name.
        notices: of the first offer, after several checks and a restart.
        notified: events of the stream that told of them.
        later: the answer *later* with its reminder's time, and the notices that came of it.
        revoked: what stands after an accepted answer was taken back, and the bytes served until then.
        stale: what became of an answer to an offer that had been replaced while its page was open.
        answers: every answer with what became of it.
        progress: text of the page while it fetched.
        moved: positions of the progress at two looks.
        done: text of the page afterwards.
        removal: text of the page that plans an uninstallation.
        kept: what is in use after a removal that was not confirmed on the page.
    """

    offer: Json
    table: Table
    pages: dict[str, str] = field(default_factory=dict)
    policy: dict[str, str] = field(default_factory=dict)
    strangers: dict[str, int] = field(default_factory=dict)
    notices: list[Json] = field(default_factory=list)
    notified: list[Json] = field(default_factory=list)
    later: Json = field(default_factory=dict)
    revoked: Json = field(default_factory=dict)
    stale: Json = field(default_factory=dict)
    answers: list[Json] = field(default_factory=list)
    progress: str = ""
    done: str = ""
    removal: str = ""
    kept: str | None = None


def owners(stage: Stage) -> Owner:
    """An offer is shown, put off, accepted, taken back, replaced, accepted, carried out; then a removal is planned."""
    workshop = stage.workshop
    tables = {
        version: standin(stage.scratch, OWNER, version, ballast_bytes=_BALLAST_BYTES)
        for version in (FIRST, SECOND, THIRD)
    }
    workshop.publish(tables[FIRST])
    device = stage.device("owner", workshop, OWNER)
    device.start()
    with device.record() as recorder:
        view = device.offer()
        told = Owner(view, tables[FIRST])
        device.check()
        told.notified = _until(recorder.events, "notification")
    device.stop()
    device.start()
    device.check()
    told.notices = _notices(device, "offer")
    visitors = {name: Visitor(language) for name, language in LANGUAGES.items()}
    for name, visitor in visitors.items():
        _open(device, visitor)
        seen = visitor.get(f"/offers/{view['digest']}")
        told.pages[name], told.policy = seen.text, seen.headers
    told.strangers = _strangers(device, visitors["en"], view["digest"])
    told.later = _later(device, view["digest"])
    told.revoked = _revoked(device, workshop, view["digest"])
    visitor = visitors["en"]
    told.stale = _stale(device, workshop, visitor, tables[SECOND])
    _carry_out(device, workshop, visitor, told)
    told.answers = device.socket.get("/v1/decisions", model=OWNER)["decisions"]
    plan = visitor.get(f"/remove/plan?model={OWNER}&reason=user&user_data=keep")
    told.removal = plan.text
    visitor.post("/remove", {**CHOICE, "plan_digest": "0" * 64, "sure": "yes"}, view=plan)
    told.kept = device.status()["active_version"]
    device.stop()
    return told


def _open(device: Device, visitor: Visitor) -> Seen:
    answer = device.socket.request("POST", "/v1/page", {})
    if answer.status != 200:
        raise Unreached(f"no link to the page: {answer.body}")
    return visitor.follow(answer.body["url"])


def _until(events: list[Json], kind: str) -> list[Json]:
    return [event for event in list(events) if event["kind"] == kind]


def _notices(device: Device, kind: str) -> list[Json]:
    found = device.socket.get("/v1/notices", all="true")["notices"]
    return [notice for notice in found if notice["kind"] == kind]


def _strangers(device: Device, owner: Visitor, digest: str) -> dict[str, int]:
    """Whoever has no link, uses one twice, comes from another page, or leaves out what only the page's forms have."""
    url = device.socket.request("POST", "/v1/page", {}).body["url"]
    first, second = Visitor(), Visitor()
    first.follow(url)
    found = {"a-link-used-twice": second.follow(url).status, "no-link": second.get("/").status}
    path, fields = f"/offers/{digest}/answer", {"answer": "accept"}
    view = owner.get(f"/offers/{digest}")
    found["a-foreign-host"] = owner.get("/", host="attacker.example").status
    found["a-foreign-page-posts"] = owner.post(path, fields, view=view, origin="http://attacker.example").status
    found["a-form-without-its-token"] = owner.post(path, fields, view=None).status
    headers = {"sec-fetch-site": "cross-site"}
    found["a-foreign-page-reads"] = owner.get("/", **headers).status
    return found


def _later(device: Device, digest: str) -> Json:
    """Put off until a moment from now: the offer stays, and is told of again then, once."""
    device.show(digest)
    remind_at = datetime.now(UTC) + timedelta(seconds=_REMIND_S)
    text = remind_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"offer_digest": digest, "answer": "later", "channel": "host", "remind_at": text}
    answer = device.socket.request("POST", "/v1/decisions", body)
    before = len(_notices(device, "reminder"))
    device.until(lambda: len(_notices(device, "reminder")) > before, "the reminder")
    device.check()
    status = device.status()
    return {
        "status": answer.status,
        "remind_at": text,
        "before": before,
        "reminders": _notices(device, "reminder"),
        "offer_stands": bool(status["offer"]) and status["offer"]["digest"] == digest,
    }


def _revoked(device: Device, publisher: Publisher, digest: str) -> Json:
    """Accept for tonight, and take it back before anything began."""
    served = publisher.pack_bytes
    tonight = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"offer_digest": digest, "answer": "accept", "channel": "host", "not_before": tonight}
    accepted = device.socket.request("POST", "/v1/decisions", body)
    device.until(lambda: device.status()["phase"] == "waiting", "the time to be waited for")
    (standing,) = [
        each
        for each in device.socket.get("/v1/decisions", model=OWNER)["decisions"]
        if each["state"] == "standing" and each["answer"] == "accept"
    ]
    answer = device.socket.request("DELETE", f"/v1/decisions/{standing['id']}")
    device.until(lambda: device.status()["phase"] == "offered", "the offer to stand again")
    status = device.status()
    again = device.socket.request("DELETE", f"/v1/decisions/{standing['id']}")
    return {
        "accepted": accepted.status,
        "revocable": standing["revocable"],
        "expires_at": standing["expires_at"],
        "status": answer.status,
        "offer_stands": status["offer"]["digest"] == digest,
        "twice": again.status,
        "content_bytes": publisher.pack_bytes - served,
    }


def _stale(device: Device, publisher: Publisher, visitor: Visitor, newer: Table) -> Json:
    """A page is open while another offer takes the place of what it shows."""
    old = device.status()["offer"]["digest"]
    view = visitor.get(f"/offers/{old}")
    publisher.publish(newer)
    new = device.offer()["digest"]
    served = publisher.pack_bytes
    answer = visitor.post(f"/offers/{old}/answer", {"answer": "accept"}, view=view)
    status = device.status()
    return {
        "changed": old != new,
        "status": answer.status,
        "shows_the_new_one": new in answer.html,
        "phase": status["phase"],
        "content_bytes": publisher.pack_bytes - served,
    }


def _carry_out(device: Device, publisher: Publisher, visitor: Visitor, told: Owner) -> None:
    """Accept on the page, look at the progress there, and at the end."""
    digest = device.status()["offer"]["digest"]
    publisher.server.script(PACKS, Slow(_SLOW_BYTES_S))
    before = device.status()["last_outcome"]
    view = visitor.get(f"/offers/{digest}")
    taken = visitor.post(f"/offers/{digest}/answer", {"answer": "accept"}, view=view)
    if taken.status != 303:
        raise Unreached(f"the page did not take the answer: {taken.status} {taken.text[:300]}")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        progress = device.status()["progress"]
        seen = visitor.get(f"/update?model={OWNER}").text
        if progress and progress["step"] == "fetching" and progress["done"]:
            told.progress = seen
            break
    publisher.server.behave()
    device.outcome(before)
    told.done = visitor.get("/").text
