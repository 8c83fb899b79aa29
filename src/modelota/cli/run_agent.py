"""The process of `modelota device run`: an interpreter of its own, because the supervisor lives in 30 MB.

Started as `python -P -m modelota.cli.run_agent ROOT [--lang …] [--json]`; imports neither typer nor rich.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modelota.cli.failure import tell_exception
from modelota.cli.session import Session, begin, parse_everywhere

if TYPE_CHECKING:
    from modelota.agent.core import Core
    from modelota.agent.safe_mode import SafeCore


def command_line(root: Path, session: Session) -> list[str]:
    """The command that runs the agent of `root` and speaks as `session` does."""
    words = [sys.executable, "-P", "-m", __name__, str(root), "--lang", session.language]
    return [*words, "--json"] if session.as_json else words


def main() -> int:
    """Run the agent until SIGTERM or SIGINT; returns the exit status."""
    from modelota.agent.notify import notify

    session, arguments, _ = parse_everywhere(sys.argv[1:], os.environ)
    begin(session)
    os.environ["MODELOTA_LANG"] = session.language  # of what the agent says by itself: notices, its page
    root = Path(arguments[0])

    def ready(core: Core | SafeCore) -> None:
        session.emit({"root": str(root), "socket": str(core.layout.agent_socket)})
        session.say("The agent runs for {root}. Ctrl-C stops it.", root=root)
        notify("READY=1")

    try:
        asyncio.run(_run(root, ready))
    except Exception as exception:  # noqa: BLE001  the boundary: whatever comes out is told, with a code
        return tell_exception(session, exception)
    session.say("The agent stopped.")
    return 0


async def _run(root: Path, ready: Callable[[Core | SafeCore], None]) -> None:
    from modelota.agent.notify import keep_alive, notify
    from modelota.agent.supervisor import supervise
    from modelota.clock import SystemClock

    signs = asyncio.create_task(keep_alive(SystemClock()))
    try:
        await supervise(root, ready=ready)
    finally:
        notify("STOPPING=1")
        signs.cancel()


if __name__ == "__main__":
    sys.exit(main())
