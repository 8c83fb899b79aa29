"""The supervisor's end of the worker: start it when there is a job, end it when there is none."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.errors import ModelotaError, TryLater, error_from
from modelota.spec.api import ErrorBody
from modelota.storage.durable import Disk

LINE_MAX_BYTES: Final = 32 * 1024 * 1024
IDLE_S: Final = 5.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job for the worker."""

    number: int
    kind: str
    arguments: dict[str, Any]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Progress (`done`, `total`), or the end of a job: `result` as JSON text, or `error` with its branch."""

    number: int
    done: int | None = None
    total: int | None = None
    result: str | None = None
    error: ErrorBody | None = None
    branch: str = ""


class WorkerLink:
    """Runs jobs in a worker process, one at a time.

    Args:
        root: the device root.
        log: the worker's standard error goes there; emptied at each start.
        disk: the writer.
        yielding: the worker runs at low priority (requirement 7.1.2-a).
    """

    def __init__(self, root: Path, log: Path, disk: Disk, *, yielding: bool = False) -> None:
        self._disk = disk
        self._arguments = [str(root), *(["--yield"] if yielding else [])]
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._number = 0
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def run(
        self,
        kind: str,
        arguments: dict[str, Any],
        on_progress: Callable[[int, int | None], None] | None = None,
        *,
        holding: asyncio.Lock | None = None,
    ) -> bytes:
        """Run one job; returns its result as JSON.

        Args:
            kind: of the job.
            arguments: of it.
            on_progress: told how far it is.
            holding: what only one job of all workers may hold; taken once this worker has its turn, so that a job that
                waits behind an hour's download keeps nobody else waiting.

        When the caller is cancelled the worker is ended at once: a job can always be repeated.

        Raises:
            ModelotaError: what the job raised, or `TryLater` `worker-crashed`.
        """
        async with self._turn, holding or nullcontext():
            if self._idle is not None:
                self._idle.cancel()
            try:
                return await self._run(kind, arguments, on_progress)
            except BaseException:
                if self._process is not None and self._process.returncode is None and not self._settled:
                    await self.stop()
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_input)

    async def _run(
        self, kind: str, arguments: dict[str, Any], on_progress: Callable[[int, int | None], None] | None
    ) -> bytes:
        self._settled = False
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        self._number += 1
        job = Job(number=self._number, kind=kind, arguments=arguments)
        try:
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                answer = msgspec.json.decode(line, type=Answer)
                if answer.error is not None:
                    self._settled = answer.number == job.number
                    raise self._error(answer)
                if answer.number == job.number and answer.result is not None:
                    self._settled = True
                    return answer.result.encode()
                if answer.number == job.number and answer.done is not None and on_progress is not None:
                    on_progress(answer.done, answer.total)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended before it read the job: told below, with its status
        status = await process.wait()
        self._process = None
        raise TryLater("worker-crashed", job=kind, status=status)

    def _error(self, answer: Answer) -> ModelotaError:
        assert answer.error is not None
        return error_from(answer.error.code, answer.error.params)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            if not self._process.stdin.is_closing():
                return self._process
            await self._process.wait()
        log = self._disk.open_file(self._log, kind="log")
        try:
            self._disk.truncate(log, 0, self._log)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # whatever lies in the directory that the agent was started in is not to be imported
                "-m",
                "modelota.agent.worker",
                *self._arguments,
                f"--parent={os.getpid()}",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LINE_MAX_BYTES,
            )
        except OSError as error:  # no process, memory or descriptor to be had
            raise TryLater("worker-crashed", job="start", status=error.errno) from error
        finally:
            os.close(log)
        return self._process

    def _end_input(self) -> None:
        """Let an idle worker end; the process is collected by the event loop."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def stop(self) -> None:
        """End the worker now."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def aclose(self) -> None:
        """End the worker and forget the timer."""
        if self._idle is not None:
            self._idle.cancel()
        await self.stop()
