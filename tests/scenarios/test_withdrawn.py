"""Versions that their publisher took back, and versions that went back here: who is told what, who may do what."""

from __future__ import annotations

import socket

import msgspec

from modelota.repository.control import control
from modelota.runtime.http_client import socket_address
from modelota.testing.device import DeviceUnderTest, Json
from tests.scenarios.conftest import Publisher, bad_model

MODEL = "acme/assistant"


def brake(publisher: Publisher, **change: dict[str, str] | tuple[str, ...]) -> None:
    """Change the control of the published model."""
    options = {"clock": publisher.clock, "passphrases": publisher.passphrases}
    control(publisher.workspace, **options, **change)  # type: ignore[arg-type]  # each test names real changes


def first_notice(device: DeviceUnderTest) -> Json:
    """The error of the first notice among the events that the agent keeps."""
    with socket.socket(socket.AF_UNIX) as peer, socket_address(device.layout.agent_socket) as address:
        peer.settimeout(30)
        peer.connect(address)
        peer.sendall(b"GET /v1/events?after=0 HTTP/1.1\r\nhost: x\r\n\r\n")
        with peer.makefile("rb") as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    event = msgspec.json.decode(line.removeprefix(b"data: "))
                    if event["kind"] == "notice":
                        return event["data"]["error"]
    raise AssertionError("the stream ended")


def told(device: DeviceUnderTest) -> list[Json]:
    """Which warnings about the version in use the journal has."""
    return [entry["facts"]["code"] for entry in device.log() if entry["event"] == "in-use-withdrawn"]


def check(device: DeviceUnderTest) -> Json:
    """Look for news."""
    return device.ask("POST", "/v1/check", {})[0]


def test_the_owner_of_a_withdrawn_version_is_told_once(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """By an event and in the status, over a restart; it goes on working; a corrected version ends the warning."""
    publisher, device = installed
    assert device.status()["withdrawn"] is None
    brake(publisher, withdraw={"1.1.1": "wrong-answers"})
    check(device)
    warning = {"model": MODEL, "version": "1.1.1", "reason": "wrong-answers"}
    notice = first_notice(device)
    assert (notice["code"], notice["params"]) == ("release-withdrawn", warning)
    check(device)
    device.stop()
    device.start()
    check(device)
    assert told(device) == ["release-withdrawn"]
    assert device.status()["withdrawn"]["params"] == warning
    assert "version 1.1.1" in device.chat("Who are you?")
    brake(publisher, revoke={"1.1.1": "leaks-data"})
    check(device)
    assert told(device) == ["release-withdrawn", "release-revoked"]
    assert device.status()["withdrawn"]["params"]["reason"] == "leaks-data"
    publisher.publish("1.1.2")
    device.update()
    assert device.status()["withdrawn"] is None


def test_going_back_to_a_withdrawn_version_warns(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Its user may have reasons; the answer says that the publisher took it back. A check meanwhile stops nothing."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    brake(publisher, withdraw={"1.1.1": "wrong-answers"})
    check(device)
    key = device.ask("POST", "/v1/inhibitors", {"holder": "a", "reason": "b", "steps": ["activate"]})["id"]
    answer = device.ask("POST", "/v1/rollback", {})
    assert answer["started"]
    assert answer["warning"]["code"] == "release-withdrawn"
    device.wait("waiting")
    check(device)
    device.ask("DELETE", f"/v1/inhibitors/{key}")
    status = device.settle()
    assert (status["active_version"], status["last_outcome"]["result"]) == ("1.1.1", "done")
    assert status["withdrawn"]["code"] == "release-withdrawn"


def test_a_withdrawn_version_that_is_kept_sealed_is_offered_with_the_warning(
    installed: tuple[Publisher, DeviceUnderTest],
) -> None:
    """Who accepts an offer that says so gets there; who accepted one before the publisher took it back does not."""
    publisher, device = installed
    for version in ("1.1.2", "1.1.3"):
        publisher.publish(version)
        device.update()
    early = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})["offer"]
    assert "withdrawn" not in early["offer"]["consequences"]
    brake(publisher, withdraw={"1.1.1": "wrong-answers"})
    device.show(early["digest"])
    device.ask("POST", "/v1/decisions", {"offer_digest": early["digest"], "answer": "accept", "although_long": True})
    assert device.settle()["last_outcome"]["error"]["code"] == "release-withdrawn"
    answer = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})
    assert answer["warning"]["code"] == "release-withdrawn"
    digest = answer["offer"]["digest"]
    assert "withdrawn" in answer["offer"]["offer"]["consequences"]
    device.show(digest)
    device.ask("POST", "/v1/decisions", {"offer_digest": digest, "answer": "accept", "although_long": True})
    status = device.settle()
    assert (status["active_version"], status["last_outcome"]["result"]) == ("1.1.1", "done")


def test_going_back_to_a_revoked_version_takes_its_flaw_s_name(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Without the reason, or with another one, it is refused; who names it gets there, warned."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    brake(publisher, revoke={"1.1.1": "leaks-data"})
    check(device)
    for despite in (None, "wrong-answers", ""):
        status, error = device.request("POST", "/v1/rollback", {"despite": despite})
        assert (status, error["code"], error["now"]) == (409, "release-revoked", "serving")
        assert error["params"] == {"model": MODEL, "version": "1.1.1", "reason": "leaks-data"}
    assert device.status()["active_version"] == "1.1.2"
    answer = device.ask("POST", "/v1/rollback", {"despite": "leaks-data"})
    assert answer["warning"]["code"] == "release-revoked"
    assert device.settle()["active_version"] == "1.1.1"


def test_a_revoked_version_that_is_gone_is_not_fetched(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Naming the flaw opens the way to what is kept here; nothing that was taken back is fetched anew."""
    publisher, device = installed
    for version in ("1.1.2", "1.1.3", "1.1.4"):
        publisher.publish(version)
        device.update()
    brake(publisher, revoke={"1.1.2": "leaks-data", "1.1.1": "leaks-data"})
    check(device)
    kept = {view["version"] for view in device.ask("GET", "/v1/versions")["versions"] if view["installed_at"]}
    assert "1.1.1" not in kept
    status, error = device.request("POST", "/v1/rollback", {"version": "1.1.1", "despite": "leaks-data"})
    assert (status, error["code"]) == (422, "release-withdrawn")
    assert device.status()["active_version"] == "1.1.4"


def test_what_went_back_is_not_offered_again_unasked(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Neither a version that its user left, nor one that failed here, nor after a restart; only who asks gets it."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    assert device.ask("POST", "/v1/rollback", {})["started"]
    assert device.settle()["active_version"] == "1.1.1"
    publisher.publish("1.1.3", bad_model())
    offer = device.check()
    device.decide(offer["digest"])
    assert device.settle()["last_outcome"]["error"]["code"] == "self-test-failed"
    for _ in range(2):
        found = check(device)
        assert found["offer"] is None
        assert found["up_to_date"]
        device.stop()
        device.start()
    assert check(device)["offer"] is None
    asked = device.ask("POST", "/v1/check", {"version": "1.1.2"})[0]["offer"]
    assert asked["offer"]["to_version"] == "1.1.2"
    publisher.publish("1.1.4")
    assert check(device)["offer"]["offer"]["to_version"] == "1.1.4"
