"""`modelota repo test`: a release proves itself on a reference machine before it is published."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelota.cli.session import Session, current
from modelota.cli.tree import Command
from modelota.cli.workspace import ModelName, Repo, open_workspace, repository_state
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.i18n.texts import mark

if TYPE_CHECKING:
    from modelota.spec.test_report import TestReport

_SUITES = {"own": mark("its own tests"), "compatibility": mark("core tests of earlier versions")}
_VERDICTS = {
    "passed": mark("passed"),
    "failed": mark("failed"),
    "not-run": mark("could not be run"),
    "inconclusive": mark("inconclusive"),
}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    summary = mark("Test a release in the real engine, and write the report that publishing asks for.")
    app.command("test", cls=Command, help=summary)(try_out)


def try_out(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help=mark("A release description; for trying out, also a model file or directory.")
        ),
    ],
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="VERSION", help=mark("Its version, if there is no description.")),
    ] = None,
    repo: Repo = None,
    model: ModelName = None,
) -> None:
    """Test a release."""
    from modelota.repository import trial

    session = current()
    told: set[tuple[str, str]] = set()

    def on_test(variant: str, suite: str, _done: int, total: int) -> None:
        if (variant, suite) not in told:
            told.add((variant, suite))
            line = session.texts.say("variant {name}: {suite}", name=variant, suite=session.texts.say(_SUITES[suite]))
            session.aside(f"{line} ({total})")

    workspace = open_workspace(repo)
    with repository_state(writes=False):
        work = trial.try_release(workspace, source, clock=SystemClock(), version=version, model=model, on_test=on_test)
        report = asyncio.run(work)
    path = trial.report_path(workspace, report.model, report.version)
    session.emit({"report": report, "digest": report.digest, "path": str(path), "passed": report.failed is None})
    _show(session, report)
    session.say("The report is in {path}.", path=path)
    if report.failed is not None:
        raise typer.Exit(AskPerson.exit_status)


def _show(session: Session, report: TestReport) -> None:
    texts = session.texts
    rows = []
    for suite in report.suites:
        for result in suite.record["results"]:
            verdict = texts.say(_VERDICTS.get(result["verdict"], mark("inconclusive")))
            why = "" if result["verdict"] == "passed" else str(result["found"] or result["reason"] or "")
            rows.append((suite.variant, texts.say(_SUITES[suite.suite]), result["id"], verdict, why[:200]))
    session.table((texts.say("Variant"), texts.say("Suite"), texts.say("Test"), texts.say("Result"), ""), rows)
    session.line()
    if report.failed is None:
        session.say("{model} {version} passed everything.", model=report.model, version=report.version)
    else:
        session.say("{model} {version} did not pass.", model=report.model, version=report.version)
