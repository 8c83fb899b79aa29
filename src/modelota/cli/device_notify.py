"""`modelota device notify`: show notices in this desktop session, and have sessions do so when they start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from modelota.cli.options import Root, device_root
from modelota.cli.session import current
from modelota.cli.tree import Command
from modelota.errors import AskPerson
from modelota.i18n.texts import mark


def add_to(app: typer.Typer) -> None:
    """Add the command to `modelota device`."""
    app.command("notify", cls=Command, help=mark("Show notifications in this desktop session until it ends."))(notify)


def notify(
    root: Root = None,
    install: Annotated[
        bool, typer.Option("--install", help=mark("Have sessions start this by themselves from now on."))
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help=mark("Have no session start this any more."))] = False,
    system: Annotated[
        bool, typer.Option("--system", help=mark("With --install: the sessions of all users. Default for root."))
    ] = False,
    user: Annotated[
        bool,
        typer.Option("--user", help=mark("With --install: this user's sessions. Default for everybody else.")),
    ] = False,
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help=mark("Of the entry; another one for a second device directory.")),
    ] = "modelota-notify",
) -> None:
    """Show notices, or have sessions do so."""
    place = device_root(root)
    if install and remove:
        raise AskPerson("argument-invalid", argument="--remove", detail="contradicts")
    if install:
        _install(place, name, system=system, user=user)
    elif remove:
        _remove(place)
    else:
        from modelota.cli import run_notifier

        command = run_notifier.command_line(place, current())
        os.execv(command[0], command)  # noqa: S606  this interpreter with arguments of our own


def _install(root: Path, name: str, *, system: bool, user: bool) -> None:
    from modelota.agent.autostart import Autostart
    from modelota.agent.autostart import install as install_entry
    from modelota.cli.device_service import scope
    from modelota.clock import SystemClock

    session = current()
    chosen = scope(system=system, user=user)
    entry = install_entry(root, Autostart.of(chosen), SystemClock(), name=name)
    session.emit({"entry": str(entry), "scope": chosen})
    session.say("The entry is {path}; it counts from the next start of a session.", path=entry)


def _remove(root: Path) -> None:
    from modelota.agent.autostart import remove as remove_entries
    from modelota.clock import SystemClock

    session = current()
    removed = remove_entries(root, SystemClock())
    session.emit({"removed": [str(path) for path in removed]})
    if not removed:
        session.say("No session starts this for {root}.", root=root)
    for path in removed:
        session.say("Removed: {path}", path=path)
