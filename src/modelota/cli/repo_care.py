"""`modelota repo refresh|key|control|model|class`: what keeps a published repository alive and in hand."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from modelota.cli.passphrase import PassphraseFd, passphrases
from modelota.cli.repo_options import TitleEn, TitleZh, kem_named, seconds_from, title_from
from modelota.cli.session import current
from modelota.cli.tree import Command, make_app
from modelota.cli.workspace import ModelName, Repo, open_workspace, repository_state
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.texts import mark
from modelota.spec.catalog import Control

_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

key = make_app(mark("The keys that sign."))
control = make_app(mark("The brake: pause, withdraw, slow down what is published."))
model = make_app(mark("The models of a repository."))
device_class = make_app(mark("The kinds of device a repository serves."))


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("refresh", cls=Command, help=mark("Sign anew what expires soon."))(refresh)
    app.command(
        "end-of-service",
        cls=Command,
        help=mark("Announce when a model's service ends; devices show it to their users."),
    )(end_of_service)
    for name, group in (("key", key), ("control", control), ("model", model), ("class", device_class)):
        app.add_typer(group, name=name)


def refresh(
    within: Annotated[
        str,
        typer.Option(
            "--within", metavar="TIME", help=mark("Also renew roles that expire within this time. Default: 30d.")
        ),
    ] = "30d",
    repo: Repo = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Sign timestamp, snapshot, and whatever expires soon."""
    from modelota.repository.refresh import refresh as renew

    session = current()
    span = timedelta(seconds=seconds_from(within, "--within"))
    with repository_state():
        report = renew(open_workspace(repo), clock=SystemClock(), passphrases=passphrases(passphrase_fd), within=span)
    left = [{"role": role, "code": error.code, "params": error.params} for role, error in report.left]
    session.emit({"signed": report.signed, "left": left, "snapshot": report.snapshot})
    session.say("Signed anew: {roles}.", roles=session.texts.listing(list(report.signed)))
    for role, error in report.left:
        told = render_error(error.code, error.params, session.language, "published-unchanged")
        session.line(f"{role}: {told.what} {told.remedy} [{told.code}]")


