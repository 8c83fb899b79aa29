"""One device under test: a root of its own, an agent process, and what is seen of it from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from modelota.conformance.commands import Cli, Done
from modelota.conformance.readings import entries_below
from modelota.conformance.row import Unreached
from modelota.conformance.socket_client import AgentSocket, Answer, EventRecorder
from modelota.repository import toml
from modelota.testing.engine import fake_argv

STANDIN: Final = "stand-in"  # name of the command profile that runs the stand-in engine
WAIT_S: Final = 120.0
_LOOK_S: Final = 0.04
_TIDY_S: Final = 10.0
_INSTALLED: Final = ("active", "previous", "kept")
# What lies in a device root when nothing is under way (docs/design.md).
_ROOT_NAMES: Final = frozenset(
    {
        "config.toml", "enrolment.json", "agent.db", "agent.db-wal", "agent.db-shm", "agent.db-reserve", "agent.lock",
        "keys", "trust-cache", "log", "run", "models",
    }
)  # fmt: skip
_MODEL_NAMES: Final = frozenset({"slots", "staging", "current", "userdata", "backups", "kept", "reports"})
_SLOT_NAMES: Final = frozenset({"files", "cache", "log", "slot.json", "manifest.json"})
_MOVING: Final = ("rechecking", "fetching", "verifying", "deploying", "testing", "waiting", "activating")

Status = dict[str, Any]


def settings(*, connections: int = 1, checks_every_s: int = 0) -> dict[str, object]:
    """The integrator's settings of a device under test: a key file instead of the user's keyring, quick retries."""
    return {
        "keys": {"store": "file"},
        "checks": {"every_s": checks_every_s},
        "fetch": {"connections": connections, "retry_after_s": 1},
        "engines": {"start_timeout_s": 60, "commands": {STANDIN: {"argv": list(fake_argv())}}},
    }


class Device:
    """A device root and its agent.

    Args:
        root: of the device; below the disposable root.
        cli: runs commands.
        model: the one that is looked at.
        config: its settings.
        sandbox: words to put before the agent's command.
    """

    def __init__(
        self, root: Path, cli: Cli, model: str, config: Mapping[str, object], *, sandbox: Sequence[str] = ()
    ) -> None:
        self.root: Final = root
        self.model: Final = model
        self._cli = cli
        self._sandbox = tuple(sandbox)
        self._process: subprocess.Popen[bytes] | None = None
        self.agent_pid = 0
        root.mkdir(mode=0o700, parents=True)
        (root / "config.toml").write_text(toml.render(config), encoding="utf-8")

    # -- life ---------------------------------------------------------------------------------------------------------

    def enrol(self, file: Path) -> Done:
        """`modelota device init`."""
        return self._cli.run("device", "init", str(file), "--root", str(self.root), "--json")

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the agent (`modelota device run`) and wait until its socket answers.

        Raises:
            Unreached: it ended, or does not answer.
        """
        log = self.root.parent / f"{self.root.name}.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603  the product itself, with words of this room
                [*self._sandbox, *self._cli.argv, "device", "run", "--root", str(self.root), "--json"],
                env={**self._cli.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.until(self._answers, "the agent's socket to answer")
        self.agent_pid = self._peer_pid()

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (self.root.parent / f"{self.root.name}.log").read_text(errors="replace")[-600:]
            raise Unreached(f"the agent of {self.root.name} ended: {log}")
        with contextlib.suppress(Unreached):
            return self.socket.request("GET", "/v1/status").status == 200
        return False

    def _peer_pid(self) -> int:
        """The process that listens, as the kernel knows it (unix(7), SO_PEERCRED)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self.socket.path))
            size = struct.calcsize("3i")
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return int(pid)

    def kill(self) -> None:
        """SIGKILL the agent, as a power cut would end it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.agent_pid, signal.SIGKILL)
        self._collect()

    def stop(self) -> None:
        """SIGTERM the agent and wait; kill it when it does not end."""
        if self._process is None:
            return
        for pid in {self.agent_pid or self._process.pid, self._process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._collect()

    def _collect(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def ended(self) -> bool:
        """Whether the process that was started has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    # -- asking -------------------------------------------------------------------------------------------------------

    @property
    def socket(self) -> AgentSocket:
        """Its socket."""
        return AgentSocket(self.root / "run" / "agent.sock")

    def command(self, *words: str) -> Done:
        """`modelota device …` for this root."""
        return self._cli.run("device", *words, "--root", str(self.root))

    def status(self, model: str | None = None) -> Status:
        """State of one model."""
        wanted = model or self.model
        models: list[Status] = self.socket.get("/v1/status")["models"]
        return next(entry for entry in models if entry["model"] == wanted)

    def log(self, model: str | None = None) -> list[dict[str, Any]]:
        """The whole journal of one model, oldest first."""
        entries: list[dict[str, Any]] = []
        while True:
            after = entries[-1]["seq"] if entries else 0
            page = self.socket.get("/v1/log", model=model or self.model, after=after, limit=200)["entries"]
            if not page:
                return entries
            entries += page

    def check(self, model: str | None = None, *, version: str | None = None) -> dict[str, Any]:
        """`POST /v1/check`: what it says about the model; with `version`, about that very version.

        Raises:
            Unreached: the check failed.
        """
        answer = self.socket.request("POST", "/v1/check", {"model": model or self.model, "version": version})
        if answer.status != 200:
            raise Unreached(f"check: {answer.status} {answer.body}")
        found: dict[str, Any] = answer.body[0]
        return found

    def offer(self, model: str | None = None, *, version: str | None = None) -> dict[str, Any]:
        """Check, and the offer that comes of it; with `version`, the one for that very version.

        Raises:
            Unreached: there is none.
        """
        found = self.check(model, version=version)
        if found["offer"] is None:
            raise Unreached(f"no offer for {model or self.model}: {found}")
        view: dict[str, Any] = found["offer"]
        return view

    def show(self, digest: str) -> Answer:
        """Declare an offer shown to a person."""
        body = {"offer_digest": digest, "language": "en", "text": "shown by the conformance room", "channel": "host"}
        return self.socket.request("POST", "/v1/shown", body)

    def answer(self, digest: str, answer: str) -> Answer:
        """Answer an offer."""
        return self.socket.request("POST", "/v1/decisions", {"offer_digest": digest, "answer": answer})

    def accept_offer(self, model: str | None = None, *, version: str | None = None) -> dict[str, Any]:
        """Check, show and accept; returns the offer.

        Raises:
            Unreached: no offer, or not accepted.
        """
        view = self.offer(model, version=version)
        self.show(view["digest"])
        taken = self.answer(view["digest"], "accept")
        if taken.status != 200:
            raise Unreached(f"accept: {taken.status} {taken.body}")
        return view

    def control(self, action: str, model: str | None = None) -> Answer:
        """Pause, resume or cancel."""
        return self.socket.request("POST", f"/v1/{action}", {"model": model or self.model})

    def record(self) -> EventRecorder:
        """Record the event stream."""
        return EventRecorder(self.socket.path)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def until(self, holds: Callable[[], bool], what: str, *, timeout_s: float = WAIT_S) -> None:
        """Wait until `holds` does.

        Raises:
            Unreached: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while not holds():
            if time.monotonic() > deadline:
                raise Unreached(f"waited {timeout_s:.0f} s for {what} ({self.root.name})")
            pause.wait(_LOOK_S)

    def outcome(self, before: Status | None, model: str | None = None, *, timeout_s: float = WAIT_S) -> Status:
        """Wait for the end of the operation under way and return how it ended.

        Args:
            before: the last outcome before it began.
            model: whose.
            timeout_s: how long.

        Raises:
            Unreached: it paused for a person, or did not end in time.
        """
        found: Status = {}

        def over() -> bool:
            now = self.status(model)
            if now["phase"] in _MOVING or now["phase"] == "rolling-back":
                return False
            found.update(now["last_outcome"] or {})
            return now["last_outcome"] is not None and now["last_outcome"] != before

        self.until(over, f"an outcome, state {self._brief(model)}", timeout_s=timeout_s)
        return found

    def _brief(self, model: str | None) -> str:
        now = self.status(model)
        return f"{now['phase']} paused={now['paused']} {now['error'] or ''}"

    def update(self, model: str | None = None) -> Status:
        """Check, show, accept, wait; returns the outcome."""
        before = self.status(model)["last_outcome"]
        self.accept_offer(model)
        return self.outcome(before, model)

    # -- places -------------------------------------------------------------------------------------------------------

    @property
    def place(self) -> Path:
        """Where the model lies."""
        return self.root / "models" / self.model

    def left_over(self, model: str | None = None) -> list[str]:
        """Names in the root that do not belong there once nothing is under way (the layout of docs/design.md).

        The device tidies up after it has told the outcome, so this looks again for a while.
        """
        with contextlib.suppress(Unreached):
            self.until(lambda: not self._strange(model or self.model), "the root to be tidy", timeout_s=_TIDY_S)
        return self._strange(model or self.model)

    def _strange(self, model: str) -> list[str]:
        versions = self.socket.get("/v1/versions", model=model)["versions"]
        here = {f"{each['version']}+{each['variant']}" for each in versions if each["state"] in _INSTALLED}
        place = self.root / "models" / model
        found = [path for path in self.root.iterdir() if path.name not in _ROOT_NAMES]
        found += [path for path in place.iterdir() if path.name not in _MODEL_NAMES]
        found += entries_below(place / "staging")
        if (place / "slots").is_dir():
            found += [path for path in (place / "slots").iterdir() if path.name not in here]
            found += [path for path in (place / "slots").glob("*/*") if path.name not in _SLOT_NAMES]
        return sorted(str(path.relative_to(self.root)) for path in found)

    def slot(self, version: str, model: str | None = None) -> Path:
        """The directory of an installed version.

        Raises:
            Unreached: there is none.
        """
        slots = self.root / "models" / (model or self.model) / "slots"
        found = sorted(slots.glob(f"{version}+*"))
        if not found:
            raise Unreached(f"no slot of {version} in {slots.name}")
        return found[0]
