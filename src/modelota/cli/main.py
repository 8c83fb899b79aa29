"""Entry point of the `modelota` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import typer

from modelota.cli.failure import STOPPED_STATUS, tell, tell_exception
from modelota.cli.session import Session, begin, parse_everywhere
from modelota.cli.tree import build
from modelota.errors import AskPerson

_CHANGE_NOTHING: Final = frozenset({"check", "status", "versions", "log", "chat"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None for the process's own.

    Returns:
        the exit status: 0, or that of the error's branch (`docs/errors.md`); 130 when the user stopped it.
    """
    session, arguments, error = parse_everywhere(sys.argv[1:] if argv is None else argv, os.environ)
    begin(session)
    if error is not None:
        return tell(session, error, "unchanged")
    try:
        status = build().main(args=arguments, prog_name="modelota", standalone_mode=False)
    except typer.TyperException as exception:
        return tell(session, _usage(exception), "unchanged")
    except (typer.Abort, KeyboardInterrupt):
        status = STOPPED_STATUS
    except Exception as exception:  # noqa: BLE001  the boundary: whatever comes out is told, with a code
        return tell_exception(session, exception)
    if status == STOPPED_STATUS and not session.reported:
        return _stopped(session, arguments)
    return status if isinstance(status, int) else 0


def _stopped(session: Session, arguments: Sequence[str]) -> int:
    now = "unknown"
    if arguments[:1] == ["repo"]:
        now = "published-unclear"
    elif arguments[:1] != ["device"] or set(arguments[1:2]) & _CHANGE_NOTHING:
        now = "unchanged"
    session.aside("")  # the terminal has just printed ^C
    return tell(session, AskPerson("cancelled-by-user", action="stop"), now)


def _usage(exception: typer.TyperException) -> AskPerson:
    """What was wrong with the arguments. The classes behind are typer's private ones, so their shape decides."""
    option = getattr(exception, "option_name", None)
    if option is not None:
        detail = "unknown-option" if hasattr(exception, "possibilities") else "needs-value"
        return AskPerson("argument-invalid", argument=option, detail=detail)
    param = getattr(exception, "param", None)
    if param is not None:
        name = param.opts[0] if param.param_type_name == "option" else param.metavar or param.name.upper()
        missing = hasattr(exception, "param_type")
        return AskPerson("argument-invalid", argument=name, detail="missing" if missing else exception.message[:200])
    context = getattr(exception, "ctx", None)
    where = context.command_path if context is not None else "modelota"
    if exception.message.startswith("Got unexpected extra argument"):
        return AskPerson("argument-invalid", argument=exception.message.rpartition("(")[2].rstrip(")"), detail="extra")
    if exception.message == "Missing command.":
        return AskPerson("argument-invalid", argument=where, detail="missing-command")
    return AskPerson("argument-invalid", argument=where, detail=exception.message[:200])


if __name__ == "__main__":
    sys.exit(main())
