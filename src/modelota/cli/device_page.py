"""`modelota device page`: a one-time link to the owner's page, opened in a browser where there is one."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from modelota.cli import agent_access
from modelota.cli.agent_access import ask
from modelota.cli.options import Root, device_root
from modelota.cli.session import current
from modelota.cli.tree import Command
from modelota.errors import AskPerson
from modelota.i18n import units
from modelota.i18n.texts import mark
from modelota.spec.api_owner import PageLink, PageRequest


def add_to(app: typer.Typer) -> None:
    """Add the command to `modelota device`."""
    app.command("page", cls=Command, help=mark("Open the page of this device: offers, progress, history, your data."))(
        page
    )


def page(
    root: Root = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help=mark("Only print the link; do not open a browser."))
    ] = False,
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help=mark("Where on the page the link leads, such as /history."))
    ] = "/",
) -> None:
    """Make a link to the page."""
    asyncio.run(run(device_root(root), path, browser=not no_browser))


async def run(root: Path, path: str, *, browser: bool) -> None:
    """Have the agent make a link, print it, and open it.

    Raises:
        TryLater: `agent-not-running`.
        AskPerson: `argument-invalid`: the path.
        Reported: `page-disabled`, `page-port-taken`, `page-start-failed`.
    """
    session = current()
    if not path.startswith("/") or path[1:2] in {"/", "\\"} or not path.isprintable() or len(path) > 512:
        raise AskPerson("argument-invalid", argument=f"--path {path}"[:80], detail="not-a-choice")
    async with agent_access.open_access(root, needs_supervisor=True) as access:
        request = PageRequest(path=path, language=session.language)
        link = await ask(access, PageLink, "POST", "/v1/page", request)
    session.emit(link)
    session.say(
        "Open this link in a browser on this device within {span}. It works once.",
        span=units.duration(link.expires_s, session.language),
    )
    session.line(link.url)
    if os.environ.get("SSH_CONNECTION"):
        port = urlsplit(link.url).port
        session.say(
            "From the computer you come from, have the port carried over first: “{command}”.",
            command=f"ssh -L {port}:127.0.0.1:{port} …",
        )
    if browser and not session.as_json and may_open() and _open(link.url):
        session.say("It opens in your browser.")


def may_open() -> bool:
    """Whether to open a browser by ourselves.

    A browser's command line can be read by every user of the system. That is of no use to them while the link works for
    its own user only, but one of root's works for whoever has it. Without a display, what is found may be a browser
    for the terminal, which would take the terminal over.
    """
    graphical = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return graphical and os.geteuid() != 0


def _open(url: str) -> bool:
    import webbrowser

    return webbrowser.open(url)
