"""The page's application: all views behind the guard, and what becomes of errors."""

from __future__ import annotations

import traceback
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from litestar.response import Stream

from modelota.agent.page.activity import Activity
from modelota.agent.page.forms import BODY_MAX_BYTES
from modelota.agent.page.guard import App, Guard, Scope
from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.peer import PeerReader, peer_uid
from modelota.agent.page.relay import Relay
from modelota.agent.page.sessions import AnyRequest, Sessions
from modelota.agent.page.templating import static_files
from modelota.agent.page.views import (
    about,
    answers,
    cleaning,
    data,
    history,
    home,
    incidents,
    model,
    offer,
    removal,
    result,
    sign_in,
    update,
    usage,
    versions,
)
from modelota.agent.page_given import PageGiven
from modelota.errors import AskPerson, ModelotaError, OurBug
from modelota.runtime.messages import EVENT_STREAM, status_of

VIEWS: Final = (
    about,
    answers,
    cleaning,
    data,
    history,
    home,
    incidents,
    model,
    offer,
    removal,
    result,
    sign_in,
    update,
    usage,
    versions,
)


def create_app(given: PageGiven, port: int, activity: Activity, *, peer: PeerReader = peer_uid) -> Guard:
    """The page as an ASGI application.

    Args:
        given: by the supervisor.
        port: that it is served on.
        activity: told of every request.
        peer: tells whose process is at the other end of a connection.
    """
    handlers = [*view_handlers(), events, static_file, nothing]
    paths = frozenset(path for handler in handlers for path in handler.paths if "{" not in path)
    sessions = Sessions(given, port, peer, paths)
    relay = Relay()

    async def check_form(request: AnyRequest) -> None:
        if request.method == "POST":  # whether the view looks at its form or not
            request.state.page = await sessions.page(request)

    async def page(request: AnyRequest) -> Page:
        if request.state.get("page") is None:
            request.state.page = await sessions.page(request)
        found: Page = request.state.page
        return found

    def fail(request: AnyRequest, exception: Exception) -> Response[str]:
        error, status = as_error(exception, str(request.scope["path"]))
        speaker = request.state.get("page") or sessions.stranger(request)
        return speaker.fail(error, status)

    def refuse(error: AskPerson, scope: Scope) -> App:
        request: AnyRequest = Request(scope)  # type: ignore[arg-type]  # an ASGI scope, as Litestar types it itself
        return sessions.stranger(request).fail(error, status_of(error)).to_asgi_response(app=None, request=request)

    app = Litestar(
        route_handlers=handlers,
        dependencies={
            "page": Provide(page),
            "sessions": Provide(lambda: sessions, sync_to_thread=False),
            "relay": Provide(lambda: relay, sync_to_thread=False),
        },
        before_request=check_form,
        exception_handlers={ModelotaError: fail, HTTPException: fail, Exception: fail},
        request_max_body_size=BODY_MAX_BYTES,
        openapi_config=None,
        logging_config=None,
    )
    return Guard(app, port, activity, refuse)


def view_handlers() -> list[Any]:
    """The handlers of all views."""
    return [handler for view in VIEWS for handler in view.HANDLERS]


def as_error(exception: Exception, path: str) -> tuple[ModelotaError, int]:
    """What went wrong in our own terms, and the HTTP status that says it."""
    if isinstance(exception, ModelotaError):
        return exception, status_of(exception)
    if isinstance(exception, NotFoundException):
        return AskPerson("page-not-found", path=path[:100]), exception.status_code
    if isinstance(exception, HTTPException) and exception.status_code < 500:
        detail = {405: "method", 413: "too-large"}.get(exception.status_code, "not-understood")
        return AskPerson("page-request-refused", detail=detail), exception.status_code
    traceback.print_exception(exception)  # into the page's log: the last line of a request
    return OurBug("unexpected", kind=type(exception).__name__, detail=str(exception)[:300]), 500


@get("/events", media_type=EVENT_STREAM)
async def events(page: ThisPage, relay: NamedDependency[Relay], request: Request[Any, Any, Any]) -> Stream:
    """What happens, as it happens; the same JSON as the agent's socket gives."""
    last = request.headers.get("last-event-id") or request.query_params.get("after")
    after = int(last) if last is not None and last.isascii() and last.isdigit() and len(last) < 19 else None
    return Stream(await relay.stream(page, after), media_type=EVENT_STREAM)


@get("/{rest:path}")
async def nothing(page: ThisPage) -> Response[str]:
    """Every other path: its error keeps the navigation of whoever is signed in."""
    raise AskPerson("page-not-found", path=page.path[:100])


@get("/static/{name:str}")
async def static_file(name: FromPath[str]) -> Response[bytes]:
    """A file of the package; it tells nothing of the device, so no session is needed."""
    file = static_files().get(name)
    if file is None:
        raise AskPerson("page-not-found", path=f"/static/{name[:80]}")
    return Response(file.content, media_type=file.media_type)
