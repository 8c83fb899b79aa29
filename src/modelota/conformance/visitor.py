"""The owner's browser, without a browser: follows a link to the page, keeps its cookies, reads text, sends forms.

Shares no code with the product's: the standard library's HTTP over loopback.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from modelota.conformance.row import Unreached

_TIMEOUT_S: Final = 60.0
_BODY_MAX_BYTES: Final = 4 << 20
_TOKEN: Final = re.compile(r'name="csrf" value="([^"]+)"')


@dataclass(frozen=True)
class Seen:
    """One answer of the page.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        html: as it came.
        text: what a person reads of it.
    """

    status: int
    headers: dict[str, str]
    html: str
    text: str


class Visitor:
    """Somebody with a browser.

    Args:
        language: that the browser asks for.
    """

    def __init__(self, language: str = "en") -> None:
        self._language = language
        self._cookies: dict[str, str] = {}
        self._host, self._port = "127.0.0.1", 0

    def follow(self, url: str) -> Seen:
        """Open a link to the page, as it was printed."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        return self.get(parts.path)

    def get(self, path: str, **headers: str) -> Seen:
        """Look at a view."""
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, Any], *, view: Seen | None, **headers: str) -> Seen:
        """Send a form; its token is the one in `view`, or none."""
        token = _TOKEN.search(view.html) if view is not None else None
        body = urlencode({**fields, **({"csrf": token.group(1)} if token else {})}, doseq=True)
        return self._send("POST", path, body, {"origin": f"http://{self._host}:{self._port}", **headers})

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Seen:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        sent = {"accept-language": self._language, **headers}
        if self._cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if body is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            data = answer.read(_BODY_MAX_BYTES)
        except OSError as error:
            raise Unreached(f"{method} {path} on the page: {error}") from error
        finally:
            connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self._cookies[key.strip()] = rest.partition(";")[0]
        html = data.decode("utf-8", "replace")
        return Seen(answer.status, {k.lower(): v for k, v in answer.getheaders()}, html, _text(html))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  the base's
        self._hidden += tag in {"script", "style", "svg", "head"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"script", "style", "svg", "head"}

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.parts.append(" ".join(data.split()))


def _text(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    return "\n".join(reader.parts)
