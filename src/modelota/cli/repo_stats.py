"""`modelota repo stats`: what was downloaded, from the logs of web servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelota.cli.session import current
from modelota.cli.tree import Command
from modelota.cli.workspace import ModelName, Repo, open_workspace, repository_state
from modelota.i18n import units
from modelota.i18n.texts import mark


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    text = mark("Count downloads in the access logs of web servers, by version, variant and kind of package.")
    app.command("stats", cls=Command, help=text)(stats)


def stats(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG…", help=mark("Logs in the common or combined format; may be compressed (gzip).")),
    ],
    repo: Repo = None,
    model: ModelName = None,
) -> None:
    """Count downloads."""
    from modelota.repository.stats import count_downloads

    session = current()
    with repository_state(writes=False):
        found = count_downloads(open_workspace(repo), logs, model)
    session.emit(found)
    texts, language = session.texts, session.language
    say = texts.say
    session.line(found.model)
    headings = (say("Version"), say("Variant"), say("Package"), say("Requests"), say("Sent"), say("Whole copies"))
    # the names of the modes as they are marked elsewhere for `say`: full, incremental, differential
    rows = [
        (
            group.version,
            texts.listing(list(group.variants)),
            texts.listing([say(mode) for mode in group.modes]),
            str(group.sent.requests),
            units.size(group.sent.size_bytes, language),
            f"{group.sent.size_bytes / group.packs_bytes:.1f}",
        )
        for group in found.groups
    ]
    rows += [
        (version, "", say("manifest"), str(tally.requests), units.size(tally.size_bytes, language), "")
        for version, tally in found.manifests.items()
    ]
    session.table(headings, rows)
    session.line()
    days = [(day, str(sent.requests), units.size(sent.size_bytes, language)) for day, sent in found.days.items()]
    session.table((say("Day"), say("Requests"), say("Sent")), days)
    session.line()
    session.say(
        "{lines} lines: {failed} failed requests, {others} requests for other things, {unreadable} lines not readable.",
        lines=found.lines,
        failed=found.failed,
        others=found.others,
        unreadable=found.unreadable,
    )
