"""A publisher ends the service of a model: signed, seen by the next check, a reason to uninstall (clause 7.3.1)."""

from __future__ import annotations

from modelota.testing.device import DeviceUnderTest
from modelota.testing.service_end import end_service
from tests.scenarios.conftest import Publisher

MODEL = "acme/assistant"
ENDED = "2026-01-01T00:00:00Z"
REASON = {"reason": "end-of-service"}


def test_service_that_has_ended(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """The device tells since when; its owner may then uninstall for that reason. What was admitted stays admitted."""
    publisher, device = installed
    end_service(publisher.workspace.path, MODEL, ENDED)
    assert device.request("POST", "/v1/removal/plan", REASON)[1]["code"] == "service-goes-on", "not checked yet"
    assert device.check() is None
    assert device.status()["end_of_service"] == ENDED
    view = device.ask("POST", "/v1/removal/plan", REASON)
    device.ask("POST", "/v1/removal", {"plan_digest": view["digest"], "channel": "host"})
    assert device.settle()["active_version"] is None
    assert device.ask("GET", f"/v1/removals/{view['digest']}")["reason"] == "end-of-service"
    assert device.update()["active_version"] == "1.1.1"


def test_service_that_ends_later(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Until the time has come it is told and no reason yet."""
    publisher, device = installed
    end_service(publisher.workspace.path, MODEL, "2999-01-01T00:00:00Z")
    device.check()
    assert device.status()["end_of_service"] == "2999-01-01T00:00:00Z"
    assert device.request("POST", "/v1/removal/plan", REASON)[1]["code"] == "service-goes-on"
