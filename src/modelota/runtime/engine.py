"""Engines as child processes: start until healthy, wait, stop. The child dies with this process, whatever kills it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from modelota import faults
from modelota.clock import Clock
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.runtime.enginelog import EngineLog
from modelota.runtime.http_client import request
from modelota.runtime.protocol import EngineSpec, FileStamp, runtime_of
from modelota.storage.durable import disk_errors

# Mirrors of `modelota.runtime.child`, which the supervisor does not import: it needs blake3. A test keeps them equal.
EXIT_DAMAGED: Final = 90
REPORT: Final = "modelota-child: "

_POLL_S: Final = 0.05  # while starting only; a running engine is never polled
_PROBE_TIMEOUT_S: Final = 5.0
_ABANDON_GRACE_S: Final = 3.0  # time for a guardian to end what its command started
_DETAIL_MAX_CHARS: Final = 1500
_REPORT_MAX_BYTES: Final = 64 << 20  # as many files as a specification may list
# What an engine may see of the environment. Not the rest: it is other people's code, and passphrases live there.
_ENVIRONMENT: Final = frozenset(
    {"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ", "VIRTUAL_ENV"}
)
_ENVIRONMENT_PREFIXES: Final = ("CUDA_", "GGML_", "HIP_", "HSA_", "LC_", "NVIDIA_", "OMP_", "ROCR_", "VK_")


class Engine:
    """A running engine; made by `start_engine`.

    Attributes:
        spec: what it was started from.
        stamps: of the files that its child verified, or found unchanged, by path; known once it is healthy.
    """

    def __init__(
        self, spec: EngineSpec, process: asyncio.subprocess.Process, log: EngineLog, report: int | None = None
    ) -> None:
        self.spec: Final = spec
        self.stamps: Mapping[str, FileStamp] = {}
        self._process = process
        self._log = log
        self._report = report
        self._stopping = False
        self._exit = asyncio.ensure_future(self._follow())

    @property
    def pid(self) -> int:
        """Root of the engine's process tree."""
        return self._process.pid

    @property
    def socket_path(self) -> Path:
        """Where it serves HTTP."""
        return Path(self.spec.socket_path)

    @property
    def label(self) -> str:
        """Name of its slot."""
        return self.spec.label

    @property
    def exited(self) -> bool:
        """Whether its process has ended."""
        return self._exit.done()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called: an end is then no crash."""
        return self._stopping

    @property
    def log_tail(self) -> str:
        """The last lines it printed, bounded."""
        return self._log.tail(_DETAIL_MAX_CHARS)

    async def wait(self) -> int:
        """Wait until its process ends; the exit status, or minus the number of the signal that ended it."""
        return await asyncio.shield(self._exit)

    async def stop(self, grace_s: float = 5.0) -> int:
        """Ask it to end, kill it after `grace_s` (at once when that is 0), return its status.

        Stopping a stopped engine changes nothing.
        """
        self._stopping = True
        if not self.exited and grace_s > 0:
            if self._process.stdin is not None:
                self._process.stdin.close()  # the child takes the end of its input for the end of its parent
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.wait()
        if not self.exited:
            self._kill()
        return await self.wait()

    def _kill(self) -> None:
        """Kill its process group; it started as a session of its own, so the group is its tree's."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read_report(self) -> None:
        """Take what the child reported of its files; it closed its end before the engine began to run."""
        if self._report is None:
            return
        size_bytes = os.fstat(self._report).st_size
        with suppress(msgspec.MsgspecError):  # then the files count as not verified, and are verified again
            if size_bytes <= _REPORT_MAX_BYTES:
                data = os.pread(self._report, size_bytes, 0)
                self.stamps = msgspec.json.decode(data, type=dict[str, FileStamp])
        self._close_report()

    def _close_report(self) -> None:
        if self._report is not None:
            os.close(self._report)
            self._report = None

    async def _follow(self) -> int:
        status = await self._process.wait()
        self._close_report()
        self._kill()  # what a crashed engine leaves of its group
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._log.finish()
        with suppress(OSError):
            self.socket_path.unlink(missing_ok=True)
        return status


