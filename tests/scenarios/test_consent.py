"""No update without a recorded human decision on that very offer (clause 5.1-d), and every answer of clause 5.3-b."""

from __future__ import annotations

from modelota.testing.device import DeviceUnderTest
from modelota.testing.network import InstrumentedServer, Slow
from tests.scenarios.conftest import Publisher

Installed = tuple[Publisher, DeviceUnderTest]


def code(answer: tuple[int, dict[str, object]]) -> str:
    """Error code of an answer that must be one."""
    status, body = answer
    assert status >= 400
    return str(body["code"])


def decide(device: DeviceUnderTest, digest: str, answer: str = "accept") -> tuple[int, dict[str, object]]:
    """Answer an offer; status and body."""
    return device.request("POST", "/v1/decisions", {"offer_digest": digest, "answer": answer})


def test_an_offer_that_was_not_shown_cannot_be_accepted(installed: Installed) -> None:
    """A script can accept only a digest that was shown to someone."""
    publisher, device = installed
    publisher.publish("1.1.2")
    offer = device.ask("POST", "/v1/check", {})[0]["offer"]
    assert code(decide(device, offer["digest"])) == "offer-not-shown"
    device.show(offer["digest"])
    assert decide(device, offer["digest"])[0] == 200
    assert device.settle()["active_version"] == "1.1.2"


def test_a_decision_for_another_offer_is_refused(installed: Installed) -> None:
    """An offer that no longer stands, an unknown digest and a malformed one are refused, and nothing starts."""
    publisher, device = installed
    publisher.publish("1.1.2")
    old = device.check()
    publisher.publish("1.1.3")
    new = device.check()
    assert old["digest"] != new["digest"]
    assert code(decide(device, old["digest"])) == "offer-changed"
    assert code(decide(device, "0" * 64)) == "no-offer"
    assert code(decide(device, "../../etc")) == "no-offer"
    assert code(decide(device, "")) == "no-offer"
    assert device.status()["phase"] == "offered"


def test_the_same_situation_has_the_same_digest(installed: Installed) -> None:
    """An offer depends on its content only: checking again gives the same one, so what was shown stays acceptable."""
    publisher, device = installed
    publisher.publish("1.1.2")
    first, second = device.check(), device.check()
    assert first["digest"] == second["digest"]
    assert first["offer"] == second["offer"]


def test_later_skip_and_decline(installed: Installed) -> None:
    """Later keeps the offer; decline and skip keep it away until somebody asks for it, or something newer comes."""
    publisher, device = installed
    publisher.publish("1.1.2")
    offer = device.check()
    device.decide(offer["digest"], "later")
    assert device.status()["offer"]["digest"] == offer["digest"]
    device.decide(offer["digest"], "decline")
    assert device.status()["offer"] is None
    found = device.ask("POST", "/v1/check", {})[0]
    assert (found["offer"], found["turned_down"]) == (None, ["1.1.2"])
    found = device.ask("POST", "/v1/check", {"version": "1.1.2"})[0]
    assert found["offer"]["digest"] == device.status()["offer"]["digest"] == offer["digest"]
    assert device.ask("POST", "/v1/check", {})[0]["offer"]["digest"] == offer["digest"]  # it was asked for
    device.decide(offer["digest"], "skip")
    found = device.ask("POST", "/v1/check", {})[0]
    assert (found["offer"], found["turned_down"]) == (None, ["1.1.2"])
    publisher.publish("1.1.3")
    assert device.check()["offer"]["to_version"] == "1.1.3"
    assert device.status()["active_version"] == "1.1.1"


def test_unknown_answers_fields_and_routes_are_refused(installed: Installed) -> None:
    """A body with another answer or another field, and a route that is none, are refused with their codes."""
    publisher, device = installed
    publisher.publish("1.1.2")
    digest = device.check()["digest"]
    assert code(decide(device, digest, "yes")) == "request-invalid"
    body = {"offer_digest": digest, "answer": "accept", "force": True}
    assert code(device.request("POST", "/v1/decisions", body)) == "request-invalid"
    assert code(device.request("POST", "/v1/update", {})) == "route-unknown"
    assert code(device.request("PUT", "/v1/decisions")) == "route-unknown"
    assert code(device.request("POST", "/v1/pause", {})) == "no-update-in-progress"


def test_pause_resume_and_cancel_during_the_download(publisher: Publisher) -> None:
    """A download pauses, goes on where it was, and can be cancelled; a second update meanwhile is refused."""
    from modelota.spec.limits import MIB
    from tests.scenarios.conftest import heavy_model
    from tests.scenarios.test_power_loss import wait_until

    publisher.publish("1.1.1", heavy_model(16), kind="feature")
    with InstrumentedServer(publisher.public) as server:
        server.script("packs/*", Slow(bytes_per_s=2 * MIB))
        device = publisher.device(url=server.url)
        with device.running():
            offer = device.check()
            device.decide(offer["digest"])
            wait_until(lambda: server.sent_bytes("packs/*") > 2 * MIB)
            assert device.ask("POST", "/v1/pause", {})["paused"]
            before = server.sent_bytes("packs/*")
            status = device.status()
            assert (status["paused"], status["waits_for"]) == (True, ["person"])
            assert code(device.request("POST", "/v1/pause", {})) == "not-now"
            assert code(decide(device, offer["digest"])) == "update-in-progress"
            device.ask("POST", "/v1/resume", {})
            wait_until(lambda: server.sent_bytes("packs/*") > before + MIB)
            device.ask("POST", "/v1/cancel", {})
            status = device.settle()
            assert (status["phase"], status["active_version"]) == ("idle", None)
            assert status["last_outcome"]["result"] == "cancelled"
            wait_until(lambda: not device.layout.model("acme/assistant").staging.exists())


def test_the_journal_tells_who_decided_what_where(installed: Installed) -> None:
    """The answer, its authority and channel, and the words that were shown are on record."""
    import sqlite3

    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    entry = [entry for entry in device.log() if entry["event"] == "decided"][-1]
    assert entry["facts"]["answer"] == "accept"
    assert entry["facts"]["authority"].startswith("uid:")
    assert entry["facts"]["channel"] == "host"
    with sqlite3.connect(f"file:{device.layout.database}?mode=ro", uri=True) as db:
        shown = db.execute("SELECT text, language FROM shown ORDER BY seq DESC LIMIT 1").fetchone()
        answer = db.execute("SELECT answer, authority FROM decisions ORDER BY seq DESC LIMIT 1").fetchone()
    db.close()
    assert shown == ("shown by a test", "en")
    assert answer == ("accept", entry["facts"]["authority"])


def test_new_permissions_are_told_apart(installed: Installed) -> None:
    """Permissions that the version in use does not have are named as new in the offer."""
    publisher, device = installed
    publisher.publish("1.1.2", permissions='["microphone"]')
    offer = device.check()["offer"]
    assert offer["permissions"] == offer["new_permissions"] == ["microphone"]
    device.update()
    publisher.publish("1.1.3", permissions='["camera", "microphone"]')
    offer = device.check()["offer"]
    assert offer["new_permissions"] == ["camera"]
