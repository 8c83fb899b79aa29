"""The device: state machine, journal, supervisor, worker, socket, page."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelota.agent.agent import Agent as Agent


def __getattr__(name: str) -> object:
    """`Agent`, imported when it is asked for (PEP 562): clients of the socket are in this room without being one."""
    if name == "Agent":
        from modelota.agent.agent import Agent  # noqa: PLC0415  see above

        return Agent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
