"""`modelota device …`: set up, run, look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from modelota.cli.options import Model, Root, Wanted, device_root
from modelota.cli.session import current
from modelota.cli.tree import Command, make_app
from modelota.i18n.texts import mark

app = make_app(mark("Update and operate models on this device."))


def _run(work: Coroutine[Any, Any, int | None]) -> None:
    """Carry out a command's work and end with its status."""
    status = asyncio.run(work)
    if status:
        raise typer.Exit(status)


def _command(name: str, summary: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return app.command(name, cls=Command, help=summary)


@_command("init", mark("Set this device up from an enrolment file."))
def init(
    enrolment: Annotated[Path, typer.Argument(metavar="ENROL.toml", help=mark("The file the publisher gave you."))],
    root: Root = None,
) -> None:
    """Set up a device root."""
    from modelota.agent.enrol import enrol
    from modelota.clock import SystemClock

    place = device_root(root)
    member = enrol(enrolment, place, SystemClock())
    session = current()
    session.emit({"root": str(place), "url": member.url, "models": member.models, "device_class": member.device_class})
    session.say("This device is set up at {root}.", root=place)
    session.say("Repository: {url}", url=member.url)
    session.say("Next: “modelota device update” looks for a model and asks before it installs anything.")


@_command("run", mark("Run the agent until it is stopped."))
def run(root: Root = None) -> None:
    """Run the supervisor in the foreground, in place of this process."""
    from modelota.cli import run_agent

    command = run_agent.command_line(device_root(root), current())
    os.execv(command[0], command)  # noqa: S606  this interpreter with arguments of our own


@_command("check", mark("Look for a new version and show what it would mean."))
def check(
    root: Root = None,
    model: Model = None,
    allow_stale: Annotated[
        bool,
        typer.Option("--allow-stale", help=mark("Also use information that is out of date (a USB stick, say).")),
    ] = False,
    version: Wanted = None,
) -> None:
    """Look for a new version."""
    from modelota.cli import device_decide

    _run(device_decide.check(device_root(root), model, allow_stale=allow_stale, version=version))


@_command("update", mark("Look for a new version, ask, and bring the model up to date."))
def update(
    root: Root = None,
    model: Model = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="DIGEST", help=mark("Accept this offer, which “check” has shown before.")),
    ] = None,
    allow_stale: Annotated[
        bool,
        typer.Option("--allow-stale", help=mark("Also use information that is out of date (a USB stick, say).")),
    ] = False,
    version: Wanted = None,
) -> None:
    """Bring the model up to date."""
    from modelota.cli import device_decide

    place = device_root(root)
    if accept is not None:
        _run(device_decide.accept(place, accept))
    else:
        _run(device_decide.update(place, model, allow_stale=allow_stale, version=version))


@_command("pause", mark("Pause the update under way; what was fetched is kept."))
def pause(root: Root = None, model: Model = None) -> None:
    """Pause the update."""
    from modelota.cli import device_decide

    _run(device_decide.control(device_root(root), model, "pause"))


@_command("resume", mark("Let a paused update go on."))
def resume(root: Root = None, model: Model = None) -> None:
    """Resume the update."""
    from modelota.cli import device_decide

    _run(device_decide.control(device_root(root), model, "resume"))


@_command("cancel", mark("Stop the update under way and remove what was fetched for it."))
def cancel(root: Root = None, model: Model = None) -> None:
    """Cancel the update."""
    from modelota.cli import device_decide

    _run(device_decide.control(device_root(root), model, "cancel"))


@_command("rollback", mark("Go back to an earlier version."))
def rollback(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help=mark("Which one. Default: the version before."))
    ] = None,
    root: Root = None,
    model: Model = None,
) -> None:
    """Go back to an earlier version."""
    from modelota.cli import device_decide

    _run(device_decide.rollback(device_root(root), model, version))


@_command("verify", mark("Read every installed version and compare it with what was signed."))
def verify(
    root: Root = None,
    model: Model = None,
    repair: Annotated[bool, typer.Option("--repair", help=mark("Mend what is damaged."))] = False,
) -> None:
    """Verify the installed versions."""
    from modelota.cli import device_decide

    _run(device_decide.verify(device_root(root), model, repair=repair))


@_command("status", mark("Show what is in use and what is under way."))
def status(root: Root = None) -> None:
    """Show the state of every model."""
    from modelota.cli import device_status

    _run(device_status.status(device_root(root)))


@_command("versions", mark("List the versions this device has or can have."))
def versions(root: Root = None, model: Model = None) -> None:
    """List versions."""
    from modelota.cli import device_status

    _run(device_status.versions(device_root(root), model))


@_command("log", mark("Show what was decided and done on this device."))
def log(
    root: Root = None,
    model: Model = None,
    after: Annotated[
        int, typer.Option("--after", metavar="NUMBER", min=0, help=mark("Only entries after this number."))
    ] = 0,
    follow: Annotated[bool, typer.Option("--follow", help=mark("Go on as new entries are written."))] = False,
) -> None:
    """Show the journal."""
    from modelota.cli import device_status

    _run(device_status.log(device_root(root), model, after, follow=follow))


@_command("chat", mark("Ask the model in use."))
def chat(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help=mark("One question. Without it, a conversation begins."))
    ] = None,
    root: Root = None,
    model: Model = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="NUMBER", min=1, help=mark("The longest answer, in tokens.")),
    ] = None,
) -> None:
    """Ask the model."""
    from modelota.cli import device_talk

    _run(device_talk.chat(device_root(root), model, prompt, max_tokens))


gateway = make_app(mark("The endpoint through which applications reach the model."))
app.add_typer(gateway, name="gateway", help=mark("The endpoint through which applications reach the model."))


@gateway.command("token", cls=Command, help=mark("Make a token with which an application may use the model over TCP."))
def token(
    application: Annotated[str, typer.Argument(metavar="APP", help=mark("The application's name."))],
    root: Root = None,
) -> None:
    """Make a token for an application."""
    from modelota.cli import device_talk

    _run(device_talk.make_token(device_root(root), application))
