"""The report of the last operation: `report`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from modelota.cli import agent_access
from modelota.cli.agent_access import ask
from modelota.cli.session import current
from modelota.errors import AskPerson
from modelota.i18n.deployment import report_lines, report_page
from modelota.spec.deployment import ReportsPage


async def report(root: Path, model: str | None, html: Path | None) -> None:
    """Show the newest report, and write it as a page where that is asked for.

    Raises:
        AskPerson: `nothing-to-report`; `permission-denied`: the page can't be written.
    """
    session = current()
    query = f"?{urlencode({'model': model})}" if model else ""
    async with agent_access.open_access(root) as access:
        page = await ask(access, ReportsPage, "GET", f"/v1/reports{query}")
    if not page.reports:
        raise AskPerson("nothing-to-report", model=page.model)
    newest = page.reports[0].report
    fields = msgspec.to_builtins(newest)
    if html is not None:
        text = report_page(fields, session.texts.language)
        try:
            await asyncio.to_thread(html.write_text, text, encoding="utf-8")
        except OSError as error:
            raise AskPerson("permission-denied", path=str(html)) from error
    session.emit(newest)
    for line in report_lines(fields, session.texts.language):
        session.line(line)
    if html is not None:
        session.say("The page is in {path}.", path=html)
