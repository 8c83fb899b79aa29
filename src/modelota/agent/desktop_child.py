"""The notifier that a supervisor starts itself, where it runs inside a desktop session (`notifications.desktop`).

An agent that runs as a service of the system has no session; there each user's own session starts a notifier
(`modelota device notify --install`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modelota.agent.desktop_session import session_bus
from modelota.clock import Clock
from modelota.i18n import Language

AGAIN_FIRST_S: Final = 10.0  # until a notifier that ended is started again; doubled each time
AGAIN_MAX_S: Final = 3600.0
STEADY_S: Final = 600.0  # one that ran this long ended for a reason of its own
STOP_S: Final = 5.0


def notifier_command(root: Path, language: Language) -> tuple[str, ...]:
    """The command that shows the notices of `root` in this process's session, for as long as this process lives."""
    words = (sys.executable, "-P", "-m", "modelota.cli.run_notifier", str(root), "--lang", language)
    return (*words, "--parent", str(os.getpid()))


async def keep_notifier(root: Path, language: Language, clock: Clock, command: Sequence[str] | None = None) -> None:
    """Have a notifier run as long as this session has a bus. Ends by being cancelled, or where there is no session.

    Args:
        root: of the device.
        language: of the user.
        clock: the time.
        command: another one than `notifier_command`.
    """
    wait_s = AGAIN_FIRST_S
    while session_bus(os.environ) is not None:
        begun = clock.monotonic()
        await _run(command or notifier_command(root, language))
        if clock.monotonic() - begun >= STEADY_S:
            wait_s = AGAIN_FIRST_S
        await clock.sleep(wait_s)
        wait_s = min(AGAIN_MAX_S, 2 * wait_s)


async def _run(command: Sequence[str]) -> None:
    """Run it to its end; cancelled, end it."""
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    except OSError:  # no memory, no processes: later perhaps
        return
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
