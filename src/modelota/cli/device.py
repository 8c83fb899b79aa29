"""`modelota device …`: set up, run, look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from modelota.cli import device_answers, device_notify, device_page, device_setup, device_view
from modelota.cli.options import Copy, Model, NotBefore, Root, Wanted, When, device_root
from modelota.cli.passphrase import PassphraseFd
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


@_command("recover", mark("Set this device up again when its database can't be read; keeps what is installed."))
def recover(
    enrolment: Annotated[Path, typer.Argument(metavar="ENROL.toml", help=mark("The file the publisher gave you."))],
    root: Root = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help=mark("Do it; without this, only show what would be taken over."))
    ] = False,
) -> None:
    """Recover from an unreadable database."""
    from modelota.cli import device_recover

    device_recover.run(enrolment, device_root(root), confirm=confirm)


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
    copy: Copy = None,
) -> None:
    """Look for a new version."""
    from modelota.cli import device_decide

    stick = None if copy is None else copy.absolute()
    _run(device_decide.check(device_root(root), model, allow_stale=allow_stale, version=version, place=stick))


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
    copy: Copy = None,
    when: When = None,
    not_before: NotBefore = None,
    although_long: Annotated[
        bool,
        typer.Option("--although-long", help=mark("Accept a way back that will take longer than five minutes.")),
    ] = False,
) -> None:
    """Bring the model up to date."""
    from modelota.cli import device_decide, device_gates

    place = device_root(root)
    wishes = device_gates.wishes_from(when, not_before, although_long=although_long)
    if accept is not None:
        _run(device_decide.accept(place, accept, wishes))
    else:
        stick = None if copy is None else copy.absolute()
        work = device_decide.update(place, model, allow_stale=allow_stale, version=version, place=stick, wishes=wishes)
        _run(work)


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
    despite: Annotated[
        str | None,
        typer.Option(
            "--despite",
            metavar="REASON",
            help=mark("Go back to a revoked version all the same; REASON is the flaw it was revoked for."),
        ),
    ] = None,
) -> None:
    """Go back to an earlier version."""
    from modelota.cli import device_decide

    _run(device_decide.rollback(device_root(root), model, version, despite))


@_command("inhibit", mark("Keep updates waiting for a while, and say why."))
def inhibit(
    holder: Annotated[str, typer.Option("--holder", metavar="NAME", help=mark("Who updates wait for."))],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help=mark("Why."))],
    root: Root = None,
    span: Annotated[
        str,
        typer.Option(
            "--for", metavar="TIME", help=mark("At most how long: 30m, 12h, 7d. The same holder may renew it.")
        ),
    ] = "1h",
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            metavar="STEP",
            help=mark("Wait before this step: fetch, activate or switch; may be repeated. Default: all."),
        ),
    ] = None,
) -> None:
    """Take an inhibitor."""
    from modelota.cli import device_gates

    _run(device_gates.inhibit(device_root(root), holder, reason, span, step))


@_command("uninhibit", mark("Let updates go on that waited for a holder."))
def uninhibit(
    key: Annotated[str, typer.Argument(metavar="ID", help=mark("The id that “inhibit” printed."))],
    root: Root = None,
) -> None:
    """Let go of an inhibitor."""
    from modelota.cli import device_gates

    _run(device_gates.uninhibit(device_root(root), key))


@_command("inhibitors", mark("List who keeps updates waiting, and why."))
def inhibitors(root: Root = None) -> None:
    """List inhibitors."""
    from modelota.cli import device_gates

    _run(device_gates.inhibitors(device_root(root)))


@_command("uninstall", mark("Remove the model from this device: shows the plan, asks, removes, proves."))
def uninstall(
    root: Root = None,
    model: Model = None,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            metavar="REASON",
            help=mark("Why: user, end-of-service (its publisher ended it) or unsuitable-hardware."),
        ),
    ] = "user",
    user_data: Annotated[
        str,
        typer.Option("--user-data", metavar="CHOICE", help=mark("What becomes of your own data: keep or remove.")),
    ] = "keep",
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="DIGEST", help=mark("Carry out this plan, which was shown before.")),
    ] = None,
    proof: Annotated[
        Path | None, typer.Option("--proof", metavar="FILE", help=mark("Also write the proof there, as JSON."))
    ] = None,
) -> None:
    """Uninstall a model."""
    from modelota.cli import device_removal

    place = device_root(root)
    choices = device_removal.choices(reason, user_data)
    _run(device_removal.uninstall(place, model, *choices, accept, proof))


@_command("backup", mark("Write your own data of a model to one encrypted file."))
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=mark("A new file."))],
    root: Root = None,
    model: Model = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Back up the user's data."""
    from modelota.cli import device_backup

    _run(device_backup.backup(device_root(root), model, file.absolute(), passphrase_fd))


@_command("restore", mark("Take your own data back from an encrypted file; what is there now is kept beside."))
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=mark("A file that “backup” wrote."))],
    root: Root = None,
    model: Model = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Take a backup back."""
    from modelota.cli import device_backup

    _run(device_backup.restore(device_root(root), model, file.absolute(), passphrase_fd))


@_command("clean", mark("Find and remove what removed models left behind: shows it, asks, removes, proves."))
def clean(
    root: Root = None,
    deep: Annotated[bool, typer.Option("--deep", help=mark("Look at all local file systems."))] = False,
    within: Annotated[
        Path | None,
        typer.Option("--within", metavar="DIR", help=mark("Look below this directory instead: an old disk, say.")),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--from", metavar="RECORD", help=mark("The record that was kept when the agent was removed.")),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="DIGEST", help=mark("Carry out this plan, which was shown before.")),
    ] = None,
    probable: Annotated[
        list[str] | None,
        typer.Option("--yes-probable", metavar="ID", help=mark("Also remove this, which is probably left behind.")),
    ] = None,
    proof: Annotated[
        Path | None, typer.Option("--proof", metavar="FILE", help=mark("Also write the proof there, as JSON."))
    ] = None,
) -> None:
    """Clean up what is left of removed models."""
    from modelota.cli import device_clean

    place = device_root(root)
    where = device_clean.Where(deep=deep, within=within)
    _run(device_clean.clean(place, record, where, accept=accept, probable=probable or [], proof=proof))


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


@_command("report", mark("Show what the last change of version did: time, places, resources, tests."))
def report(
    root: Root = None,
    model: Model = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help=mark("Write it as one web page there, too."))
    ] = None,
) -> None:
    """Show the report of the last operation."""
    from modelota.cli import device_report

    _run(device_report.report(device_root(root), model, html))


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


device_setup.add_to(app)
device_view.add_to(app)
device_page.add_to(app)
device_notify.add_to(app)
device_answers.add_to(app)

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
