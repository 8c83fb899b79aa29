"""What the supervisor and the page's process agree on: how the process is told its job, and how it proves who it is."""

from __future__ import annotations

from typing import Final

import msgspec

SECRET_HEADER: Final = "modelota-page"  # noqa: S105  the header's name
SESSION_HEADER: Final = "modelota-session"


class PageGiven(msgspec.Struct, frozen=True, kw_only=True):
    """What the page's process gets as a line of JSON on its standard input.

    Attributes:
        secret: goes with every request of this process to the agent, in `SECRET_HEADER`.
        socket: of the agent.
        listener: number of the open descriptor that the page is served on.
        idle_s: seconds without use after which the process ends.
        parent: process id of the supervisor.
    """

    secret: str
    socket: str
    listener: int
    idle_s: float
    parent: int
