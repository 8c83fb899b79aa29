"""`modelota conformance`: check a product against the standard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelota.cli.session import Session, current
from modelota.cli.tree import Command
from modelota.errors import RefuseContent
from modelota.i18n import units
from modelota.i18n.conformance import status_name, summary
from modelota.i18n.texts import clean, mark, pad, width

if TYPE_CHECKING:
    from modelota.conformance import Row

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("conformance", cls=Command, help=mark("Check a product against the standard, requirement by requirement."))
def conformance(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ID", help=mark("Only this requirement, for example 5.1-c; may be repeated.")),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="PLACE",
            help=mark("Check with this GGUF file, or directory with releases. Default: the example family."),
        ),
    ] = None,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="SOCKET", help=mark("Look at the device that answers on this socket.")),
    ] = None,
    repository: Annotated[
        str | None, typer.Option("--repository", metavar="URL", help=mark("Look at this repository."))
    ] = None,
    root_json: Annotated[
        Path | None,
        typer.Option("--root-json", metavar="FILE", help=mark("The repository's trusted TUF root metadata.")),
    ] = None,
) -> None:
    """Measure every requirement and print a table; the example family is checked unless told otherwise."""
    from modelota.conformance import REQUIREMENTS, run

    session = current()
    shows = sys.stderr.isatty() and not session.as_json

    def on_row(requirement: str) -> None:
        if shows:
            sys.stderr.write(f"\r\x1b[K{requirement} …")
            sys.stderr.flush()

    rows = run(
        language=session.language,
        socket=socket,
        repository=repository,
        root_json=root_json,
        model=model,
        only=tuple(only or ()),
        on_row=on_row,
    )
    if shows:
        sys.stderr.write("\r\x1b[K")
    session.emit(rows)
    if not session.as_json:
        session.line(summary([row.status for row in rows], session.language))
        columns = max((width(REQUIREMENTS[row.id].said(session.language)) for row in rows), default=0)
        for row in rows:
            _show(row, REQUIREMENTS[row.id].said(session.language), columns, session)
    if any(row.status == "failed" for row in rows):
        session.reported = True
        raise typer.Exit(RefuseContent.exit_status)


def _show(row: Row, demand: str, columns: int, session: Session) -> None:
    """One row: id, demand, result, figure; its reason on the next line."""
    cells = [pad(row.id, 9), pad(demand, columns + 2), status_name(row.status, session.language)]
    if row.figure is not None:
        limit = "" if row.limit is None else f" / {_figure(row.limit, row.unit, session)}"
        cells.append(f"  {_figure(row.figure, row.unit, session)}{limit}")
    session.line("".join(cells).rstrip())
    if row.reason:
        session.line(f"{' ' * 9}{clean(row.reason)}")


def _figure(value: float, unit: str | None, session: Session) -> str:
    if unit == "B":
        return units.size(int(value), session.language)
    return f"{value:g}" if unit in {None, "1"} else f"{value:g} {unit}"
