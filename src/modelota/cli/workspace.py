"""Finding the publisher's workspace, and saying how the repository is when a command fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from modelota.cli.failure import Reported
from modelota.errors import ModelotaError
from modelota.i18n.texts import mark
from modelota.repository.founding import DEFAULT_NAME
from modelota.repository.workspace import CONFIG_NAME, Workspace

VARIABLE: Final = "MODELOTA_REPO"

Repo = Annotated[
    Path | None,
    typer.Option(
        "--repo",
        metavar="DIR",
        help=mark("The publisher's workspace. Default: MODELOTA_REPO, else this directory or ./modelota-repo."),
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help=mark("Which model; needed only where there are several.")),
]


def find_workspace(explicit: Path | None) -> Path:
    """The workspace: what was given, else `MODELOTA_REPO`, else the present directory, else the usual one in it."""
    if explicit is not None:
        return explicit
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    here = Path.cwd()
    return here if (here / CONFIG_NAME).exists() else here / DEFAULT_NAME


def open_workspace(explicit: Path | None) -> Workspace:
    """Open the workspace.

    Raises:
        AskPerson: `not-a-repository`, `permission-denied`.
    """
    return Workspace.open(find_workspace(explicit))


@contextmanager
def repository_state(*, writes: bool = True) -> Iterator[None]:
    """Add to an error how the published repository is.

    Args:
        writes: the command changes the repository; an error of the network may then have hidden that it did.
    """
    try:
        yield
    except ModelotaError as error:
        unclear = writes and error.branch == "try-later" and error.code != "publish-conflict"
        raise Reported(error, "published-unclear" if unclear else "published-unchanged") from error
