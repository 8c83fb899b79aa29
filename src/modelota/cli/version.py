"""`modelota version`."""

from __future__ import annotations

import platform

import typer

from modelota import __version__
from modelota.cli.session import current
from modelota.cli.tree import Command
from modelota.i18n.texts import mark

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("version", cls=Command, help=mark("Show the version of modelota."))
def version() -> None:
    """Show the version of modelota and of what it runs on."""
    session = current()
    facts = {"modelota": __version__, "python": platform.python_version(), "machine": platform.machine()}
    session.emit(facts)
    session.line(f"modelota {__version__} (Python {facts['python']}, {facts['machine']})")
