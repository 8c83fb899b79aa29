"""From a request to the call of its route and back: right, body, parameters, answer or error (`docs/errors.md`)."""

from __future__ import annotations

import inspect
import re
from typing import Any, TypeVar

import msgspec

from modelota.agent.core import Core
from modelota.agent.route import Asked, Route
from modelota.agent.routes import ROUTES
from modelota.agent.states import State
from modelota.errors import AskPerson, ModelotaError
from modelota.runtime.messages import PeerCredentials, plain, status_of
from modelota.spec import api
from modelota.spec.api_owner import Right

T = TypeVar("T")


def find(method: str, path: str) -> tuple[Route, str]:
    """The route of a request, and the part of the path that stands for `{…}`.

    Raises:
        AskPerson: `route-unknown`.
    """
    exact = ROUTES.get((method, path))
    if exact is not None:
        return exact, ""
    for (known_method, pattern), route in ROUTES.items():
        before, brace, after = pattern.partition("{")
        after = after.partition("}")[2]
        rest = path.removeprefix(before).removesuffix(after)
        if known_method == method and brace and rest and "/" not in rest and path == f"{before}{rest}{after}":
            return route, rest
    raise AskPerson("route-unknown", path=f"{method} {path}"[:100], versions=f"v{api.API_VERSION}")


def right_needed(route: Route, body: bytes) -> Right:
    """What a request needs: the route's right, or `decide` when its body asks for a decision."""
    if not route.decide_if:
        return route.right
    try:
        fields = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        asked = any(fields.get(name) for name in route.decide_if)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return route.right  # the call itself refuses it
    return "decide" if asked else route.right


def check_channel(route: Route, body: bytes, query: dict[str, str], *, by_page: bool) -> None:
    """Check that what is recorded as said on the page was said there, and the other way round.

    Raises:
        AskPerson: `argument-invalid`: the channel is `page` without a session, or another one with it.
    """
    if "channel" in route.query.__struct_fields__ and (query.get("channel") == "page") is not by_page:
        raise AskPerson("argument-invalid", argument="channel", detail="not-a-choice")
    if route.request is None or "channel" not in route.request.__struct_fields__:
        return
    try:
        channel = msgspec.json.decode(body or b"{}", type=dict[str, Any]).get("channel")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # the call itself refuses it
    if (channel == "page") is not by_page:
        raise AskPerson("argument-invalid", argument="channel", detail="not-a-choice")


def body_as(data: bytes, kind: type[T]) -> T:
    """The body of a request; an empty one is `{}`.

    Raises:
        AskPerson: `request-invalid`.
    """
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AskPerson("request-invalid", detail=str(error)[:200]) from error


def query_as(query: dict[str, str], kind: type[T]) -> T:
    """The parameters of a request.

    Raises:
        AskPerson: `argument-invalid`: one that is not what it should be; `request-invalid`: one that is not known.
    """
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        named = re.search(r"`\$\.(\w+)`$", str(error))
        if named is None:
            raise AskPerson("request-invalid", detail=str(error)[:200]) from error
        detail = "not-a-number" if "`int" in str(error) else str(error)[:200]
        raise AskPerson("argument-invalid", argument=named[1], detail=detail) from error


async def answer(
    core: Core,
    method: str,
    path: str,
    body: bytes,
    query: dict[str, str],
    *,
    authority: str,
    peer: PeerCredentials | None = None,
) -> tuple[int, bytes]:
    """Answer a request: HTTP status and JSON. An error is told with how the device is now.

    Whoever calls has checked the right (`right_needed`).
    """
    try:
        route, rest = find(method, path)
        if route.call is None:  # a stream is no answer
            raise AskPerson("route-unknown", path=f"{method} {path}"[:100], versions=f"v{api.API_VERSION}")
        if right_needed(route, body) != "see":
            await core.go_on()
        asked = Asked(
            body_as(body, route.request) if route.request is not None else None,
            query_as(query, route.query),
            rest,
            authority,
            peer,
        )
        result = route.call(core, asked)
        return 200, msgspec.json.encode(await result if inspect.isawaitable(result) else result)
    except ModelotaError as error:
        return status_of(error), msgspec.json.encode(error_body(core, error))


def error_body(core: Core, error: ModelotaError) -> api.ErrorBody:
    """The error with the sentence that says how the device is now."""
    states = [loop.state for loop in core.models.values()]
    now, now_params = _situation(states)
    return api.ErrorBody(code=error.code, params=plain(error.params), now=now, now_params=now_params)


def _situation(states: list[State]) -> tuple[str, dict[str, Any]]:
    if len(states) != 1:
        return "unchanged", {}
    state = states[0]
    if state.degraded is not None:
        return "degraded", {}
    if state.current is None:
        return "not-installed", {}
    return "serving", {"version": state.current.version}
