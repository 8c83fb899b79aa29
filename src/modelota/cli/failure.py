"""Errors on their way to a person: code, what happened, how it is now, what to do, exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Final

from modelota.cli.session import Session
from modelota.errors import AskPerson, ModelotaError, OurBug, TryLater
from modelota.i18n.errors import error_lines, render_error

DEBUG_VARIABLE: Final = "MODELOTA_DEBUG"
STOPPED_STATUS: Final = 130  # what shells give for a program that SIGINT ended
_NO_PARAMS: Final[Mapping[str, object]] = {}


class Reported(Exception):
    """An error together with the state it left behind.

    Args:
        error: what went wrong.
        now: key of a state sentence (`modelota.i18n.sentences.now`).
        now_params: its parameters.
    """

    def __init__(self, error: ModelotaError, now: str, now_params: Mapping[str, object] = _NO_PARAMS) -> None:
        super().__init__(error, now)
        self.error: Final = error
        self.now: Final = now
        self.now_params: Final = now_params


def tell(session: Session, error: ModelotaError, now: str, now_params: Mapping[str, object] = _NO_PARAMS) -> int:
    """Render an error in the session's form.

    Returns:
        the exit status of its branch; 130 when the user stopped the command.
    """
    rendered = render_error(error.code, error.params, session.language, now, now_params)
    if session.as_json:
        body = {
            "code": error.code,
            "branch": error.branch,
            "params": error.params,
            "what": rendered.what,
            "state": rendered.now,
            "remedy": rendered.remedy,
            "now": now,
            "now_params": dict(now_params),
        }
        session.emit({"error": body})
    else:
        sys.stdout.flush()
        for line in error_lines(rendered, session.language):
            session.aside(line)
    session.reported = True
    return STOPPED_STATUS if error.code == "cancelled-by-user" else error.exit_status


def tell_exception(session: Session, exception: BaseException) -> int:
    """Render whatever ended the command.

    Returns:
        the exit status.
    """
    if isinstance(exception, Reported):
        return tell(session, exception.error, exception.now, exception.now_params)
    if isinstance(exception, ModelotaError):
        return tell(session, exception, "unchanged")
    if isinstance(exception, OSError) and exception.errno is not None:
        return tell(session, _from_os(exception), "unknown")
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(exception, file=sys.stderr)
    return tell(session, OurBug("unexpected", kind=type(exception).__name__, detail=str(exception)[:300]), "unknown")


def _from_os(error: OSError) -> ModelotaError:
    path = error.filename if isinstance(error.filename, str) else None
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return AskPerson("permission-denied", path=path)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return AskPerson("no-space", path=path, need_bytes=None, free_bytes=None)
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}:
        return AskPerson("argument-invalid", argument=path, detail="not-a-file")
    return TryLater("disk-error", path=path, detail=os.strerror(error.errno or 0))
