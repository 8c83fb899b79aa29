"""`modelota repo …`: publish models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelota.cli import repo_archive, repo_care, repo_check, repo_import, repo_look, repo_stats, repo_test
from modelota.cli.passphrase import PassphraseFd, passphrases
from modelota.cli.repo_options import ArchiveKeyFile, Baselines, FullOnly, Incremental, Jobs, TitleEn, TitleZh
from modelota.cli.repo_report import PublishLines, package_rows, publish_object, publish_rows
from modelota.cli.session import current
from modelota.cli.tree import Command, make_app
from modelota.cli.workspace import ModelName, Repo, find_workspace, open_workspace, repository_state
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.i18n.texts import mark
from modelota.repository.workspace import PUBLIC_NAME

app = make_app(mark("Publish models."))


@app.command("init", cls=Command, help=mark("Make a repository with its keys, and the workspace to publish from."))
def init(
    repo: Repo = None,
    *,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="VENDOR/NAME", help=mark("A model; may be repeated. Default: my/model.")),
    ] = None,
    device_class: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help=mark("A kind of device; may be repeated. Default: dev.")),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option("--repository", metavar="PLACE", help=mark("Where the public repository goes: path or URL.")),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help=mark("Where devices read it, if that is another place."))
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="ROLE=NEED/KEYS",
            help=mark("How many keys a role has and how many must sign, for example root=2/3; may be repeated."),
        ),
    ] = None,
    kem: Annotated[
        str, typer.Option("--kem", metavar="NAME", help=mark("Device keys: x25519 or mlkem768-x25519."))
    ] = "x25519",
    suite: Annotated[
        str,
        typer.Option(
            "--suite", metavar="NAME", help=mark("Packages are sealed with aes-256-gcm, chacha20-poly1305 or sm4-gcm.")
        ),
    ] = "aes-256-gcm",
    dev: Annotated[bool, typer.Option("--dev", help=mark("For trying out: keys are not encrypted."))] = False,
    title_zh: TitleZh = None,
    title_en: TitleEn = None,
    archive: Annotated[
        str | None,
        typer.Option(
            "--archive",
            metavar="PLACE",
            help=mark("Where released versions are kept, in private: path or URL. Default: in the workspace."),
        ),
    ] = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Make a repository."""
    from modelota.cli.repo_options import kem_named, suite_named, thresholds_from, title_from
    from modelota.repository import founding

    session = current()
    report = founding.init(
        find_workspace(repo),
        clock=SystemClock(),
        passphrases=passphrases(passphrase_fd),
        models=model or [founding.DEFAULT_MODEL],
        classes=device_class or [founding.DEFAULT_CLASS],
        repository=repository or PUBLIC_NAME,
        url=url,
        thresholds=thresholds_from(threshold or []),
        dev=dev,
        kem=kem_named(kem),
        suite=suite_named(suite),
        title=title_from(title_zh, title_en),
        archive_place=archive,
    )
    session.emit(
        {
            "workspace": str(report.workspace.path),
            "repository": report.repository_url,
            "url": report.url,
            "keys": [str(path) for path in report.keys],
            "archive_key": str(report.archive_key),
            "enrolments": [str(path) for path in report.enrolments],
            "dev": report.dev,
        }
    )
    texts = session.texts
    rows = [
        (texts.say("Workspace"), str(report.workspace.path)),
        (texts.say("Repository"), report.repository_url),
        (texts.say("Devices read"), report.url),
        (texts.say("Keys"), texts.count("{n} key", "{n} keys", len(report.keys))),
        (texts.say("Archive key"), str(report.archive_key)),
        (texts.say("Enrolment files"), "\n".join(str(path) for path in report.enrolments)),
    ]
    session.say("The repository is ready.")
    session.rows(rows, "  ")
    if report.dev:
        session.say("For trying out only: the keys are not encrypted.")
    else:
        session.say("Take the archive key and the root keys to a safe place that is not connected to a network.")


@app.command("new", cls=Command, help=mark("Write the description of a new release, to be filled in."))
def new(
    version: Annotated[str, typer.Argument(metavar="VERSION", help=mark("Its version, for example 1.1.2."))],
    from_version: Annotated[
        str | None,
        typer.Option("--from", metavar="OLD", help=mark("The release to take over from. Default: the newest.")),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help=mark("Where to write it. Default: here.")),
    ] = None,
    repo: Repo = None,
    model: ModelName = None,
) -> None:
    """Write a release description."""
    from modelota.repository.drafting import new_release

    session = current()
    with repository_state(writes=False):
        path = new_release(open_workspace(repo), version, from_version=from_version, model=model, directory=directory)
    session.emit({"description": str(path)})
    session.say("Fill in {path}, then: modelota repo publish {path} --dry-run", path=path)


@app.command("publish", cls=Command, help=mark("Publish a release."))
def publish(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help=mark("A release description; for trying out, also a model file or directory.")
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=mark("Write nothing; show sizes, reach, and what would be refused."))
    ] = False,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="VERSION", help=mark("Its version, if there is no description.")),
    ] = None,
    incremental: Incremental = False,
    baseline: Baselines = None,
    full_only: FullOnly = False,
    archive_key: ArchiveKeyFile = None,
    jobs: Jobs = None,
    test_report: Annotated[
        Path | None,
        typer.Option(
            "--test-report", metavar="FILE", help=mark("What “repo test” wrote. Default: where the workspace keeps it.")
        ),
    ] = None,
    repo: Repo = None,
    model: ModelName = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Publish a release."""
    from modelota.cli.repo_options import package_choice
    from modelota.repository.publish import publish as publish_release

    session = current()
    choice = package_choice(
        full_only=full_only, incremental=incremental, baselines=baseline, archive_key=archive_key, jobs=jobs
    )
    lines = PublishLines(session)
    try:
        with repository_state():
            report = publish_release(
                open_workspace(repo),
                source,
                clock=SystemClock(),
                passphrases=passphrases(passphrase_fd),
                dry_run=dry_run,
                version=version,
                model=model,
                packages=choice,
                test_report=test_report,
                on_progress=lines,
            )
    finally:
        lines.close()
    session.emit(publish_object(report))
    if report.dry_run:
        session.say("Dry run: nothing was written.")
    elif report.already_published:
        session.say("{model} {version} is published already.", model=report.model, version=report.version)
    else:
        session.say("{model} {version} is published.", model=report.model, version=report.version)
    session.rows(publish_rows(report, session.texts), "  ")
    session.line()
    session.table(*package_rows(report, session.texts))
    if report.refusals:
        raise typer.Exit(AskPerson.exit_status)


repo_import.register(app)
repo_test.register(app)
repo_archive.register(app)
repo_look.register(app)
repo_stats.register(app)
repo_check.register(app)
repo_care.register(app)
