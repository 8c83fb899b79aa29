"""A real device under test: the supervisor as a child process, driven through its socket, killed at will.

    device = DeviceUnderTest(root)
    with device.running(faults="journal.commit@3=kill"):
        device.update(device.check())

Everything goes through the product's own interface; nothing of the agent is imported into the test's process.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from modelota import faults
from modelota.runtime.http_client import socket_address
from modelota.storage.layout import Layout

START_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.01

Json = Any  # decoded JSON: whoever reads it asserts what it is


class DeviceGoneError(Exception):
    """The supervisor ended, or does not answer."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            with socket_address(self._path) as address:
                self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise


class DeviceUnderTest:
    """One device root and, while it runs, its supervisor.

    Args:
        root: enrolled (`enrol`) before it is started.
        environment: added to the supervisor's and so to the worker's environment.
        python: the interpreter whose modelota runs the device; a test may set another one while it does not run.
    """

    def __init__(
        self, root: Path, *, environment: Mapping[str, str] | None = None, python: str = sys.executable
    ) -> None:
        self.root = root
        self.python = python
        self.layout = Layout(root)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    # -- life --

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, faults_armed: str = "") -> None:
        """Start the supervisor and wait until its socket answers.

        Raises:
            DeviceGoneError: it ended first (an armed fail point does that).
        """
        environment = {**os.environ, **self._environment, faults.VARIABLE: faults_armed}
        log = (self.root.parent / f"{self.root.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and code
                [self.python, "-P", "-c", _RUN, str(self.root)], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise DeviceGoneError(f"ended with {self._process.returncode} while starting")
            with suppress(DeviceGoneError):
                self.status()
                return
            time.sleep(POLL_S)
        raise DeviceGoneError("its socket does not answer")

    def kill(self) -> None:
        """SIGKILL the supervisor, and wait until it is gone."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> int:
        """Ask the supervisor to stop; returns its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=START_TIMEOUT_S)

    def wait_gone(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the supervisor has ended by itself."""
        assert self._process is not None
        self._process.wait(timeout=timeout_s)

    @contextmanager
    def running(self, *, faults_armed: str = "") -> Iterator[DeviceUnderTest]:
        """Run the supervisor for the length of a block."""
        self.start(faults_armed=faults_armed)
        try:
            yield self
        finally:
            if self.alive:
                self.stop()

    # -- asking --

    def connection(self, timeout_s: float = 60.0) -> http.client.HTTPConnection:
        """A connection to the socket; the caller closes it."""
        return _UnixConnection(self.layout.agent_socket, timeout_s)

    def request(
        self, method: str, path: str, body: Json = None, *, timeout_s: float = 60.0, socket_path: Path | None = None
    ) -> tuple[int, Json]:
        """One request on the socket: status and decoded JSON.

        Raises:
            DeviceGoneError: nothing answers.
        """
        connection = _UnixConnection(socket_path or self.layout.agent_socket, timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException) as error:
            raise DeviceGoneError(f"{method} {path}: {error}") from error
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Json = None) -> Json:
        """One request that must succeed.

        Raises:
            AssertionError: the answer is an error; its text is the error.
            DeviceGoneError: nothing answers.
        """
        status, answer = self.request(method, path, body)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    def status(self) -> Json:
        """Status of the device's only model."""
        return self.ask("GET", "/v1/status")["models"][0]

    def check(self) -> Json:
        """Check, show and return the offer (or None)."""
        offer = self.ask("POST", "/v1/check", {})[0]["offer"]
        if offer is not None:
            self.show(offer["digest"])
        return offer

    def show(self, digest: str) -> None:
        """Tell the agent that the offer was shown."""
        body = {"offer_digest": digest, "language": "en", "text": "shown by a test", "channel": "host"}
        self.ask("POST", "/v1/shown", body)

    def decide(self, digest: str, answer: str = "accept") -> Json:
        """Answer an offer."""
        return self.ask("POST", "/v1/decisions", {"offer_digest": digest, "answer": answer, "channel": "host"})

    def wait(self, *phases: str, timeout_s: float = 120.0, paused: bool | None = None) -> Json:
        """Wait until the model is in one of `phases`; returns its status.

        Raises:
            DeviceGoneError: the supervisor ended, or the phase was not reached in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            status = self.status()
            if status["phase"] in phases and (paused is None or status["paused"] == paused):
                return status
            time.sleep(POLL_S)
        raise DeviceGoneError(f"not {phases} within {timeout_s} s: {self.status()}")

    def settle(self, timeout_s: float = 120.0) -> Json:
        """Wait until nothing is under way; returns the status."""
        return self.wait("idle", "watching", "offered", "degraded", timeout_s=timeout_s)

    def update(self) -> Json:
        """Check, accept what is offered, wait for the end; returns the status."""
        offer = self.check()
        assert offer is not None, "nothing is offered"
        self.decide(offer["digest"])
        return self.settle()

    def log(self) -> list[Json]:
        """The whole journal."""
        entries: list[Json] = []
        while True:
            page = self.ask("GET", f"/v1/log?limit=1000&after={entries[-1]['seq'] if entries else 0}")["entries"]
            if not page:
                return entries
            entries += page

    def chat(self, prompt: str) -> str:
        """Ask the model in use through the gateway."""
        where = self.ask("POST", "/v1/chat", {})
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 48, "temperature": 0}
        status, answer = self.request("POST", "/v1/chat/completions", body, socket_path=Path(where["gateway_socket"]))
        assert status == 200, f"chat: {status} {answer}"
        return str(answer["choices"][0]["message"]["content"])


_RUN: Final = """
import sys
from pathlib import Path
from modelota.agent.supervisor import run_supervisor
run_supervisor(Path(sys.argv[1]))
"""
