"""Tests of modelota.agent.openapi: the document is valid, current, complete, and its examples are what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from modelota.agent.answering import find, query_as
from modelota.agent.openapi import document, encoded
from modelota.agent.openapi_details import DETAILS
from modelota.agent.routes import EVENTS_PATH, ROUTES
from modelota.errors import CODES
from modelota.spec.api import Event
from modelota.spec.api_events import EVENT_DATA


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The document as a client reads it."""
    found: dict[str, Any] = json.loads(encoded(ROUTES))
    return found


def operations(made: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in made["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid(made: dict[str, Any]) -> None:
    """It is an OpenAPI 3.1 document, and each operation has a name of its own."""
    validate(made)
    names = [operation["operationId"] for operation in operations(made).values()]
    assert len(set(names)) == len(names)
    assert operations(made)["GET", "/v1/offers/{digest}/about"]["operationId"] == "getOffersByDigestAbout"


def test_the_kept_one_is_current(repository_root: Path) -> None:
    """docs/openapi.json is what scripts/openapi_page.py writes."""
    assert (repository_root / "docs" / "openapi.json").read_bytes() == encoded(ROUTES), "run scripts/openapi_page.py"


def test_every_route_is_in_it_with_its_right(made: dict[str, Any]) -> None:
    """No route is left out, each says who may use it, and every detail is of a route that exists."""
    rights = {route: operation["x-right"] for route, operation in operations(made).items()}
    assert rights == {key: route.right for key, route in ROUTES.items()}
    assert set(DETAILS) == set(ROUTES)
    assert operations(made)["POST", "/v1/check"]["x-decide-if"] == ["allow_stale", "place"]


def test_every_code_and_event_kind_is_in_it(made: dict[str, Any]) -> None:
    """All error codes are listed with branch and status; named codes exist; every event kind has its data."""
    assert set(made["x-error-codes"]) == set(CODES)
    assert made["x-error-codes"]["offer-changed"] == {"branch": "ask-person", "status": 409}
    for operation in operations(made).values():
        for status, response in operation["responses"].items():
            for code in response.get("x-codes", ()):
                assert made["x-error-codes"][code]["status"] == int(status), code
    (kinds,) = (field.type.__args__ for field in msgspec.structs.fields(Event) if field.name == "kind")
    assert set(made["x-event-kinds"]) == set(kinds) == set(EVENT_DATA)


def test_every_event_kind_is_documented(repository_root: Path) -> None:
    """The page names exactly the kinds there are."""
    page = (repository_root / "docs" / "socket-api.md").read_text(encoding="utf-8")
    table = page.split("| kind | data |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(EVENT_DATA)


def test_examples_are_what_the_schemas_say(made: dict[str, Any]) -> None:
    """Each example validates against the schema beside it, and most requests have one."""
    seen = 0
    for route, operation in operations(made).items():
        bodies = [operation.get("requestBody", {}), operation["responses"]["200"]]
        for media in [media for body in bodies for media in body.get("content", {}).values() if "example" in media]:
            if route == ("GET", EVENTS_PATH):
                continue
            schema = {**media["schema"], "components": made["components"]}
            Draft202012Validator(schema).validate(media["example"])
            seen += 1
    assert seen > 20


def test_what_it_says_of_requests_is_what_the_server_takes(made: dict[str, Any]) -> None:
    """Bodies and parameters that are not known are refused by the schemas too."""
    for route, operation in operations(made).items():
        row = ROUTES[route]
        named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        assert named == {field.encode_name for field in msgspec.structs.fields(row.query)}
        if row.request is None:
            assert "requestBody" not in operation
            continue
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = made["components"]["schemas"][reference.rpartition("/")[2]]
        assert schema["additionalProperties"] is False, route
        assert operation["requestBody"]["required"] == bool(schema.get("required")), route


def test_a_part_of_a_path_stands_for_itself() -> None:
    """What stands for `{…}` is found wherever it stands, and never reaches over a slash."""
    assert find("GET", "/v1/offers/5a/about")[0] is ROUTES["GET", "/v1/offers/{digest}/about"]
    assert find("GET", "/v1/offers/5a")[1] == "5a"
    assert find("DELETE", "/v1/inhibitors/x")[1] == "x"
    for path in ("/v1/offers/", "/v1/offers//about", "/v1/offers/a/b/about", "/v1/offers/a/b", "/v1/offers"):
        with pytest.raises(Exception, match="route-unknown"):
            find("GET", path)


def test_it_is_the_same_each_time() -> None:
    """Making it has no memory."""
    assert document(ROUTES) == document(ROUTES)
    assert query_as({}, ROUTES["GET", "/v1/log"].query)
