"""The worker: a short-lived child of the supervisor that checks, fetches, installs and tests. Heavy imports live here.

It reads jobs as JSON lines on its standard input and answers on its standard output; the end of its input means that
the supervisor is gone, and it ends too. Ending it at any moment loses nothing: every job can be repeated.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.agent.checking import Checker, body_of
from modelota.agent.config import read_config
from modelota.agent.enrol import class_keys, membership_of, open_journal
from modelota.agent.installing import Installer, Report
from modelota.agent.worker_link import Answer, Job
from modelota.clock import Clock, SystemClock
from modelota.errors import ModelotaError, OurBug
from modelota.runtime.child import die_with_parent
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout

PROGRESS_EVERY_S: Final = 0.1
NICENESS: Final = 10


class Worker:
    """The jobs of one device root."""

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self._layout = Layout(root)
        self._clock = clock or SystemClock()
        self._config = read_config(self._layout.config)
        self._journal = open_journal(self._layout, self._clock)
        self._membership = membership_of(self._journal, root)
        self._disk = Disk((root, self._layout.runtime_directory), self._journal.ledger)

    def _checker(self) -> Checker:
        return Checker(self._layout, self._journal, self._membership, self._clock)

    def _installer(self, offer_digest: str) -> Installer:
        return Installer(
            self._layout,
            self._journal,
            self._checker(),
            class_keys(self._membership, self._layout, self._disk),
            self._config,
            self._disk,
            self._clock,
            device_class=self._membership.device_class,
            offer_digest=offer_digest,
        )

    async def run(self, job: Job, report: Report) -> object:
        """Carry out one job.

        Raises:
            ModelotaError: as the job's function documents.
        """
        arguments = job.arguments
        match job.kind:
            case "check":
                return await asyncio.to_thread(
                    self._checker().check,
                    arguments["model"],
                    allow_stale=arguments["allow_stale"],
                    version=arguments.get("version"),
                )
            case "verify":
                return await asyncio.to_thread(self._checker().verify, arguments["model"])
            case "offer-repair":
                slot = SlotId.parse(arguments["slot"])
                return await asyncio.to_thread(self._checker().offer_repair, arguments["model"], slot)
            case "rechecking":
                return await asyncio.to_thread(self._checker().recheck, arguments["offer_digest"])
            case "fetching":
                return await self._installer(arguments["offer_digest"]).fetch(report)
            case "verifying":
                return await asyncio.to_thread(self._installer(arguments["offer_digest"]).verify, report)
            case "deploying":
                return await asyncio.to_thread(self._installer(arguments["offer_digest"]).deploy, report)
            case "testing":
                return await self._test(arguments, report)
        raise OurBug("invariant-broken", detail=f"no job {job.kind!r}")

    async def _test(self, arguments: dict[str, Any], report: Report) -> object:
        model = arguments["model"]
        target = self._journal.slot(model, SlotId.parse(arguments["target"]))
        if target is None:
            raise OurBug("invariant-broken", detail=f"slot {arguments['target']} is not registered")
        current = self._journal.slot(model, SlotId.parse(arguments["current"])) if arguments["current"] else None
        return await self._installer(arguments["offer_digest"]).self_test(target, current, report)


async def serve(worker: Worker, read: asyncio.StreamReader, write: Callable[[Answer], None]) -> None:
    """Carry out jobs one after the other until the input ends."""
    clock = asyncio.get_running_loop().time
    while line := await read.readline():
        job = msgspec.json.decode(line, type=Job)
        last = 0.0

        def report(done: int, total: int | None, number: int = job.number) -> None:
            nonlocal last
            if clock() - last >= PROGRESS_EVERY_S or done == total:
                last = clock()
                write(Answer(number=number, done=done, total=total))

        write(await _answer(job, worker.run(job, report)))


async def _answer(job: Job, result: Awaitable[object]) -> Answer:
    try:
        return Answer(number=job.number, result=msgspec.json.encode(await result).decode())
    except ModelotaError as error:
        return Answer(number=job.number, error=body_of(error), branch=error.branch)
    except Exception as error:  # noqa: BLE001  the last line of a process: told to the supervisor, with the trace in the log
        traceback.print_exc()
        bug = OurBug("unexpected", kind=type(error).__name__, detail=str(error)[:300])
        return Answer(number=job.number, error=body_of(bug), branch=bug.branch)


async def main(root: Path, parent_pid: int | None = None) -> None:
    """Serve jobs of `root` on the standard streams, for the process `parent_pid`."""
    die_with_parent(signal.SIGKILL)  # a job under way must not outlive the supervisor; ending it loses nothing
    if parent_pid is not None and os.getppid() != parent_pid:
        return  # it died before the kernel was told to watch, and the root may have another owner by now
    output = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the answers
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    def write(answer: Answer) -> None:
        data = memoryview(msgspec.json.encode(answer) + b"\n")
        while data:
            data = data[os.write(output, data) :]

    try:
        worker = Worker(root)
    except ModelotaError as error:
        write(Answer(number=0, error=body_of(error), branch=error.branch))
        return
    await serve(worker, reader, write)


def yield_to_others() -> None:
    """Lower the priority of this process for processor and disk: the device is in use (requirement 7.1.2-a).

    The disk's is set explicitly, to the lowest level of best effort (ioprio_set(2)), so that it can be seen.
    """
    os.nice(NICENESS)
    number = {"x86_64": 251, "aarch64": 30}.get(platform.machine())
    if sys.platform == "linux" and number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, (2 << 13) | 7)  # this process, best effort, lowest level


if __name__ == "__main__":
    if "--yield" in sys.argv[2:]:
        yield_to_others()
    parent = next((int(word.partition("=")[2]) for word in sys.argv[2:] if word.startswith("--parent=")), None)
    asyncio.run(main(Path(sys.argv[1]), parent))
