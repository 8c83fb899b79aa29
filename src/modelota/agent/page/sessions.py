"""Who asks: from a request with its cookie to a `Page` that acts for the session's person.

The sessions themselves are in the supervisor, so they outlive this process; it is asked anew with every request, which
is how a right that was taken away, or a session that was ended elsewhere, counts at once.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any, Final

from litestar import Request

from modelota.agent.page.forms import parse_form
from modelota.agent.page.page import PLACES, Page
from modelota.agent.page.peer import PeerReader
from modelota.agent.page_given import SECRET_HEADER, SESSION_HEADER, PageGiven
from modelota.agent.socket_client import SocketClient
from modelota.errors import AskPerson
from modelota.i18n import LANGUAGES, Language, pick_language
from modelota.spec.api_owner import SessionRequest, SessionView

AnyRequest = Request[Any, Any, Any]


class Sessions:
    """Makes a `Page` of each request.

    Args:
        given: by the supervisor.
        port: that the page is served on; cookies of one host are shared by all its ports, so their names carry it.
        peer: tells whose process is at the other end.
        paths: of all views: the navigation leads only to what there is.
    """

    def __init__(self, given: PageGiven, port: int, peer: PeerReader, paths: frozenset[str]) -> None:
        self._given = given
        self._peer = peer
        self._places = tuple(place for place in PLACES if place.path in paths)
        self._client = SocketClient(Path(given.socket), {SECRET_HEADER: given.secret})
        self.session_cookie: Final = f"modelota-session-{port}"
        self.language_cookie: Final = f"modelota-language-{port}"

    async def page(self, request: AnyRequest) -> Page:
        """The page of a signed-in person; of a POST only with the token of one of their forms.

        Raises:
            AskPerson: `page-session-ended`, `page-request-refused`.
            TryLater: the agent could not be reached.
        """
        session = request.cookies.get(self.session_cookie, "")
        if not session:
            raise AskPerson("page-session-ended")
        view = await self._client.ask(
            SessionView, "GET", f"/v1/page/sessions/{_plain(session)}", query=self._peer_query(request)
        )
        csrf = self._token(session)
        form = None
        if request.method == "POST":
            form = parse_form(request.headers.get("content-type", ""), await request.body())
            if not hmac.compare_digest(form.last().get("csrf", "").encode(), csrf.encode()):
                raise AskPerson("page-request-refused", detail="form-token")
        return Page(
            SocketClient(
                Path(self._given.socket), {SECRET_HEADER: self._given.secret, SESSION_HEADER: _plain(session)}
            ),
            self.language(request),
            str(request.scope["path"]),
            rights=frozenset(view.rights),
            authority=view.authority,
            csrf=csrf,
            places=self._places,
            form=form,
            query=request.scope["query_string"].decode("latin-1"),
        )

    def stranger(self, request: AnyRequest) -> Page:
        """The page of whoever is not signed in: it can do nothing but speak."""
        return Page(None, self.language(request), str(request.scope["path"]))

    async def redeem(self, token: str, request: AnyRequest) -> SessionView:
        """Sign a person in with a link's token.

        Raises:
            AskPerson: `page-link-used`.
            TryLater: the agent could not be reached.
        """
        body = SessionRequest(token=token[:256], peer_uid=self._peer_uid(request))
        return await self._client.ask(SessionView, "POST", "/v1/page/sessions", body)

    async def leave(self, request: AnyRequest) -> None:
        """End the session of a request."""
        session = request.cookies.get(self.session_cookie, "")
        await self._client.request("DELETE", f"/v1/page/sessions/{_plain(session)}")

    def language(self, request: AnyRequest) -> Language:
        """What the person chose, or what their browser asks for first (RFC 9110, 12.5.4, without weights)."""
        chosen = request.cookies.get(self.language_cookie)
        for language in LANGUAGES:
            if chosen == language:
                return language
        return pick_language(request.headers.get("accept-language", "en")[:64] or "en", {})

    def _token(self, session: str) -> str:
        return hmac.digest(self._given.secret.encode(), f"form\n{session}".encode(), "sha256").hex()

    def _peer_uid(self, request: AnyRequest) -> int | None:
        client, server = request.scope.get("client"), request.scope.get("server")
        if client is None or server is None or server[1] is None:
            return None
        return self._peer((client[0], client[1]), (server[0], server[1]))

    def _peer_query(self, request: AnyRequest) -> dict[str, str]:
        uid = self._peer_uid(request)
        return {} if uid is None else {"peer_uid": str(uid)}


def _plain(session: str) -> str:
    """A session's id as it can stand in a path and a header; anything else never was one.

    Raises:
        AskPerson: `page-session-ended`.
    """
    if not (session.isascii() and session.isalnum() and len(session) <= 128):
        raise AskPerson("page-session-ended")
    return session
