"""The routes of the socket interface, version 1 (`docs/socket-api.md`): from a request to a call of `asking`.

`ROUTES` is the whole interface except the event stream, which the supervisor serves itself; a test compares it with the
documentation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from modelota.agent import asking, listing, removal, user_data_asking
from modelota.agent.core import Core
from modelota.agent.report_table import REPORTS_KEPT
from modelota.agent.states import State
from modelota.errors import AskPerson, ModelotaError
from modelota.runtime.messages import plain, status_of
from modelota.spec import api, api_life
from modelota.spec.deployment import ReportsPage

T = TypeVar("T")

Right = Literal["see", "decide", "remove"]
Call = Callable[[Core, bytes, dict[str, str], str, str], Awaitable[object]]

EVENTS_PATH: Final = "/v1/events"
LOG_LIMIT: Final = 200


class Route(NamedTuple):
    """Who may use a route, and what it calls with core, body, query, rest of the path, and authority.

    `decide_if` names fields of the body each of which, when it is set, makes the request a decision.
    """

    right: Right
    call: Call
    decide_if: tuple[str, ...] = ()


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


def _body(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AskPerson("request-invalid", detail=str(error)[:200]) from error


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise AskPerson("argument-invalid", argument=name, detail="not-a-number")
    return int(text)


async def _status(core: Core, _body_data: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return core.status()


async def _check(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await asking.check(core, _body(body, api.CheckRequest), authority=authority)


async def _offer(core: Core, _body_data: bytes, _query: dict[str, str], rest: str, _authority: str) -> object:
    return asking.offer(core, rest)


async def _shown(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    asking.shown(core, _body(body, api.ShownRequest), authority=authority)
    return {}


async def _decide(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await asking.decide(core, _body(body, api.DecisionRequest), authority=authority)


def _control(action: Literal["pause", "resume", "cancel"]) -> Call:
    async def call(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
        return await asking.control(core, action, _body(body, api.ControlRequest), authority=authority)

    return call


async def _roll_back(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await asking.roll_back(core, _body(body, api.RollbackRequest), authority=authority)


async def _verify(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await asking.verify(core, _body(body, api_life.VerifyRequest), authority=authority)


async def _versions(core: Core, _body_data: bytes, query: dict[str, str], _rest: str, _authority: str) -> object:
    return listing.versions(core, query.get("model"))


async def _log(core: Core, _body_data: bytes, query: dict[str, str], _rest: str, _authority: str) -> object:
    after, limit = _number(query, "after", 0), _number(query, "limit", LOG_LIMIT)
    return api.LogPage(entries=core.journal.log(query.get("model"), after, limit))


async def _self_tests(core: Core, _body_data: bytes, query: dict[str, str], _rest: str, _authority: str) -> object:
    loop = core.loop(query.get("model"))
    return [{"slot": slot, "at": at, "record": record} for slot, at, record in core.journal.self_tests(loop.model)]


async def _removal_plan(core: Core, body: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return await removal.plan(core, _body(body, api_life.RemovalPlanRequest))


async def _remove(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await removal.uninstall(core, _body(body, api_life.RemovalRequest), authority=authority)


async def _removal_proof(core: Core, _body_data: bytes, _query: dict[str, str], rest: str, _authority: str) -> object:
    return removal.proof(core, rest)


async def _reports(core: Core, _body_data: bytes, query: dict[str, str], _rest: str, _authority: str) -> object:
    loop = core.loop(query.get("model"))
    limit = max(1, min(_number(query, "limit", 1), REPORTS_KEPT))
    return ReportsPage(model=loop.model, reports=core.journal.reports.reports(loop.model, limit))


async def _back_up(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await user_data_asking.back_up(core, _body(body, api_life.BackupRequest), authority=authority)


async def _take_back(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return await user_data_asking.take_back(core, _body(body, api_life.BackupRequest), authority=authority)


async def _chat(core: Core, body: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return await asking.chat(core, _body(body, api.ChatRequest))


async def _token(core: Core, body: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return asking.make_token(core, _body(body, api.TokenRequest))


async def _inhibit(core: Core, body: bytes, _query: dict[str, str], _rest: str, authority: str) -> object:
    return core.gates.inhibit(_body(body, api_life.InhibitorRequest), authority)


async def _inhibitors(core: Core, _body_data: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return api_life.InhibitorsPage(inhibitors=core.gates.inhibitors())


async def _let_go(core: Core, _body_data: bytes, _query: dict[str, str], rest: str, authority: str) -> object:
    return core.gates.release(rest, authority)


async def _tell_conditions(core: Core, body: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return await core.gates.tell(_body(body, api_life.ConditionsRequest))


async def _conditions(core: Core, _body_data: bytes, _query: dict[str, str], _rest: str, _authority: str) -> object:
    return await core.gates.conditions()


ROUTES: Final[dict[tuple[str, str], Route]] = {
    ("GET", "/v1/status"): Route("see", _status),
    ("POST", "/v1/check"): Route("see", _check, decide_if=("allow_stale", "place")),
    ("GET", "/v1/offers/{digest}"): Route("see", _offer),
    ("POST", "/v1/shown"): Route("see", _shown),
    ("POST", "/v1/decisions"): Route("decide", _decide),
    ("POST", "/v1/pause"): Route("decide", _control("pause")),
    ("POST", "/v1/resume"): Route("decide", _control("resume")),
    ("POST", "/v1/cancel"): Route("decide", _control("cancel")),
    ("POST", "/v1/rollback"): Route("decide", _roll_back),
    ("POST", "/v1/inhibitors"): Route("decide", _inhibit),
    ("GET", "/v1/inhibitors"): Route("see", _inhibitors),
    ("DELETE", "/v1/inhibitors/{id}"): Route("decide", _let_go),
    ("POST", "/v1/conditions"): Route("decide", _tell_conditions),
    ("GET", "/v1/conditions"): Route("see", _conditions),
    ("POST", "/v1/verify"): Route("see", _verify, decide_if=("repair",)),
    ("POST", "/v1/removal/plan"): Route("see", _removal_plan),
    ("POST", "/v1/removal"): Route("remove", _remove),
    ("GET", "/v1/removals/{digest}"): Route("see", _removal_proof),
    ("GET", "/v1/reports"): Route("see", _reports),
    ("POST", "/v1/backup"): Route("decide", _back_up),
    ("POST", "/v1/restore"): Route("decide", _take_back),
    ("GET", "/v1/versions"): Route("see", _versions),
    ("GET", "/v1/log"): Route("see", _log),
    ("GET", "/v1/self-tests"): Route("see", _self_tests),
    ("POST", "/v1/chat"): Route("see", _chat),
    ("POST", "/v1/gateway/tokens"): Route("decide", _token),
}


def find(method: str, path: str) -> tuple[Route, str]:
    """The route of a request, and the part of the path that stands for `{…}`.

    Raises:
        AskPerson: `route-unknown`.
    """
    exact = ROUTES.get((method, path))
    if exact is not None:
        return exact, ""
    parent, _, rest = path.rpartition("/")
    for (known_method, pattern), route in ROUTES.items():
        if known_method == method and pattern.endswith("}") and pattern.rpartition("/")[0] == parent and rest:
            return route, rest
    raise AskPerson("route-unknown", path=f"{method} {path}"[:100])


async def answer(
    core: Core, method: str, path: str, body: bytes, query: dict[str, str], *, authority: str
) -> tuple[int, bytes]:
    """Answer a request: HTTP status and JSON. An error is told with how the device is now."""
    try:
        route, rest = find(method, path)
        if right_needed(route, body) != "see":
            await core.go_on()
        return 200, msgspec.json.encode(await route.call(core, body, query, rest, authority))
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
