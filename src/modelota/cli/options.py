"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from modelota.i18n.texts import mark

Root = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="DIR", help=mark("The device's directory. Default: MODELOTA_ROOT, else this user's.")
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help=mark("Which model; needed only where there are several.")),
]
Wanted = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="VERSION",
        help=mark("Ask for this version, also one that was skipped, left, or did not work here."),
    ),
]
When = Annotated[
    list[str] | None,
    typer.Option(
        "--when",
        metavar="CONDITION",
        help=mark("Once accepted, wait until this holds: charging, unmetered or parked; may be repeated."),
    ),
]
NotBefore = Annotated[
    str | None,
    typer.Option(
        "--not-before", metavar="TIME", help=mark("Once accepted, wait until then: 22:30, or 2026-11-24T22:30:00Z.")
    ),
]


Copy = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help=mark("Ask a copy of the repository first: a USB stick, say.")),
]


def device_root(explicit: Path | None) -> Path:
    """The device root: what was given, else `MODELOTA_ROOT`, else the system's or the user's own.

    The user's own follows the XDG base directory specification; root's is `/var/lib/modelota` (FHS 3.0, 5.8).
    """
    if explicit is not None:
        return explicit.absolute()
    named = os.environ.get("MODELOTA_ROOT")
    if named:
        return Path(named).absolute()
    if os.getuid() == 0:
        return Path("/var/lib/modelota")
    data = os.environ.get("XDG_DATA_HOME")
    home = Path(data) if data else Path.home() / ".local" / "share"
    return home / "modelota"
