"""Short commands of the system or of the integrator: no shell, a small environment, a time limit, nothing left behind.

The supervisor asks them and stays what it is: no library of theirs is loaded, and the event loop never waits.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple

OUTPUT_MAX_BYTES: Final = 64 * 1024
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_NOTHING_MORE: Final[Mapping[str, str]] = MappingProxyType({})


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        status: its exit status, minus the number of the signal that ended it, or None: it did not run to an end.
        output: what it printed on standard output, at most `OUTPUT_MAX_BYTES`.
        reason: why `status` is None: `timeout`, or what the system said.
    """

    status: int | None
    output: bytes = b""
    reason: str | None = None


async def run_briefly(
    argv: Sequence[str], *, timeout_s: float, data: bytes = b"", environ: Mapping[str, str] = _NOTHING_MORE
) -> Ended:
    """Run a command to its end, or kill it and its process group after `timeout_s`.

    What it prints beyond `OUTPUT_MAX_BYTES` fails in the command. Never raises for what the command does.

    Args:
        argv: the command and its arguments.
        timeout_s: the limit.
        data: what it gets on standard input.
        environ: variables it gets besides `PATH` and `LANG`.
    """
    output, given = _bounded_file(), None
    try:
        given = _file_with(data) if data else None
        files = (
            asyncio.subprocess.DEVNULL if given is None else given,
            asyncio.subprocess.DEVNULL if output is None else output,
        )
        status = await _status(argv, files, {**_ENVIRONMENT, **environ}, timeout_s)
        return Ended(status, b"" if output is None else os.pread(output, OUTPUT_MAX_BYTES, 0).rstrip(b"\0"))
    except TimeoutError:
        return Ended(None, reason="timeout")
    except (OSError, ValueError) as error:  # it can't be started; ValueError: a zero byte in an argument
        return Ended(None, reason=getattr(error, "strerror", None) or type(error).__name__)
    finally:
        for descriptor in (output, given):
            if descriptor is not None:
                os.close(descriptor)


async def _status(argv: Sequence[str], files: tuple[int, int], environ: Mapping[str, str], timeout_s: float) -> int:
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=files[0],
        stdout=files[1],  # a file and no pipe: a process that the command leaves behind could hold a pipe open for ever
        stderr=asyncio.subprocess.DEVNULL,
        cwd="/",
        env=environ,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own: this is its tree
        await process.wait()


def _file_with(data: bytes) -> int:
    """A file in memory to read `data` from: unlike a pipe, it waits for nobody.

    Raises:
        OSError: the system has no such files.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "no files in memory on this system")
    descriptor = os.memfd_create("modelota-input", os.MFD_CLOEXEC)
    os.pwrite(descriptor, data, 0)
    return descriptor


def _bounded_file() -> int | None:
    """A file in memory that can't grow beyond the limit, or None where the system has no such files."""
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("modelota-output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, OUTPUT_MAX_BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor
