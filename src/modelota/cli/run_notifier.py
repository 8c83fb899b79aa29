"""The process of `modelota device notify`, which lives as long as the user's session and is small for that.

Started as `python -P -m modelota.cli.run_notifier ROOT [--parent PID] [--lang …] [--json]`; imports neither typer nor
rich. With a parent, it ends when that does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelota.cli.failure import STOPPED_STATUS, tell, tell_exception
from modelota.cli.session import Session, begin, parse_everywhere

if TYPE_CHECKING:
    from modelota.errors import ModelotaError


def command_line(root: Path, session: Session) -> list[str]:
    """The command that shows the notices of `root` and speaks as `session` does."""
    words = [sys.executable, "-P", "-m", __name__, str(root), "--lang", session.language]
    return [*words, "--json"] if session.as_json else words


def main() -> int:
    """Show notices until the session ends; returns the exit status."""
    from modelota.agent.desktop import notify
    from modelota.runtime.child import die_with_parent

    session, arguments, _ = parse_everywhere(sys.argv[1:], os.environ)
    begin(session)
    if arguments[1:2] == ["--parent"]:
        die_with_parent(signal.SIGTERM)
        if os.getppid() != int(arguments[2]):  # it ended before the kernel was told to watch
            return 0

    def said(error: ModelotaError) -> None:
        tell(session, error, error.now or "unchanged", error.now_params)

    def ready() -> None:
        session.say("Notifications are shown until this session ends. Ctrl-C stops that.")

    try:
        asyncio.run(notify(Path(arguments[0]), session.language, said=said, ready=ready))
    except KeyboardInterrupt:
        return STOPPED_STATUS
    except Exception as exception:  # noqa: BLE001  the boundary: whatever comes out is told, with a code
        return tell_exception(session, exception)
    return 0


if __name__ == "__main__":
    sys.exit(main())