async def start_engine(spec: EngineSpec, *, clock: Clock, timeout_s: float = 120.0) -> Engine:
    """Start an engine and wait until it answers `GET /health` with 200.

    The child first verifies every file of `spec` that has not its stamp any more; reading a large model takes its time,
    and `timeout_s` includes it.
    Call this from a thread that lives as long as the engine should: Linux ends the child when that thread ends.

    Raises:
        RefuseContent: `slot-damaged` (slot, path): a file is not what its manifest promised.
        TryLater: `engine-start-failed` (slot, detail: the last lines it printed), `engine-crashed` (slot, status: minus
            the signal's number), `engine-timeout` (slot, seconds). Nothing of it runs any more then.
        AskPerson: `runtime-missing`, or `root-not-private` (path, mode) when others could reach the engine's socket;
            `no-space`, `permission-denied`, and TryLater `disk-error`, about its directories.
    """
    argv = runtime_of(spec).child_argv(spec)
    with disk_errors(Path(spec.work_dir)):  # the device's trouble, which says nothing about the version
        _private(Path(spec.work_dir))
        _private(Path(spec.socket_path).parent)
        faults.point("engine.start")
    engine = await _spawn(spec, argv)
    try:
        await _until_healthy(engine, clock, timeout_s)
        engine._read_report()  # noqa: SLF001  the engine is made here, and nowhere else
    except BaseException:
        await engine.stop(grace_s=_ABANDON_GRACE_S)
        raise
    return engine


async def _spawn(spec: EngineSpec, argv: list[str]) -> Engine:
    log = EngineLog(Path(spec.log_path))
    # memory, not a pipe: it takes any length without anyone reading, and not the log, which other code writes, too
    report = os.memfd_create("modelota-report", os.MFD_CLOEXEC) if hasattr(os, "memfd_create") else None
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=log.writer,
            stderr=log.writer,
            cwd=spec.work_dir,
            env=_environment(),
            pass_fds=() if report is None else (report,),
            start_new_session=True,  # Ctrl-C in a terminal is for the supervisor, which then stops its engines in order
        )
    except OSError as error:
        log.finish()
        if report is not None:
            os.close(report)
        raise TryLater("engine-start-failed", slot=spec.label, detail=f"{argv[0]}: {error.strerror}") from error
    log.start()
    engine = Engine(spec, process, log, report)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode({"spec": spec, "parent_pid": os.getpid(), "report": report}) + b"\n")
    with suppress(ConnectionError):  # a child that ended already says why in its log
        await process.stdin.drain()
    return engine


async def _until_healthy(engine: Engine, clock: Clock, timeout_s: float) -> None:
    deadline = clock.monotonic() + timeout_s
    while True:
        if engine.exited:
            raise _start_error(engine, await engine.wait())
        if await _healthy(engine):
            return
        if clock.monotonic() >= deadline:
            raise TryLater("engine-timeout", slot=engine.label, seconds=timeout_s)
        pause = asyncio.ensure_future(clock.sleep(_POLL_S))
        end = asyncio.ensure_future(engine.wait())
        await asyncio.wait({pause, end}, return_when=asyncio.FIRST_COMPLETED)
        for task in (pause, end):
            task.cancel()
        await asyncio.gather(pause, end, return_exceptions=True)


async def _healthy(engine: Engine) -> bool:
    try:
        answer = await request(engine.socket_path, "GET", "/health", timeout_s=_PROBE_TIMEOUT_S, limit_bytes=65_536)
    except TryLater:
        return False
    return answer.status == 200


def _start_error(engine: Engine, status: int) -> ModelotaError:
    detail = engine.log_tail
    if status == EXIT_DAMAGED:
        return RefuseContent("slot-damaged", slot=engine.label, path=_reported_path(detail))
    if status < 0:
        return TryLater("engine-crashed", slot=engine.label, status=status)
    return TryLater("engine-start-failed", slot=engine.label, detail=detail or f"exit status {status}")


def _reported_path(tail: str) -> str | None:
    for line in reversed(tail.splitlines()):
        if line.startswith(REPORT):
            try:
                return msgspec.json.decode(line.removeprefix(REPORT), type=_Report).path
            except msgspec.MsgspecError:
                return None
    return None


class _Report(msgspec.Struct, frozen=True):
    path: str | None = None


def _private(folder: Path) -> None:
    """Make `folder` if missing; refuse it when others may enter."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise AskPerson("permission-denied", path=str(folder)) from error
    if found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise AskPerson("root-not-private", path=str(folder), mode=oct(found.st_mode & 0o777))


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    # The child must find the same modelota as this process, however this one found it.
    paths = [kept["PYTHONPATH"]] if "PYTHONPATH" in kept else []
    home = str(Path(__file__).parents[2])
    return kept if home in sys.path and not paths else {**kept, "PYTHONPATH": os.pathsep.join([home, *paths])}
