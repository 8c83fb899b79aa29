"""What stands before every view of the page: no other web page may ask it anything, show it, or learn from it.

Browsers let any web page send requests to 127.0.0.1. The guard refuses what does not come from the page itself: a
foreign `Host` (DNS rebinding), a foreign `Origin`, and what fetch metadata calls cross-site (W3C Fetch Metadata). The
token that every form carries is checked where the session is known (`sessions`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from modelota.agent.page.activity import Activity
from modelota.errors import AskPerson

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

OPEN_PREFIX: Final = "/open/"
STATIC_PREFIX: Final = "/static/"
TARGET_MAX_CHARS: Final = 2048
_METHODS: Final = frozenset({"GET", "POST"})

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# With `no-referrer` browsers send `Origin: null` with a form (Fetch, 3.2), and nobody could tell it from a foreign
# one; `same-origin` tells other sites no more.
SECURITY_HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
)
_SET_HERE: Final = frozenset({name for name, _ in SECURITY_HEADERS} | {b"cache-control"})


def check_origin(method: str, target: str, headers: Mapping[str, str], port: int) -> None:
    """Check that a request comes from the page itself, or, where it only looks, from its user's own hand.

    Args:
        method: of the request.
        target: its path with the query.
        headers: names in lower case.
        port: that the page is served on.

    Raises:
        AskPerson: `page-request-refused` (detail).
    """
    host = headers.get("host", "")
    if host not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
        raise AskPerson("page-request-refused", detail="foreign-host")
    if method not in _METHODS:
        raise AskPerson("page-request-refused", detail="method")
    if len(target) > TARGET_MAX_CHARS:
        raise AskPerson("page-request-refused", detail="too-large")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    own = origin == f"http://{host}"
    if method == "GET" and target.startswith(OPEN_PREFIX):
        if headers.get("sec-fetch-dest", "document") != "document":  # a frame, an image of another page
            raise AskPerson("page-request-refused", detail="foreign-page")
        return
    if site not in {None, "same-origin", "none"} or (origin is not None and not own):
        raise AskPerson("page-request-refused", detail="foreign-page")
    if method == "POST" and not own and site != "same-origin":
        raise AskPerson("page-request-refused", detail="foreign-page")


class Guard:
    """An ASGI application around the page's: checks requests, adds headers to every answer, and counts use.

    Args:
        app: the page's.
        port: that it is served on.
        activity: told of every request.
        refuse: makes the answer to a refused request.
    """

    def __init__(self, app: App, port: int, activity: Activity, refuse: Callable[[AskPerson, Scope], App]) -> None:
        self._app = app
        self._port = port
        self._activity = activity
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; of other kinds, such as web sockets, the page has none, and they get no answer."""
        if scope["type"] != "http":
            return
        path = str(scope["path"])

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in _SET_HERE]
                caching = b"private, max-age=31536000, immutable" if path.startswith(STATIC_PREFIX) else b"no-store"
                message = {**message, "headers": [*kept, *SECURITY_HEADERS, (b"cache-control", caching)]}
            await send(message)

        with self._activity.busy():
            app = self._app
            try:
                check_origin(scope["method"], _target(scope), _headers(scope), self._port)
            except AskPerson as error:
                app = self._refuse(error, scope)
            await app(scope, receive, send_guarded)


def _target(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        found[key] = f"{found[key]}, {value.decode('latin-1')}" if key in found else value.decode("latin-1")
    return found
