"""A client of the agent's socket that shares no code with the product's: the standard library's HTTP over AF_UNIX."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

from modelota.conformance.row import Unreached

_TIMEOUT_S: Final = 240.0
_BODY_MAX_BYTES: Final = 32 << 20


@dataclass(frozen=True)
class Answer:
    """An answer of the agent: HTTP status and decoded JSON."""

    status: int
    body: Any

    @property
    def code(self) -> str | None:
        """The error's code, or None."""
        if self.status == 200 or not isinstance(self.body, dict):
            return None
        code = self.body.get("code")
        return code if isinstance(code, str) else None


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("agent", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class AgentSocket:
    """The Unix socket of one agent.

    Args:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def request(self, method: str, target: str, body: object = None, **query: object) -> Answer:
        """Send one request and read its answer.

        Raises:
            Unreached: nothing answers, or not with JSON.
        """
        connection = _Connection(self.path, _TIMEOUT_S)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, f"{target}?{urlencode(query)}" if query else target, data)
            answer = connection.getresponse()
            return Answer(answer.status, json.loads(answer.read(_BODY_MAX_BYTES) or b"null"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreached(f"{method} {target}: {type(error).__name__} {error}") from error
        finally:
            connection.close()

    def get(self, target: str, **query: object) -> Any:  # noqa: ANN401  JSON has no narrower type
        """The JSON of a request that has to succeed.

        Raises:
            Unreached: it did not.
        """
        answer = self.request("GET", target, **query)
        if answer.status != 200:
            raise Unreached(f"GET {target}: {answer.status} {answer.code}")
        return answer.body


class EventRecorder:
    """Follows the agent's event stream in a thread and keeps every event; use as a context manager.

    Attributes:
        events: what came, in order.
    """

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._connection = _Connection(path, _TIMEOUT_S)
        self._thread = threading.Thread(target=self._follow, name="event-recorder", daemon=True)
        self._closing = False

    def __enter__(self) -> Self:
        self._connection.request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        if self._connection.sock is not None:
            with contextlib.suppress(OSError):  # the agent may have closed it a moment ago
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    def _follow(self) -> None:
        # a stream that breaks off is seen by what is not in `events`
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            answer = self._connection.getresponse()
            while not self._closing and (line := answer.readline(1 << 20)):
                if line.startswith(b"data:"):
                    self.events.append(json.loads(line[5:]))
