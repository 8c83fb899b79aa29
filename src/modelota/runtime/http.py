"""HTTP over Unix sockets and TCP loopback: the one import for clients and servers of ours.

Client: `request`, `stream`, `events`. Server: `serve_unix`, `serve_tcp` with a handler from `Request` to `Response` or
`StreamingResponse`.
"""

from __future__ import annotations

from modelota.runtime.http_client import ResponseStream, request, stream
from modelota.runtime.http_server import HttpServer, serve_tcp, serve_unix
from modelota.runtime.messages import (
    ErrorRenderer,
    Handler,
    PeerCredentials,
    Reply,
    Request,
    Response,
    ServerLimits,
    ServerSentEvent,
    StreamingResponse,
    error_response,
    events,
    json_response,
    status_of,
)

__all__ = [
    "ErrorRenderer",
    "Handler",
    "HttpServer",
    "PeerCredentials",
    "Reply",
    "Request",
    "Response",
    "ResponseStream",
    "ServerLimits",
    "ServerSentEvent",
    "StreamingResponse",
    "error_response",
    "events",
    "json_response",
    "request",
    "serve_tcp",
    "serve_unix",
    "status_of",
    "stream",
]
