"""HTTP messages and limits shared by the client and the server side of every socket of ours.

HTTP/1.1 (RFC 9112) through h11, bodies in memory up to a limit, answers optionally as streams. Only the standard
library, h11 and msgspec are imported: the supervisor lives in 30 MB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.spec.api import ErrorBody
from modelota.spec.limits import REQUEST_MAX_BYTES

HEAD_MAX_BYTES: Final = 16 * 1024
READ_BYTES: Final = 64 * 1024
JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"


class PeerCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end of a Unix socket, as the kernel recorded it when it connected (SO_PEERCRED).

    `groups` are its supplementary groups (SO_PEERGROUPS), as far as the kernel tells: a service may have some that no
    user database knows.
    """

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        method: upper case.
        path: decoded, without the query.
        query: decoded; of a repeated name the last value.
        headers: names in lower case; values of a repeated name joined with `, `.
        body: whole.
        peer: credentials on a Unix socket; None on TCP.
    """

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""
    peer: PeerCredentials | None = None


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer; header names in lower case when it was received."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""

    def json(self) -> Any:  # noqa: ANN401  JSON has no narrower type; callers that know one decode `body` themselves
        """Decode the body.

        Raises:
            AskPerson: `request-invalid`.
        """
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise AskPerson("request-invalid", detail=str(error)[:200]) from error


class StreamingResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An answer whose body comes piece by piece; each piece is sent at once.

    `chunks` is closed (`aclose`) when the client goes away, and its `finally` blocks then run at once.
    """

    status: int = 200
    headers: dict[str, str] = {}
    chunks: AsyncIterator[bytes]


Reply = Response | StreamingResponse
Handler = Callable[[Request], Awaitable[Reply]]
ErrorRenderer = Callable[[ModelotaError, int], Response]


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what a peer can make a server hold or wait for.

    Attributes:
        head_bytes: request line and headers together.
        body_bytes: of a request.
        connections: at once; a further one is answered 503 and closed.
        connections_per_user: of those, on a Unix socket, of one user who is neither root nor this process's; all such
            users together leave as many to those two. None: no such limit.
        head_timeout_s: from the first byte of a request to the end of its headers, however slowly they trickle.
        body_timeout_s: for the whole body.
        idle_timeout_s: between requests on a kept connection, and before the first.
        write_timeout_s: for a peer that does not read.
    """

    head_bytes: int = HEAD_MAX_BYTES
    body_bytes: int = REQUEST_MAX_BYTES
    connections: int = 64
    connections_per_user: int | None = None
    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 60.0
    write_timeout_s: float = 60.0


_STATUSES: Final[dict[str, int]] = {
    "route-unknown": 404,
    "not-authorised": 403,
    "page-caller-refused": 403,
    "page-request-refused": 403,
    "page-link-used": 403,
    "page-session-ended": 401,
    "page-not-found": 404,
    "page-disabled": 404,
    "gateway-host-refused": 403,
    "gateway-origin-refused": 403,
    "gateway-token-refused": 401,
    "request-too-large": 413,
    "no-model-installed": 404,
    "not-now": 409,
    "update-in-progress": 409,
    "no-update-in-progress": 409,
    "cannot-cancel": 409,
    "offer-changed": 409,
    "offer-not-shown": 409,
    "nothing-to-roll-back": 409,
    "no-offer": 404,
    "version-not-kept": 404,
    "release-revoked": 409,
    "inhibitor-unknown": 404,
    "answer-unknown": 404,
    "answer-over": 409,
    "cleaning-in-progress": 409,
    "notice-unknown": 404,
}
_BRANCH_STATUSES: Final[dict[str, int]] = {
    "try-later": 503,
    "refuse-content": 422,
    "ask-person": 400,
    "our-bug": 500,
}


def status_of(error: ModelotaError) -> int:
    """The HTTP status for an error: by its code where HTTP has a word for it, else by its branch."""
    return _STATUSES.get(error.code, _BRANCH_STATUSES[error.branch])


def json_response(value: object, status: int = 200) -> Response:
    """Answer with `value` as JSON."""
    return Response(status=status, headers={"content-type": JSON}, body=msgspec.json.encode(value))


def error_response(error: ModelotaError, status: int) -> Response:
    """Answer with code and parameters of `error`; the client renders them in its user's language."""
    return json_response(ErrorBody(code=error.code, params=plain(error.params)), status)


def plain(params: dict[str, object]) -> dict[str, Any]:
    """Parameters as JSON can carry them; anything that is not plain becomes text."""
    return {
        key: value if value is None or isinstance(value, str | int | float | bool) else str(value)
        for key, value in params.items()
    }


class ServerSentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an event stream (WHATWG HTML, section 9.2)."""

    data: str
    event: str = "message"
    id: str | None = None

    def encode(self) -> bytes:
        """The bytes on the wire."""
        lines = [] if self.id is None else [f"id: {self.id}"]
        lines += [] if self.event == "message" else [f"event: {self.event}"]
        lines += [f"data: {line}" for line in self.data.split("\n")]
        return ("\n".join(lines) + "\n\n").encode()


async def events(chunks: AsyncIterator[bytes], *, limit_bytes: int = 1 << 20) -> AsyncIterator[ServerSentEvent]:
    """Parse an event stream; comments and unknown fields are ignored, an unfinished last event is dropped.

    Args:
        chunks: the body as it arrives, cut anywhere.
        limit_bytes: the most one event may have.

    Raises:
        TryLater: `peer-protocol`: an event larger than the limit.
    """
    rest = b""
    fields: dict[str, list[str]] = {}
    size = 0
    async for chunk in chunks:
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        size += len(chunk)
        for line in lines:
            if line:
                name, _, value = line.decode("utf-8", "replace").partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
                continue
            if "data" in fields:
                yield ServerSentEvent(
                    data="\n".join(fields["data"]),
                    event=fields.get("event", ["message"])[-1],
                    id=fields["id"][-1] if "id" in fields else None,
                )
            fields, size = {}, len(rest)
        if size > limit_bytes:
            raise TryLater("peer-protocol", path=None, detail=f"an event of more than {limit_bytes} bytes")
