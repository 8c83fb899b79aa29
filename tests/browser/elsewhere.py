"""Somebody else's web server on this machine."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self

EMPTY = '<!doctype html><html lang="en"><title>elsewhere</title><link rel="icon" href="data:,">{}'


class Elsewhere:
    """Serves pages that a test writes; a context manager.

    Attributes:
        pages: path -> content below the head of a document.
        cookies: the cookie headers that arrived.
    """

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.cookies: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.cookies += self.headers.get_all("cookie", [])
                known = self.path in outer.pages
                content = EMPTY.format(outer.pages.get(self.path, "")).encode()
                self.send_response(200 if known else 404)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, content: str, *, host: str = "127.0.0.1", path: str = "/") -> str:
        """Serve `content`; returns its address under one of the names of this machine."""
        self.pages[path] = content
        return f"http://{host}:{self._server.server_port}{path}"