def end_of_service(
    date: Annotated[
        str | None,
        typer.Argument(metavar="DATE", help=mark("The day, 2028-12-31 for example, or an exact time with its zone.")),
    ] = None,
    goes_on: Annotated[
        bool, typer.Option("--goes-on", help=mark("Take an announced end back: the service goes on."))
    ] = False,
    repo: Repo = None,
    model: ModelName = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Announce the end of a model's service."""
    from modelota.repository import service_end

    session = current()
    if (date is None) != goes_on:
        raise AskPerson("argument-invalid", argument="DATE", detail="contradicts" if goes_on else "missing")
    with repository_state():
        catalog = service_end.end_of_service(
            open_workspace(repo),
            model,
            None if date is None else _end_of_day(date),
            clock=SystemClock(),
            passphrases=passphrases(passphrase_fd),
        )
    session.emit({"model": catalog.model, "end_of_service": catalog.end_of_service})
    if catalog.end_of_service is None:
        session.say("The service of {model} goes on.", model=catalog.model)
        return
    session.say(
        "The service of {model} ends on {until}. What was released is kept for two years after that.",
        model=catalog.model,
        until=units.moment(catalog.end_of_service, session.language),
    )


def _end_of_day(text: str) -> str:
    """A day stands for its last second, UTC: the service lasts through it."""
    return f"{text}T23:59:59Z" if _DAY.fullmatch(text) else text


@key.command("rotate", cls=Command, help=mark("Give a role a new key and take one away."))
def rotate(
    role: Annotated[
        str,
        typer.Argument(
            metavar="ROLE", help=mark("root, targets, snapshot, timestamp, or a model's releases or control role.")
        ),
    ],
    remove: Annotated[
        str | None,
        typer.Option("--remove", metavar="KEY", help=mark("The key that goes. Default: the role's oldest.")),
    ] = None,
    repo: Repo = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Change a key of a role."""
    from modelota.repository.rotate import rotate_key

    session = current()
    with repository_state():
        report = rotate_key(
            open_workspace(repo),
            role,
            clock=SystemClock(),
            passphrases=passphrases(passphrase_fd),
            remove=remove,
        )
    session.emit(
        {
            "role": report.role,
            "added": report.added,
            "removed": report.removed,
            "root_version": report.root_version,
            "snapshot": report.snapshot,
        }
    )
    session.say(
        "{role}: the key {added} signs from now on, {removed} no longer does.",
        role=report.role,
        added=report.added,
        removed=report.removed,
    )


@control.command("pause", cls=Command, help=mark("Stop offering the model's releases for now."))
def pause(repo: Repo = None, model: ModelName = None, passphrase_fd: PassphraseFd = None) -> None:
    """Pause all offers."""
    _control(repo, model, passphrase_fd, paused=True)
    current().say("Paused: devices are offered nothing until “modelota repo control resume”.")


@control.command("resume", cls=Command, help=mark("Offer the model's releases again."))
def resume(repo: Repo = None, model: ModelName = None, passphrase_fd: PassphraseFd = None) -> None:
    """Lift the pause."""
    _control(repo, model, passphrase_fd, paused=False)
    current().say("Devices are offered releases again.")


@control.command("withdraw", cls=Command, help=mark("Take a release back: it is never offered again."))
def withdraw(
    version: Annotated[str, typer.Argument(metavar="VERSION", help=mark("Which release."))],
    reason: Annotated[
        str, typer.Option("--reason", metavar="CODE", help=mark("Why, as one word or words-with-hyphens."))
    ],
    revoke: Annotated[
        bool,
        typer.Option(
            "--revoke",
            help=mark("It has a flaw: tell those who use it which, and let nobody go back to it without naming it."),
        ),
    ] = False,
    repo: Repo = None,
    model: ModelName = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Withdraw a release."""
    if revoke:
        _control(repo, model, passphrase_fd, revoke={version: reason})
        current().say("Version {version} is revoked: {reason}.", version=version, reason=reason)
        return
    _control(repo, model, passphrase_fd, withdraw={version: reason})
    current().say("Version {version} is withdrawn.", version=version)


@control.command("reinstate", cls=Command, help=mark("Undo a withdrawal."))
def reinstate(
    version: Annotated[str, typer.Argument(metavar="VERSION", help=mark("Which release."))],
    repo: Repo = None,
    model: ModelName = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Take a withdrawal back."""
    _control(repo, model, passphrase_fd, reinstate=(version,))
    current().say("Version {version} may be offered again.", version=version)


@control.command("slow", cls=Command, help=mark("Offer releases to a share of the devices only."))
def slow(
    percent: Annotated[int, typer.Argument(metavar="PERCENT", min=0, max=100, help=mark("0 to 100."))],
    repo: Repo = None,
    model: ModelName = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Set the share of devices that are offered releases."""
    _control(repo, model, passphrase_fd, slow_percent=percent)
    current().say("Releases are offered to {percent} % of the devices.", percent=percent)


@model.command("add", cls=Command, help=mark("Add a model to the repository."))
def add_model(
    name: Annotated[str, typer.Argument(metavar="VENDOR/NAME", help=mark("The model's name."))],
    title_zh: TitleZh = None,
    title_en: TitleEn = None,
    repo: Repo = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Add a model."""
    from modelota.repository.founding import add_model as add

    with repository_state():
        add(
            open_workspace(repo),
            name,
            clock=SystemClock(),
            passphrases=passphrases(passphrase_fd),
            title=title_from(title_zh, title_en),
        )
    session = current()
    session.emit({"model": name})
    session.say("The model {model} is added; devices need the new enrolment file to install it.", model=name)


@device_class.command("add", cls=Command, help=mark("Add a kind of device."))
def add_class(
    name: Annotated[str, typer.Argument(metavar="NAME", help=mark("The class's name."))],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help=mark("A model it may install; may be repeated. Default: all.")),
    ] = None,
    device_model: Annotated[
        str, typer.Option("--device-model", metavar="TEXT", help=mark("The device model, as releases name it."))
    ] = "",
    kem: Annotated[
        str, typer.Option("--kem", metavar="NAME", help=mark("Device keys: x25519 or mlkem768-x25519."))
    ] = "x25519",
    repo: Repo = None,
) -> None:
    """Add a device class."""
    from modelota.repository.enrolment import add_class as add

    with repository_state():
        _, path = add(
            open_workspace(repo), name, kem=kem_named(kem), models=tuple(model or ()), device_model=device_model
        )
    session = current()
    session.emit({"class": name, "enrolment": str(path)})
    session.say("Releases from now on are sealed for {name} too. Its enrolment file: {path}", name=name, path=path)


@device_class.command("renew", cls=Command, help=mark("Give a kind of device a new key; the old one was extracted."))
def renew_class(
    name: Annotated[str, typer.Argument(metavar="NAME", help=mark("The class's name."))],
    repo: Repo = None,
) -> None:
    """Begin a new key epoch of a device class."""
    from modelota.repository.enrolment import renew_class_key

    with repository_state():
        _, path = renew_class_key(open_workspace(repo), name)
    session = current()
    session.emit({"class": name, "enrolment": str(path)})
    session.say("Releases from now on use the new key only. Bring {path} to the devices by hand.", path=path)


def _control(
    repo: Path | None,
    name: str | None,
    descriptor: int | None,
    *,
    paused: bool | None = None,
    withdraw: dict[str, str] | None = None,
    revoke: dict[str, str] | None = None,
    reinstate: tuple[str, ...] = (),
    slow_percent: int | None = None,
) -> Control:
    from modelota.repository.control import control as change

    with repository_state():
        after = change(
            open_workspace(repo),
            name,
            clock=SystemClock(),
            passphrases=passphrases(descriptor),
            paused=paused,
            withdraw=withdraw,
            revoke=revoke,
            reinstate=reinstate,
            slow_percent=slow_percent,
        )
    current().emit(after)
    return after
