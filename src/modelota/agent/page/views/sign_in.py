"""Coming in through a one-time link, choosing a language, and leaving."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.sessions import Sessions
from modelota.errors import AskPerson
from modelota.i18n import LANGUAGES

LANGUAGE_KEPT_S: Final = 366 * 86_400


@get("/open/{token:str}")
async def open_link(
    request: Request[Any, Any, Any], sessions: NamedDependency[Sessions], token: FromPath[str]
) -> Response[str]:
    """Sign in, and go on by a page of our own.

    A cookie with SameSite=Strict is not sent along a chain of redirects that another site or program began, but it is
    when a page of ours leads on (RFC 6265bis, 5.2).
    """
    view = await sessions.redeem(token, request)
    response = sessions.stranger(request).render("open.html.jinja", path=view.path)
    response.set_cookie(_strict(sessions.session_cookie, view.session))
    if view.language is not None:
        response.set_cookie(_strict(sessions.language_cookie, view.language, max_age=LANGUAGE_KEPT_S))
    return response


@post("/language")
async def choose_language(page: ThisPage, sessions: NamedDependency[Sessions]) -> Response[Any]:
    """Change the language of the page."""
    form = await page.form()
    if form.get("language") not in LANGUAGES:
        raise AskPerson("page-request-refused", detail="no-such-choice")
    response = page.go(own_path(form.get("back", "/")))
    response.set_cookie(_strict(sessions.language_cookie, form["language"], max_age=LANGUAGE_KEPT_S))
    return response


@post("/leave")
async def leave(request: Request[Any, Any, Any], page: ThisPage, sessions: NamedDependency[Sessions]) -> Response[str]:
    """Sign out here."""
    await sessions.leave(request)
    gone = Page(None, page.language, page.path)
    response = gone.render("left.html.jinja")
    response.delete_cookie(sessions.session_cookie)
    return response


def own_path(path: str) -> str:
    """`path` if it is one of this page, else the first one: a redirect never leads elsewhere."""
    return path if path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isprintable() else "/"


def _strict(name: str, value: str, *, max_age: int | None = None) -> Cookie:
    return Cookie(key=name, value=value, httponly=True, samesite="strict", path="/", max_age=max_age)


HANDLERS: Final = [open_link, choose_language, leave]
