"""The OpenAPI 3.1 document of the socket interface, made from its table (`GET /v1/openapi.json`, `docs/openapi.json`).

It is made when somebody asks for it, and not kept: the supervisor stays small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from modelota.agent.openapi_details import COMMON_ERRORS, DETAILS, EVENT_EXAMPLE
from modelota.agent.route import Route
from modelota.errors import CODES, error_from
from modelota.runtime.messages import EVENT_STREAM, JSON, status_of
from modelota.spec import api
from modelota.spec.api_events import EVENT_DATA
from modelota.spec.api_owner import Right

Table = Mapping[tuple[str, str], Route]

_REFERENCE: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = """\
HTTP/1.1 with JSON on a Unix socket of the device: `<root>/run/agent.sock`. `docs/socket-api.md` explains it.

There is no password: the kernel says which user is at the other end (SO_PEERCRED), and `x-right` of an operation says
what that user needs. *See* is for root, the user that owns the device root and members of the group `access.group`;
*decide* and *remove* are for the same, members of the group only where the settings allow it. With `x-decide-if` the
fields that are named, when they are set, take the right to decide.

Times are RFC 3339 UTC text, sizes bytes, durations seconds; a reading that could not be taken is null. A client ignores
fields, event kinds and error codes that it does not know. The server refuses fields and parameters that it does not
know. Within version 1 only additions are made.
"""
_RIGHTS: Final[dict[Right, str]] = {
    "see": "root, the agent's own user, members of the group",
    "decide": "the same; members of the group unless `access.group_may_decide` is false",
    "remove": "the same; members of the group unless `access.group_may_remove` is false",
}


def document(table: Table) -> dict[str, Any]:
    """The OpenAPI document of a table of routes, as plain data."""
    types = _types(table)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), route in table.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, route, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelota agent",
            "version": str(api.API_VERSION),
            "summary": "Updates and operates large models on a device.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://agent", "description": "Any host name; the connection is the Unix socket."}],
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items()))},
        "x-rights": _RIGHTS,
        "x-error-codes": {
            code: {"branch": branch, "status": status_of(error_from(code, {}))}
            for code, branch in sorted(CODES.items())
        },
        "x-event-kinds": {kind: schema_of[_key(data)] for kind, data in EVENT_DATA.items()},
    }


def encoded(table: Table) -> bytes:
    """The document as it is kept in `docs/openapi.json`: indented, ending with a line break."""
    return msgspec.json.format(msgspec.json.encode(document(table)), indent=2) + b"\n"


def _types(table: Table) -> list[Any]:
    """Every type that the interface speaks of, once."""
    named = [api.ErrorBody, *EVENT_DATA.values()]
    for route in table.values():
        named += [kind for kind in (route.request, route.answer, route.query) if kind is not None]
    return list({_key(kind): kind for kind in named}.values())


def _key(kind: Any) -> str:  # noqa: ANN401  a type, or what `list[…]` makes of one
    return str(kind)


def _operation(
    method: str, path: str, route: Route, schema_of: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    detail = DETAILS[method, path]
    operation: dict[str, Any] = {
        "operationId": _name(method, path),
        "summary": route.summary,
        "tags": [detail.tag],
        "x-right": route.right,
    }
    if route.decide_if:
        operation["x-decide-if"] = list(route.decide_if)
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _in_path(path)),
        *_parameters(components[route.query.__name__]),
    ]
    if route.call is None:
        parameters.append({"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer", "minimum": 0}})
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        content: dict[str, Any] = {"schema": schema_of[_key(route.request)]}
        if detail.request is not None:
            content["example"] = msgspec.to_builtins(detail.request)
        needs_body = bool(components[route.request.__name__].get("required"))
        operation["requestBody"] = {"required": needs_body, "content": {JSON: content}}
    operation["responses"] = {"200": _answer(route, detail.answer, schema_of), **_errors(detail.errors)}
    return operation


def _answer(route: Route, example: Any, schema_of: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401  of any route
    schema = schema_of[_key(route.answer)]
    if route.call is None:
        return {
            "description": "Server-sent events without end; `data` of each is one `Event`. See `x-event-kinds`.",
            "content": {EVENT_STREAM: {"schema": schema, "example": EVENT_EXAMPLE}},
        }
    content = {"schema": schema}
    if example is not None:
        content["example"] = msgspec.to_builtins(example)
    return {"description": "Done.", "content": {JSON: content}}


def _errors(codes: tuple[str, ...]) -> dict[str, Any]:
    """The answers with an error: by status those that are named, and all others."""
    by_status: dict[str, list[str]] = {}
    for code in (*COMMON_ERRORS, *codes):
        by_status.setdefault(str(status_of(error_from(code, {}))), []).append(code)
    body = {JSON: {"schema": {"$ref": _REFERENCE.format(name="ErrorBody")}}}
    named = {
        status: {"description": ", ".join(found), "content": body, "x-codes": found}
        for status, found in sorted(by_status.items())
    }
    return {**named, "default": {"description": "Any other of `x-error-codes`.", "content": body}}


def _parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": inner}
        for name, inner in schema.get("properties", {}).items()
    ]


def _in_path(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _name(method: str, path: str) -> str:
    """`getOffersByDigest` for `GET /v1/offers/{digest}`."""
    words = re.sub(r"{(\w+)}", r"by-\1", path.removeprefix("/v1/"))
    return method.lower() + "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", words))
