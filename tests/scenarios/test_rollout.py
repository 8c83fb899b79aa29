"""A release reaches devices by and by: each works out for itself when its turn comes."""

from __future__ import annotations

from modelota.repository.control import control
from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher


def slow(publisher: Publisher, percent: int) -> None:
    control(publisher.workspace, clock=publisher.clock, passphrases=publisher.passphrases, slow_percent=percent)


def test_the_turn_comes(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """At 0 percent nothing is offered, and the check says why; at 100 percent it is; asked for by version, at once."""
    publisher, device = installed
    publisher.publish("1.1.2")
    slow(publisher, 0)
    result = device.ask("POST", "/v1/check", {})[0]
    assert result["offer"] is None
    assert [entry["code"] for entry in result["refused"]] == ["release-staged"]
    asked = device.ask("POST", "/v1/check", {"version": "1.1.2"})[0]
    assert asked["offer"]["offer"]["to_version"] == "1.1.2"
    device.show(asked["offer"]["digest"])
    device.decide(asked["offer"]["digest"], "decline")
    publisher.publish("1.1.3")
    assert device.check() is None
    slow(publisher, 100)
    offer = device.check()
    assert offer is not None
    assert offer["offer"]["to_version"] == "1.1.3"
    assert device.update()["active_version"] == "1.1.3"
