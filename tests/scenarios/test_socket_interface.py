"""The socket of a real agent: what it says of itself and of a release, and a stream that goes on over a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import msgspec

from modelota.spec.api_events import EVENT_DATA
from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher


@contextmanager
def stream(device: DeviceUnderTest, last_id: int | None = None) -> Iterator[Iterator[Any]]:
    """The event stream as any client reads it."""
    connection = device.connection()
    headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
    connection.request("GET", "/v1/events", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    try:
        yield _events(answer)
    finally:
        connection.close()


def _events(answer: HTTPResponse) -> Iterator[Any]:
    for line in answer:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_a_stream_goes_on_over_a_restart(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """With its last id a client misses nothing while the agent runs, and is told when it may have."""
    publisher, device = installed
    publisher.publish("1.1.2")
    with stream(device) as events:
        device.check()
        seen = next(event for event in events if event["kind"] == "offer")
    device.ask("POST", "/v1/check", {})
    with stream(device, seen["id"]) as events:
        again = next(events)
    assert again["id"] > seen["id"], "while it was away"
    assert again["kind"] != "reset"
    device.stop()
    device.start()
    with stream(device, again["id"]) as events:
        reset = next(events)
        assert (reset["kind"], reset["data"]) == ("reset", {"reason": "restarted"})
        assert reset["id"] > again["id"]
        device.ask("POST", "/v1/check", {})
        after = next(event for event in events if event["kind"] == "offer")
        assert after["id"] > reset["id"]


def test_events_carry_what_the_document_says(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Every event of an update, an answer, a rollback and a scan has the data of its kind, and no field beyond."""
    publisher, device = installed
    publisher.publish("1.1.2")
    with stream(device) as events:
        offer = device.check()
        device.decide(offer["digest"], "later")
        device.decide(offer["digest"])
        device.settle()
        device.ask("POST", "/v1/rollback", {"channel": "host"})
        device.ask("POST", "/v1/cleaning/scan", {})
        seen: dict[str, Any] = {}
        for event in events:
            seen[event["kind"]] = event
            kind = EVENT_DATA[event["kind"]]
            msgspec.convert(event["data"], kind)
            assert set(event["data"]) <= {field.encode_name for field in msgspec.structs.fields(kind)}, event
            ended = {"decision", "progress", "outcome", "phase", "engine", "offer", "cleaning", "notification"}
            rolled_back = "outcome" in seen and seen["outcome"]["data"]["operation"] == "rollback"
            if rolled_back and ended <= set(seen) and seen["cleaning"]["data"]["state"] == "found":
                break


def test_what_it_says_of_model_release_and_itself(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """The version in use and an offer say where they come from and who signed; the interface describes itself."""
    publisher, device = installed
    about = device.ask("GET", "/v1/about")
    assert (about["version"], about["variant"], about["runtime"]) == ("1.1.1", "q8", "command 1.0")
    assert about["notes"] == {"zh-CN": "版本 1.1.1", "en": "version 1.1.1"}
    assert about["from_url"] == str(publisher.public) or about["from_url"].endswith("public")
    assert len(about["signed_by"]) == 1
    assert about["size_bytes"] > 0
    assert about["user_data_bytes"] is not None
    assert about["installed_at"]
    publisher.publish("1.1.2", permissions='["microphone"]', memory_bytes=1_000_000)
    offer = device.check()
    told = device.ask("GET", f"/v1/offers/{offer['digest']}/about")
    assert (told["version"], told["variant"], told["offer_digest"]) == ("1.1.2", "q8", offer["digest"])
    assert told["requires"]["memory_bytes"] == 1_000_000
    assert told["signed_by"] == about["signed_by"]
    assert told["manifest_digest"] == offer["offer"]["manifest_digest"]
    assert device.request("GET", "/v1/offers/5a/about")[1]["code"] == "no-offer"
    document = device.ask("GET", "/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    status, error = device.request("GET", "/v2/status")
    assert (status, error["code"], error["params"]["versions"]) == (404, "route-unknown", "v1")
