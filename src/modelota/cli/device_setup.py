"""`modelota device …`: what sets an agent up for good, and takes it away: service, keys, factory image, removal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelota.cli.options import Model, Root, device_root
from modelota.cli.tree import Command, make_app
from modelota.i18n.texts import mark

service = make_app(mark("The systemd service that runs the agent."))

System = Annotated[bool, typer.Option("--system", help=mark("A service of the system. Default for root."))]
User = Annotated[bool, typer.Option("--user", help=mark("A service of this user. Default for everybody else."))]
UnitDirectory = Annotated[
    Path | None,
    typer.Option(
        "--unit-dir", metavar="DIR", help=mark("Where the unit lies, if not where systemd looks: for images.")
    ),
]


@service.command("install", cls=Command, help=mark("Have systemd run the agent, hardened, from now on."))
def install(
    root: Root = None,
    system: System = False,
    user: User = False,
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help=mark("Of the unit; another one for a second device directory.")),
    ] = "modelota",
    unit_dir: UnitDirectory = None,
    no_start: Annotated[bool, typer.Option("--no-start", help=mark("Do not start it now."))] = False,
) -> None:
    """Install the service."""
    from modelota.cli import device_service

    scope = device_service.scope(system=system, user=user)
    device_service.install(device_root(root), scope, name, unit_dir, start=not no_start)


@service.command("remove", cls=Command, help=mark("Stop the agent's service and remove its unit."))
def remove(root: Root = None) -> None:
    """Remove the service."""
    from modelota.cli import device_service

    device_service.remove(device_root(root))


def rekey(
    source: Annotated[
        Path, typer.Option("--from", metavar="ENROL.toml", help=mark("The new enrolment file of this device's class."))
    ],
    root: Root = None,
) -> None:
    """Take over class keys."""
    from modelota.cli import device_service

    device_service.rekey(device_root(root), source)


def remove_agent(
    proof: Annotated[
        Path,
        typer.Option(
            "--proof",
            metavar="FILE",
            help=mark("Where the record and the proof go, outside the device's directory; “clean --from” takes it."),
        ),
    ],
    root: Root = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="DIGEST", help=mark("Carry out this plan, which was shown before.")),
    ] = None,
) -> None:
    """Remove the agent."""
    import asyncio

    from modelota.cli import device_leaving

    asyncio.run(device_leaving.remove_agent(device_root(root), proof, accept))


def seed(
    image: Annotated[
        Path, typer.Option("--image", metavar="DIR", help=mark("The image: a directory that becomes the device's “/”."))
    ],
    class_keys: Annotated[
        Path,
        typer.Option(
            "--class-keys",
            metavar="ENROL.toml",
            help=mark("An enrolment file whose keys open the packages; the image gets none of them."),
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|DIR", help=mark("The repository. Default: what the enrolment file names.")),
    ] = None,
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", help=mark("The device's directory, as the device will see it."))
    ] = Path("/var/lib/modelota"),
    model: Model = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="VERSION", help=mark("Which version. Default: the newest."))
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option("--variant", metavar="VARIANT", help=mark("Which variant; needed only where there are several.")),
    ] = None,
) -> None:
    """Put a first version into an image."""
    from modelota.cli import device_service

    device_service.seed(image, root, class_keys, source, model, version, variant)


def add_to(app: typer.Typer) -> None:
    """Add these commands to `modelota device`."""
    app.add_typer(service, name="service", help=mark("The systemd service that runs the agent."))
    app.command("rekey", cls=Command, help=mark("Give this device the keys of a new epoch of its class, by a file."))(
        rekey
    )
    app.command("remove-agent", cls=Command, help=mark("Remove everything, the agent too: plan, question, proof."))(
        remove_agent
    )
    app.command("seed", cls=Command, help=mark("Put a verified first version into a factory image, without keys."))(
        seed
    )
