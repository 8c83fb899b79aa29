"""`modelota repo import`: the description of a release, from a model that others made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelota.cli.session import Session, current
from modelota.cli.tree import Command
from modelota.cli.workspace import ModelName, Repo, open_workspace, repository_state
from modelota.i18n import units
from modelota.i18n.texts import mark
from modelota.repository.importing import ImportedVariant


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    text = mark("Write the description of a release of a model from elsewhere, filled in with what its files say.")
    app.command("import", cls=Command, help=text)(import_model)


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help=mark("A GGUF file, a directory of a Hugging Face snapshot, or the directory of an Ollama store."),
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help=mark("Which model of an Ollama store, for example llama3.2:1b.")),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="VERSION", help=mark("Its version. Default: the next patch.")),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", metavar="DIR", help=mark("Where to write it. Default: here.")),
    ] = None,
    repo: Repo = None,
    model: ModelName = None,
) -> None:
    """Import a model."""
    from modelota.repository.importing import import_release

    session = current()
    with repository_state(writes=False):
        report = import_release(
            open_workspace(repo), source, name=name, version=version, model=model, directory=directory
        )
    session.emit(
        {
            "description": str(report.description),
            "kind": report.kind,
            "name": report.name,
            "variants": [
                {"name": each.name, "size_bytes": each.size_bytes, "facts": each.facts} for each in report.variants
            ],
        }
    )
    for variant in report.variants:
        session.line(f"{report.name} · {variant.name}")
        session.rows(_rows(variant, session), "  ")
    path = report.description
    session.say("Fill in {path}, then: modelota repo publish {path} --dry-run", path=path)


def _rows(variant: ImportedVariant, session: Session) -> list[tuple[str, str]]:
    say, facts = session.texts.say, variant.facts
    context = "" if facts.context_tokens is None else say("{n} tokens", n=facts.context_tokens)
    rows = [
        (say("Architecture"), facts.architecture),
        (say("Quantisation"), facts.quantisation),
        (say("Parameters"), f"{facts.parameters:,}" if facts.parameters else ""),
        (say("Licence"), facts.licence),
        (say("Context length"), context),
        (say("Chat template"), say("yes") if facts.chat_template else say("no")),
        (say("Base model"), facts.base_model),
        (say("Size"), units.size(variant.size_bytes, session.language)),
    ]
    return [(label, value) for label, value in rows if value]
