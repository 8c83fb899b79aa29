"""Setting an agent up for good: `service install`, `service remove`, `rekey`, `seed`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelota.cli.session import current
from modelota.errors import AskPerson

if TYPE_CHECKING:
    from modelota.agent.service_unit import Scope


def scope(*, system: bool, user: bool) -> Scope:
    """Whose systemd is meant.

    Raises:
        AskPerson: `argument-invalid`: both.
    """
    if system and user:
        raise AskPerson("argument-invalid", argument="--user", detail="contradicts")
    return "system" if system or (os.geteuid() == 0 and not user) else "user"


def install(root: Path, chosen: Scope, name: str, unit_dir: Path | None, *, start: bool) -> None:
    """Install the service and say what is left to do by hand."""
    from modelota.agent.service import Systemd
    from modelota.agent.service import install as install_service
    from modelota.clock import SystemClock

    session = current()
    systemd = Systemd.of(chosen, unit_dir)
    done = install_service(root, systemd, SystemClock(), name=name, start=start)
    session.emit(
        {
            "unit": str(done.unit),
            "user": done.user,
            "scope": chosen,
            "running": done.running,
            "missing_group": done.missing_group,
        }
    )
    session.say("The unit is {path}; the agent runs as {user}.", path=done.unit, user=done.user)
    if done.running:
        session.say("The agent runs, and will be started with the system.")
    elif systemd.running:
        session.say("The agent is started with the system; “{command}” starts it now.", command=_start(chosen, name))
    else:
        session.say("No systemd answers here, so nothing was started; the next start of the system does that.")
    if chosen == "user":
        session.say(
            "It runs while {user} is logged in; “{command}” has it run always.",
            user=done.user,
            command=f"loginctl enable-linger {done.user}",
        )
    if done.missing_group is not None and chosen == "system":
        session.say(
            "Only {user} and root may use the agent. For others, make a group: “{command}”, add them, install again.",
            user=done.user,
            command=f"groupadd --system {done.missing_group}",
        )


def _start(chosen: Scope, name: str) -> str:
    return f"systemctl {'--user ' if chosen == 'user' else ''}start {name}"


def remove(root: Path) -> None:
    """Remove the service."""
    from modelota.agent.service import remove as remove_service
    from modelota.clock import SystemClock

    session = current()
    removed = remove_service(root, SystemClock())
    session.emit({"removed": [str(path) for path in removed]})
    if not removed:
        session.say("No service is installed for {root}.", root=root)
    for path in removed:
        session.say("Removed: {path}", path=path)


def rekey(root: Path, source: Path) -> None:
    """Take over class keys."""
    from modelota.agent.rekeying import rekey as take_over
    from modelota.clock import SystemClock

    session = current()
    done = take_over(source, root, SystemClock())
    session.emit(done)
    if not done.added and not done.replaced:
        session.say("This device has these keys already.")
    else:
        session.say("The keys were taken over.")
    session.say("Epochs: {epochs}", epochs=", ".join(str(epoch) for epoch in done.epochs))


def seed(
    image: Path,
    root: Path,
    class_keys: Path,
    source: str | None,
    model: str | None,
    version: str | None,
    variant: str | None,
) -> None:
    """Put a first version into an image."""
    from modelota.agent.seeding import Wanted
    from modelota.agent.seeding import seed as seed_image
    from modelota.clock import SystemClock

    session = current()
    wanted = Wanted(url=source, model=model, version=version, variant=variant)
    done = seed_image(image, root, class_keys, wanted, SystemClock())
    session.emit(done)
    session.say("{model} {version} ({variant}) is in {path}.", **_named(done.model, done.version, done.variant, image))
    session.say("No key is in the image. On the device, “modelota device init” sets it up, and the first update asks.")


def _named(model: str, version: str, variant: str, image: Path) -> dict[str, object]:
    return {"model": model, "version": version, "variant": variant, "path": image}
