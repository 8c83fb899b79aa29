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
from typing import Final

import msgspec

from modelota.agent.checking import body_of
from modelota.agent.jobs import Jobs
from modelota.agent.usage import measured
from modelota.agent.worker_link import Answer, Job
from modelota.errors import ModelotaError, OurBug
from modelota.runtime.child import die_with_parent

PROGRESS_EVERY_S: Final = 0.1
NICENESS: Final = 10


async def serve(jobs: Jobs, read: asyncio.StreamReader, write: Callable[[Answer], None]) -> None:
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

        write(await _answer(job, measured(jobs.run(job, report), jobs.place(job))))


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
        jobs = Jobs(root)
    except ModelotaError as error:
        write(Answer(number=0, error=body_of(error), branch=error.branch))
        return
    await serve(jobs, reader, write)


def yield_to_others() -> None:
    """Lower the priority of this process for processor and disk: the device is in use (requirement 7.1.2-a).

    The disk's is set explicitly, to the lowest level of best effort (ioprio_set(2)), so that it can be seen.
    """
    os.nice(NICENESS)
    number = {"x86_64": 251, "aarch64": 30}.get(platform.machine())
    if sys.platform == "linux" and number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, (2 << 13) | 7)  # this process, best effort, lowest level


def share_one_heap() -> None:
    """Have all threads of this process allocate from one heap, so that one reuses what another has freed.

    glibc gives each thread a heap of its own, and keeps in each what a chunk took while it was decoded: dozens of MiB
    on a device that has few. Other C libraries do no such thing, nor have they the call (mallopt(3), M_ARENA_MAX).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        mallopt(-8, 1)


if __name__ == "__main__":
    share_one_heap()
    if "--yield" in sys.argv[2:]:
        yield_to_others()
    parent = next((int(word.partition("=")[2]) for word in sys.argv[2:] if word.startswith("--parent=")), None)
    asyncio.run(main(Path(sys.argv[1]), parent))
