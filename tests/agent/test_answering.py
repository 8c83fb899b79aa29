"""What the socket interface takes and what it does not: unknown fields, parameters, routes and versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from modelota.agent.answering import body_as, find, query_as
from modelota.agent.routes import ROUTES
from modelota.agent.socket_client import parse_events
from modelota.errors import AskPerson
from modelota.runtime.messages import status_of
from modelota.spec import api

WITH_BODY = [route for route, row in ROUTES.items() if row.request is not None]


@pytest.mark.parametrize("route", WITH_BODY, ids=" ".join)
def test_a_field_that_is_not_known_is_refused(route: tuple[str, str]) -> None:
    """No request is half understood: an unknown field is an error, never left out."""
    kind = ROUTES[route].request
    assert kind is not None
    assert kind.__struct_config__.forbid_unknown_fields
    for body in (b'{"surprise": 1}', b"[]", b"\xff", b"{", b"[" * 100_000):
        with pytest.raises(AskPerson) as caught:
            body_as(body, kind)
        assert caught.value.code == "request-invalid"


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_a_parameter_that_is_not_known_is_refused(route: tuple[str, str]) -> None:
    """Nor is a parameter."""
    with pytest.raises(AskPerson) as caught:
        query_as({"surprise": "1"}, ROUTES[route].query)
    assert caught.value.code == "request-invalid"


@pytest.mark.parametrize("text", ["x", "", "-1", "0x10", " 5", "１２", "9" * 30, "1.5"])
def test_a_parameter_that_is_no_number_is_named(text: str) -> None:
    """Which one, and why."""
    with pytest.raises(AskPerson) as caught:
        query_as({"after": text}, ROUTES["GET", "/v1/log"].query)
    assert (caught.value.code, caught.value.params["argument"]) == ("argument-invalid", "after")
    assert caught.value.params["detail"] == "not-a-number"


@pytest.mark.parametrize(
    "path", ["/v2/status", "/v0/status", "/status", "/v1/status/", "/v1//status", "/v1", "/", "/v1/statu", "/V1/status"]
)
def test_a_version_that_does_not_exist_is_told_which_do(path: str) -> None:
    """Another version or path is `route-unknown` (404), with the versions that exist."""
    with pytest.raises(AskPerson) as caught:
        find("GET", path)
    assert caught.value.code == "route-unknown"
    assert caught.value.params["versions"] == "v1"
    assert status_of(caught.value) == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "DELETE"])
def test_a_method_that_no_route_has_is_unknown(method: str) -> None:
    """A path alone is no route."""
    with pytest.raises(AskPerson) as caught:
        find(method, "/v1/status")
    assert caught.value.code == "route-unknown"


async def test_a_client_leaves_out_what_it_does_not_know() -> None:
    """Fields and kinds of a newer agent do not stop an older client."""
    known: dict[str, Any] = {"id": 2, "at": "2026-11-24T06:00:00Z", "kind": "offer", "model": "m", "data": {}, "new": 1}
    newer = {**known, "id": 1, "kind": "of-tomorrow"}

    async def chunks() -> AsyncIterator[bytes]:
        for event in (newer, known):
            yield b"data: " + msgspec.json.encode(event) + b"\n\n"

    assert [event.id async for event in parse_events(chunks())] == [2]
    status = {"model": "m", "phase": "idle", "of_tomorrow": {"x": 1}}
    assert msgspec.convert(status, api.ModelStatus).model == "m"


def test_no_answer_forbids_more_fields() -> None:
    """What the agent answers may grow: no type of an answer refuses a field that it does not know."""
    for (method, path), row in ROUTES.items():
        if isinstance(row.answer, type) and issubclass(row.answer, msgspec.Struct):
            assert not row.answer.__struct_config__.forbid_unknown_fields, f"{method} {path}"
