"""The owner goes back on the page, over HTTP: what it shows before, and what it takes when a version has a flaw."""

from __future__ import annotations

from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_page_parting import Owner
from tests.scenarios.test_withdrawn import brake

MODEL = "acme/assistant"


def test_a_flawed_version_is_gone_back_to_by_who_names_its_flaw(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """The list says that it was revoked; the confirmation without its tick does nothing; with it the device returns."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    brake(publisher, revoke={"1.1.1": "leaks-data"})
    device.ask("POST", "/v1/check", {})
    with Owner(device) as owner:
        assert "flawed" in owner.get("/versions")
        before = owner.get("/versions/back?version=1.1.1")
        assert "leaks-data" in before
        unnamed = owner.post("/rollback", before, model=MODEL, version="1.1.1")
        assert "Please confirm that you know the flaw." in unnamed
        assert device.status()["active_version"] == "1.1.2"
        owner.post("/rollback", unnamed, model=MODEL, version="1.1.1", despite_flaw="yes")
        assert device.settle()["active_version"] == "1.1.1"
        model = owner.get("/model")
        assert "release-revoked" in model
        assert "Look for updates, or go back to another version." in model
        assert "“accept” to going back to 1.1.1" in owner.get("/answers")
        assert "The user asked to go back to version 1.1.1." in owner.get("/history?show=decisions")
    asked = next(entry for entry in device.log() if entry["event"] == "rollback-asked")
    assert asked["facts"]["channel"] == "page"


def test_a_version_that_went_is_offered_and_newer_ones_on_demand(
    installed: tuple[Publisher, DeviceUnderTest],
) -> None:
    """What has no slot any more is an offer with its size; a skipped version is offered to who asks for it."""
    publisher, device = installed
    for version in ("1.1.2", "1.1.3", "1.1.4"):
        publisher.publish(version)
        device.update()
    publisher.publish("1.1.5")
    offer = device.check()
    device.decide(offer["digest"], "skip")
    with Owner(device) as owner:
        before = owner.get("/versions/back?version=1.1.1")
        assert "You see an offer with the time" in before
        shown = owner.post("/rollback", before, model=MODEL, version="1.1.1")
        assert "can go back to 1.1.1" in shown
        assert device.status()["active_version"] == "1.1.4"
        again = owner.post("/versions/ask", owner.get("/versions"), model=MODEL, version="1.1.5")
        assert "1.1.5 is available" in again
