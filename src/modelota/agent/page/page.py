"""One request of one person, as views see it: a client that acts for them, their language, and how to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.response import Redirect

from modelota.agent.page.forms import Form
from modelota.agent.page.templating import environment, static_url
from modelota.agent.socket_client import SocketClient
from modelota.errors import AskPerson, ModelotaError
from modelota.i18n import LANGUAGES, Language, units
from modelota.i18n.errors import RenderedError, render_error
from modelota.i18n.texts import Texts, mark, texts_for

T = TypeVar("T")

HTML: Final = "text/html"


class Place(NamedTuple):
    """A place of the page's navigation: where it is, and what it is called (an English message id)."""

    path: str
    name: str


PLACES: Final = (
    Place("/", mark("Overview")),
    Place("/model", mark("My model")),
    Place("/versions", mark("Versions")),
    Place("/history", mark("History")),
    Place("/answers", mark("My answers")),
    Place("/data", mark("My data")),
    Place("/usage", mark("Usage")),
    Place("/incidents", mark("Incidents")),
    Place("/cleaning", mark("Cleaning")),
    Place("/about", mark("About this page")),
)


class Page:
    """One request of one person.

    Args:
        client: acts for the person; None while nobody is signed in.
        language: of the answer.
        path: of the request, without its query.
        rights: what the person may do: `see`, `decide`, `remove`.
        authority: how the journal names them.
        csrf: the token that each form of theirs carries in its field `csrf`.
        places: what the navigation leads to.
        form: the checked form of a POST.
        query: of the request, as it came.
    """

    def __init__(
        self,
        client: SocketClient | None,
        language: Language,
        path: str,
        *,
        rights: frozenset[str] = frozenset(),
        authority: str = "",
        csrf: str = "",
        places: tuple[Place, ...] = (),
        form: Form | None = None,
        query: str = "",
    ) -> None:
        self._client = client
        self._form = form
        self.language: Final = language
        self.texts: Final[Texts] = texts_for(language)
        self.path: Final = path
        self.query: Final = query
        self.rights: Final = rights
        self.authority: Final = authority
        self.csrf: Final = csrf
        self.places: Final = places

    @property
    def client(self) -> SocketClient:
        """The client that acts for the person.

        Raises:
            AskPerson: `page-session-ended`: nobody is signed in.
        """
        if self._client is None:
            raise AskPerson("page-session-ended")
        return self._client

    @property
    def signed_in(self) -> bool:
        """Whether this request belongs to a session."""
        return self._client is not None

    async def get(self, kind: type[T], path: str, /, **query: str | None) -> T:
        """Ask the agent; a query parameter that is None is left out.

        Raises:
            ModelotaError: what the agent answered with.
        """
        return await self.client.ask(kind, "GET", path, query={k: v for k, v in query.items() if v is not None})

    async def post(self, kind: type[T], path: str, body: msgspec.Struct | None = None) -> T:
        """Have the agent do something; see `get`."""
        return await self.client.ask(kind, "POST", path, body)

    async def delete(self, kind: type[T], path: str, /, **query: str) -> T:
        """Have the agent take something back; see `get`."""
        return await self.client.ask(kind, "DELETE", path, query=query)

    async def form(self) -> dict[str, str]:
        """The fields of the form, the last value of a repeated one; its token has been checked."""
        return self._fields().last()

    async def form_list(self, name: str) -> list[str]:
        """All values of the field `name`, in their order."""
        return self._fields().all(name)

    def _fields(self) -> Form:
        if self._form is None:
            raise AskPerson("page-request-refused", detail="no-form")
        return self._form

    def render(
        self, template: str, /, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: object
    ) -> Response[str]:
        """Answer with a template, which gets `values` and what every template gets (see `context`)."""
        return Response(self.html(template, **values), status_code=status, media_type=HTML, headers=dict(headers or {}))

    def html(self, template: str, /, **values: object) -> str:
        """The text of a template."""
        return environment().get_template(template).render(**{**self.context(), **values})

    def context(self) -> dict[str, object]:
        """What every template gets.

        `page`, `say`, `count`, `language`, `csrf`, `nav` (pairs of path and name), `static` (a file's URL), `units`
        (`modelota.i18n.units`), `languages` (pairs of code and its own name).
        """
        return {
            "page": self,
            "say": self.texts.say,
            "count": self.texts.count,
            "language": self.language,
            "csrf": self.csrf,
            "nav": [(place.path, self.texts.say(place.name)) for place in self.places],
            "static": static_url,
            "units": units,
            "languages": [(code, OWN_NAMES[code]) for code in LANGUAGES],
        }

    def go(self, path: str, /, **query: str | None) -> Redirect:
        """Lead on to another view with a GET (303 See Other, RFC 9110 15.4.4)."""
        kept = {name: value for name, value in query.items() if value is not None}
        return Redirect(f"{path}?{urlencode(kept)}" if kept else path, status_code=303)

    def rendered(self, error: ModelotaError) -> RenderedError:
        """An error in the person's language; whoever is not signed in is not told how the device is."""
        now, params = (error.now, error.now_params) if self.signed_in else (None, {})
        return render_error(error.code, error.params, self.language, now or "unchanged", params)

    def fail(self, error: ModelotaError, status: int) -> Response[str]:
        """Answer with what happened, how the device is now, and what to do."""
        return self.render("failure.html.jinja", status=status, error=self.rendered(error))


ThisPage = NamedDependency[Page]  # what a handler takes as its argument `page`
OWN_NAMES: Final[Mapping[Language, str]] = {"zh-CN": "中文", "en": "English"}
