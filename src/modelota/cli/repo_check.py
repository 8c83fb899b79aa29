"""`modelota repo audit|serve`: checking a repository as a device would, and handing it out for trying out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from modelota.cli.repo_look import RootFile, Url, trusted_root_bytes, where
from modelota.cli.session import Session, current
from modelota.cli.tree import Command
from modelota.cli.workspace import Repo, open_workspace, repository_state
from modelota.clock import SystemClock
from modelota.errors import AskPerson, RefuseContent
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.texts import clean, mark
from modelota.repository.audit import AuditReport

DEFAULT_PORT = 8420


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("audit", cls=Command, help=mark("Check a repository as a device would, and every file in it."))(audit)
    app.command("serve", cls=Command, help=mark("Serve the repository on this machine, for trying out."))(serve)


def audit(
    quick: Annotated[bool, typer.Option("--quick", help=mark("Do not read the contents of packs."))] = False,
    repo: Repo = None,
    url: Url = None,
    trusted_root: RootFile = None,
) -> None:
    """Check a repository."""
    from modelota.repository.audit import audit as look

    session = current()
    watcher = _Watcher(session)
    with repository_state(writes=False):
        report = look(
            where(repo, url),
            clock=SystemClock(),
            root=trusted_root_bytes(trusted_root),
            deep=not quick,
            on_object=watcher,
        )
    watcher.close()
    session.emit(_audit_object(report))
    _tell_audit(report, session)
    if not report.ok:
        session.reported = True
        raise typer.Exit(RefuseContent.exit_status)


def serve(
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help=mark("The public repository. Default: the workspace's.")),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help=mark("Where to listen. Default: this machine only."))
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", metavar="NUMBER", min=0, max=65_535, help=mark("Default: 8420; 0 picks a free one.")),
    ] = DEFAULT_PORT,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help=mark("Certificate chain, PEM."))
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help=mark("Its private key, PEM."))] = None,
    repo: Repo = None,
) -> None:
    """Serve a repository until Ctrl-C."""
    from modelota.repository.serve import RepositoryServer

    session = current()
    if (certificate is None) != (key is None):
        raise AskPerson("argument-invalid", argument="--tls-key", detail="missing")
    tls = None if certificate is None or key is None else (certificate, key)
    with RepositoryServer(directory or _public(repo), host=host, port=port, tls=tls) as server:
        session.emit({"url": server.url, "directory": str(server.directory)})
        session.say("{directory} is served at {url}. Ctrl-C stops it.", directory=server.directory, url=server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            session.aside("")  # stopping it is how it ends


def _public(repo: Path | None) -> Path:
    url = urlsplit(open_workspace(repo).repository_url)
    if url.scheme != "file":
        raise AskPerson("argument-invalid", argument="--directory", detail="missing")
    return Path(unquote(url.path))


class _Watcher:
    """Shows on a terminal which object was checked last."""

    def __init__(self, session: Session) -> None:
        self._moves = sys.stderr.isatty() and not session.as_json
        self._session = session

    def __call__(self, path: str, size_bytes: int) -> None:
        if self._moves:
            line = f"{clean(path)[:60]} {units.size(size_bytes, self._session.language)}"
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._moves:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _tell_audit(report: AuditReport, session: Session) -> None:
    texts = session.texts
    if report.ok:
        session.say("The repository is sound.")
    else:
        session.line(texts.count("{n} thing is wrong.", "{n} things are wrong.", len(report.findings)))
    read = texts.say("sizes only") if not report.deep else units.size(report.bytes_read, session.language)
    rows = [
        (texts.say("Repository"), clean(report.url)),
        (texts.say("Trust"), texts.say("given") if report.anchored else texts.say("the repository's own first root")),
        (texts.say("Models"), str(report.models)),
        (texts.say("Releases"), str(report.releases)),
        (texts.say("Files checked"), str(report.objects)),
        (texts.say("Read from packs"), read),
    ]
    session.rows(rows, "  ")
    if not report.listed:
        session.say("This place cannot list its files, so only those a device would read were checked.")
    if report.lags:
        session.say("A committed change waits to become visible; “modelota repo refresh” finishes it.")
    for finding in report.findings:
        told = render_error(finding.error.code, finding.error.params, session.language, "published-unchanged")
        session.line(f"{clean(finding.path)}: {told.what} {told.remedy} [{told.code}]")
    for path in report.unreferenced:
        session.say("{path}: no release uses it", path=path)
    for path in report.unknown:
        session.say("{path}: has no place in a repository", path=path)


def _audit_object(report: AuditReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "url": report.url,
        "anchored": report.anchored,
        "deep": report.deep,
        "listed": report.listed,
        "lags": report.lags,
        "models": report.models,
        "releases": report.releases,
        "objects": report.objects,
        "bytes_read": report.bytes_read,
        "findings": [
            {"path": finding.path, "code": finding.error.code, "params": finding.error.params}
            for finding in report.findings
        ],
        "unreferenced": report.unreferenced,
        "unknown": report.unknown,
    }
