"""The page's process: `python -P -m modelota.agent.page`, started by the supervisor with a listening socket.

What it needs it reads as one line of JSON (`PageGiven`) from its standard input: every user can read command lines. It
ends by itself after a while without use, and the supervisor starts it again when somebody connects.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Final

import msgspec
import uvicorn

from modelota.agent.page.activity import Activity
from modelota.agent.page.app import create_app
from modelota.agent.page_given import PageGiven
from modelota.clock import SystemClock
from modelota.runtime.child import die_with_parent
from modelota.runtime.messages import HEAD_MAX_BYTES

_GIVEN_MAX_BYTES: Final = 64 * 1024
_CONNECTIONS_MAX: Final = 64
_KEEP_ALIVE_S: Final = 15
_LAST_ANSWERS_S: Final = 2


async def serve(given: PageGiven) -> None:
    """Serve the page on the given socket until it has been unused for `given.idle_s`, or SIGTERM."""
    listener = socket.socket(fileno=given.listener)
    activity = Activity(SystemClock())
    app = create_app(given, listener.getsockname()[1], activity)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=_CONNECTIONS_MAX,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        h11_max_incomplete_event_size=HEAD_MAX_BYTES,
    )
    server = uvicorn.Server(config)

    async def end_when_unused() -> None:
        await activity.unused_for(given.idle_s)
        server.should_exit = True

    ending = asyncio.create_task(end_when_unused())
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()


def main() -> None:
    """Run the page for the process that started this one."""
    die_with_parent(signal.SIGTERM)
    given = msgspec.json.decode(sys.stdin.buffer.readline(_GIVEN_MAX_BYTES), type=PageGiven)
    if os.getppid() != given.parent:
        return  # it ended before the kernel was told to watch
    asyncio.run(serve(given))


if __name__ == "__main__":
    main()
