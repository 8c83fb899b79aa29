"""`modelota repo status|history`: looking at a repository."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from modelota.cli.repo_options import seconds_from
from modelota.cli.session import Session, current
from modelota.cli.tree import Command
from modelota.cli.workspace import ModelName, Repo, open_workspace, repository_state
from modelota.clock import SystemClock, iso
from modelota.errors import AskPerson
from modelota.i18n import units
from modelota.i18n.errors import error_lines, render_error
from modelota.i18n.texts import localised, mark
from modelota.repository.status import RepositoryStatus, RoleStatus
from modelota.repository.workspace import Workspace

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=mark("Look at this public repository instead of a workspace's.")),
]
RootFile = Annotated[
    Path | None,
    typer.Option("--trusted-root", metavar="FILE", help=mark("The root metadata to trust. Default: the workspace's.")),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("status", cls=Command, help=mark("Show what is published and what expires when."))(status)
    app.command("history", cls=Command, help=mark("Show where every release comes from."))(history)


def status(
    fail_within: Annotated[
        str,
        typer.Option(
            "--fail-within",
            metavar="TIME",
            help=mark("Fail if something expires within this time (12h, 7d). Default: 0h."),
        ),
    ] = "0h",
    repo: Repo = None,
    url: Url = None,
    trusted_root: RootFile = None,
) -> None:
    """Show the state of a repository."""
    from modelota.repository.status import status as look

    session = current()
    within = timedelta(seconds=seconds_from(fail_within, "--fail-within"))
    with repository_state(writes=False):
        found = look(where(repo, url), fail_within=within, clock=SystemClock(), root=trusted_root_bytes(trusted_root))
    session.emit(_status_object(found))
    texts = session.texts
    session.line(found.url)
    if found.dev:
        session.say("For trying out only: the keys are not encrypted.")
    elif found.plain_keys:
        session.say("Caution: the workspace holds keys that are not encrypted.")
    if found.lags:
        session.say("A committed change waits to become visible; “modelota repo refresh” finishes it.")
    session.table(
        (texts.say("Role"), texts.say("Number"), texts.say("Expires"), texts.say("Signatures"), texts.say("Keys here")),
        [_role_cells(role, session) for role in found.roles],
    )
    for model in found.models:
        releases = texts.listing(list(model.releases)) or texts.say("no release yet")
        session.line(f"{model.model}: {releases}")
        if model.withdrawn:
            session.line("  " + texts.say("withdrawn: {versions}", versions=texts.listing(list(model.withdrawn))))
        if model.paused:
            session.line("  " + texts.say("paused"))
    if found.failing:
        first = min(found.failing, key=lambda role: role.expires_at)
        error = AskPerson("metadata-expires-soon", role=first.role, expires_at=iso(first.expires_at))
        if not session.as_json:
            rendered = render_error(error.code, error.params, session.language, "published-unchanged")
            for line in error_lines(rendered, session.language):
                session.aside(line)
        session.reported = True
        raise typer.Exit(error.exit_status)


def history(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help=mark("Only this release. Default: all."))
    ] = None,
    bom: Annotated[
        bool,
        typer.Option(
            "--bom", help=mark("Print the CycloneDX ML-BOM of the release (JSON). Without VERSION: of the newest.")
        ),
    ] = False,
    repo: Repo = None,
    url: Url = None,
    trusted_root: RootFile = None,
    model: ModelName = None,
) -> None:
    """Show the lineage of a model."""
    from modelota.repository.history import history as look

    session = current()
    if bom:
        _print_bom(session, where(repo, url), version, model, trusted_root)
        return
    with repository_state(writes=False):
        records = look(where(repo, url), model, version=version, root=trusted_root_bytes(trusted_root))
    session.emit(records)
    if session.as_json:
        return
    if not records:
        session.say("Nothing has been published yet.")
    for record in records:
        texts = session.texts
        session.line(f"{record.model} {record.version}")
        rows = [
            (texts.say("Made from"), record.predecessor or texts.say("nothing: it is the first")),
            (texts.say("Released"), units.moment(record.released_at, session.language)),
            (texts.say("What changes"), localised(record.notes, session.language)),
            (texts.say("Device models"), texts.listing(list(record.device_models)) or texts.say("all")),
            (texts.say("Variants"), texts.listing([variant.name for variant in record.variants])),
            (texts.say("Base model"), record.provenance.base_model),
            (texts.say("Licence"), record.provenance.licence),
            (texts.say("Data"), record.provenance.data),
            (texts.say("Code"), record.provenance.code_revision),
            (texts.say("Tools"), record.provenance.tools),
            (texts.say("Responsible"), record.provenance.responsible),
            (texts.say("Withdrawn"), record.withdrawn or ""),
            (texts.say("Digest"), record.manifest_digest),
        ]
        session.rows([(label, value) for label, value in rows if value], "  ")


def _print_bom(
    session: Session, place: Workspace | str, version: str | None, model: str | None, trusted_root: Path | None
) -> None:
    import json

    from modelota.repository.bom import bill_of_materials

    with repository_state(writes=False):
        found = bill_of_materials(place, version, model, root=trusted_root_bytes(trusted_root))
    session.emit(found)
    session.line(json.dumps(found, ensure_ascii=False, indent=2))


def where(repo: Path | None, url: str | None) -> Workspace | str:
    """What to look at: a public repository by its URL, else the workspace."""
    return url if url is not None else open_workspace(repo)


def trusted_root_bytes(path: Path | None) -> bytes | None:
    """The trust anchor in `path`."""
    return None if path is None else path.read_bytes()


def _role_cells(role: RoleStatus, session: Session) -> tuple[str, ...]:
    texts = session.texts
    expires = units.stamp(iso(role.expires_at))
    if role.failing:
        expires = texts.say("{time} (soon or past)", time=expires)
    need = texts.say("{need} of {keys}", need=role.need, keys=role.keys)
    return (role.role, str(role.version), expires, need, "–" if role.at_hand is None else str(role.at_hand))


def _status_object(found: RepositoryStatus) -> dict[str, object]:
    return {
        "url": found.url,
        "dev": found.dev,
        "plain_keys": found.plain_keys,
        "lags": found.lags,
        "roles": [
            {
                "role": role.role,
                "version": role.version,
                "expires_at": iso(role.expires_at),
                "failing": role.failing,
                "need": role.need,
                "keys": role.keys,
                "at_hand": role.at_hand,
            }
            for role in found.roles
        ],
        "models": [
            {
                "model": model.model,
                "releases": model.releases,
                "withdrawn": model.withdrawn,
                "paused": model.paused,
            }
            for model in found.models
        ],
        "failing": [role.role for role in found.failing],
    }
