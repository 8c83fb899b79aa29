"""A car's screen in miniature: `python screen.py SOCKET [--port N] [--lang en|zh]`. Standard library only.

It serves one page (`page/`) to the head unit's browser, passes what the page may ask on to the agent's socket, and
tells the agent what only the car knows. The car is played by standard input, one word a line: `parked`, `driving`,
`charging`, `unplugged`. While the car drives nobody decides anything on the screen, and the agent hears that it drives.

The first line on standard output is the address to open. Its path has a secret: whoever does not know it gets nothing.
The end of standard input ends it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import secrets
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
# What the page may ask of the agent. What changes something is refused while the car drives, but a pause.
READS = ("/v1/status", "/v1/about", "/v1/versions", "/v1/decisions", "/v1/conditions")
WRITES = ("/v1/check", "/v1/shown", "/v1/decisions", "/v1/resume", "/v1/cancel", "/v1/rollback")
ANY_TIME = ("/v1/pause", "/v1/shown")
BODY_MAX_BYTES = 64 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Agent(http.client.HTTPConnection):
    """A connection to the agent's Unix socket."""

    def __init__(self, path: str, timeout_s: float = 600.0) -> None:
        super().__init__("agent", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to it."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Car:
    """What the car knows, and tells the agent whenever it changes."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.facts = {"parked": True, "charging": False}

    def hear(self, word: str) -> None:
        """Take one word from the car."""
        told = {"parked": ("parked", True), "driving": ("parked", False)}
        told |= {"charging": ("charging", True), "unplugged": ("charging", False)}
        if word in told:
            name, value = told[word]
            self.facts[name] = value
            self.tell()

    def tell(self) -> None:
        """Tell the agent; it forgets what it was told when it restarts, so the page's events bring it here again."""
        self.ask("POST", "/v1/conditions", json.dumps(self.facts).encode())

    def ask(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """One request to the agent: status and JSON; an agent that does not answer is a 503 with a code of its own."""
        agent = Agent(self.socket_path)
        try:
            agent.request(method, target, body, {"content-type": "application/json"})
            answer = agent.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 503, b'{"code": "agent-not-running", "params": {}}'
        finally:
            agent.close()


class Screen(BaseHTTPRequestHandler):
    """Answers the head unit's browser."""

    protocol_version = "HTTP/1.1"
    car: Car
    secret: str
    language: str

    def do_GET(self) -> None:
        """The page, the car's state, the agent's events, and what the page may read of the agent."""
        path = self._below_the_secret()
        if path is None:
            return
        if path == "/events":
            self._pass_events_on()
        elif path == "/car":
            self._answer(200, json.dumps({**self.car.facts, "language": self.language}).encode())
        elif path.startswith("/v1/") and path.partition("?")[0] in READS:
            self._answer(*self.car.ask("GET", path, None))
        else:
            file = PAGE / (path.removeprefix("/") or "index.html")
            if file.suffix in KINDS and file.parent == PAGE and file.is_file():
                self._answer(200, file.read_bytes(), KINDS[file.suffix])
            else:
                self._answer(404, b'{"code": "route-unknown", "params": {}}')

    def do_POST(self) -> None:
        """What somebody at the screen asks for."""
        self._change("POST")

    def do_DELETE(self) -> None:
        """An answer that is taken back."""
        self._change("DELETE")

    def _change(self, method: str) -> None:
        path = self._below_the_secret()
        size = self.headers.get("content-length", "0")
        if path is None:
            return
        if self.headers.get("origin") != f"http://{self.headers['host']}":  # another page of this browser
            self._answer(403, b'{"code": "not-authorised", "params": {}}')
        elif not size.isdigit() or int(size) > BODY_MAX_BYTES:
            self.close_connection = True
            self._answer(413, b'{"code": "request-too-large", "params": {}}')
        else:
            body = self.rfile.read(int(size))
            revokes = method == "DELETE" and path.removeprefix("/v1/decisions/").isdigit()
            if not (revokes or (method == "POST" and path in {*WRITES, *ANY_TIME})):
                self._answer(404, b'{"code": "route-unknown", "params": {}}')
            elif not self.car.facts["parked"] and path not in ANY_TIME:
                self._answer(409, b'{"code": "driving", "params": {}}')
            else:
                self._answer(*self.car.ask(method, path, body))

    def _below_the_secret(self) -> str | None:
        """The path without the secret; None when it was answered already: somebody guesses, or rebinds a name."""
        host, prefix = self.headers.get("host", ""), f"/{self.secret}"
        port = self.server.server_address[1]
        if host in {f"127.0.0.1:{port}", f"localhost:{port}"} and self.path.startswith(f"{prefix}/"):
            return self.path.removeprefix(prefix)
        self._answer(404, b"{}")
        return None

    def _pass_events_on(self) -> None:
        """Pass the agent's event stream through; the browser connects again by itself, with the last id it saw."""
        agent = Agent(self.car.socket_path, timeout_s=60.0)  # the agent sends a comment every 15 s
        try:
            last = self.headers.get("last-event-id")
            agent.request("GET", "/v1/events", headers={"last-event-id": last} if last else {})
            answer = agent.getresponse()
            self._head(answer.status, answer.headers["content-type"], {"connection": "close"})
            self.car.tell()
            while chunk := answer.read1():
                self.wfile.write(chunk)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            pass  # one of the two is gone; the browser comes back
        finally:
            agent.close()
            self.close_connection = True

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self._head(status, kind, {"content-length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, **HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: paths have the secret."""


def main() -> int:
    """Serve the screen until the car's words end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket", help="the agent's, as `modelota device status` prints it")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lang", default="en", choices=["en", "zh"])
    arguments = parser.parse_args()
    Screen.car, Screen.secret, Screen.language = Car(arguments.socket), secrets.token_urlsafe(32), arguments.lang
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Screen)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}/{Screen.secret}/", flush=True)
    Screen.car.tell()
    for line in sys.stdin:
        Screen.car.hear(line.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
