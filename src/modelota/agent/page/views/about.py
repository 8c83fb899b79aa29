"""What this page is and can reach."""

from __future__ import annotations

from typing import Final

from litestar import Response, get

from modelota.agent.page.page import ThisPage
from modelota.agent.page.views.chosen import user_of
from modelota.spec import api


@get("/about")
async def about(page: ThisPage) -> Response[str]:
    """Who is signed in, what they may do, what the page reaches, and how to leave."""
    user = user_of(page.authority)
    status = await page.get(api.Status, "/v1/status")
    return page.render("about.html.jinja", agent=status, user=user.pw_name if user else None)


HANDLERS: Final = [about]
