"""Telling systemd that the agent is ready and alive (sd_notify(3)); without systemd, nothing happens."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from modelota.clock import Clock

_SHARE: Final = 3  # of the time after which systemd would think the agent dead: two signs may get lost


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send `state` (`READY=1`, `STOPPING=1`, `WATCHDOG=1`); one that does not arrive is missed by nobody else."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # the abstract namespace (unix(7))
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), socket.MSG_DONTWAIT, address)


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between signs of life that this process owes; None when it owes none (sd_watchdog_enabled(3))."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (text.isascii() and text.isdigit()) or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1_000_000 / _SHARE


async def keep_alive(clock: Clock, environ: Mapping[str, str] = os.environ) -> None:
    """Give signs of life for as long as this event loop turns; returns at once when none are owed."""
    wait_s = watchdog_s(environ)
    while wait_s is not None:
        notify("WATCHDOG=1", environ)
        await clock.sleep(wait_s)
