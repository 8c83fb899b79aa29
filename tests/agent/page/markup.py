"""Reading the HTML of a view the way a browser and a screen reader do, as far as tests need it."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any, Final

from tests.agent.page.stage import Answers, FakeClient, stage

from modelota.i18n import Language

_VOID: Final = frozenset({"meta", "link", "input", "br", "hr", "img"})
_LABELLED: Final = frozenset({"checkbox", "text", "password", "radio", "search", "number"})
Attributes = dict[str, str | None]


class Markup(HTMLParser):
    """A view's elements in order, its forms, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, Attributes]] = []
        self.forms: list[tuple[str, dict[str, list[str]]]] = []
        self.text = ""
        self.open: list[str] = []
        self.unclosed: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "form":
            self.forms.append((attributes.get("action") or "", {}))
        if tag in {"input", "button"} and attributes.get("name"):
            self.forms[-1][1].setdefault(attributes["name"] or "", []).append(attributes.get("value") or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def form(self, action: str) -> dict[str, list[str]]:
        """The named fields of the form that goes to `action`, with their values.

        Raises:
            AssertionError: there is none.
        """
        found = [fields for to, fields in self.forms if to == action]
        assert found, f"no form to {action}: {[to for to, _ in self.forms]}"
        merged: dict[str, list[str]] = {}
        for fields in found:
            for name, values in fields.items():
                merged.setdefault(name, []).extend(values)
        return merged

    def links(self) -> list[str]:
        """Where links and forms lead on the page itself, without queries."""
        found = [attributes.get("href") or "" for tag, attributes in self.elements if tag == "a"]
        return [each.partition("?")[0] for each in (*found, *(to for to, _ in self.forms)) if not each.startswith("#")]

    def faults(self) -> list[str]:
        """What a strict policy, or somebody who cannot see, would stumble over."""
        found = [f"</{tag}> does not close what is open" for tag in self.unclosed]
        identities = [attributes["id"] for _, attributes in self.elements if attributes.get("id")]
        found += [f"id {each} twice" for each in {each for each in identities if identities.count(each) > 1}]
        headings = [int(tag[1]) for tag, _ in self.elements if tag in {"h1", "h2", "h3", "h4"}]
        if headings.count(1) != 1:
            found.append(f"{headings.count(1)} first headings")
        found += [f"h{now} after h{before}" for before, now in itertools.pairwise(headings) if now > before + 1]
        for tag, attributes in self.elements:
            if tag == "style" or "style" in attributes or any(name.startswith("on") for name in attributes):
                found.append(f"inline style or script at <{tag}>")
            if tag == "script" and not (attributes.get("src") or "").startswith("/static/"):
                found.append("a script that is not a file of the page")
            if any(
                (attributes.get(name) or "").startswith(("http:", "https:", "//")) for name in ("src", "href", "action")
            ):
                found.append(f"<{tag}> leads elsewhere")
            points_at = (attributes.get("aria-labelledby") or "").split()
            found += [f"aria-labelledby {each} points at nothing" for each in points_at if each not in identities]
        for action, fields in self.forms:
            if not fields.get("csrf"):
                found.append(f"the form to {action} has no token")
        return found


def view_of(answers: Answers, path: str, language: Language = "en", **options: Any) -> Markup:
    """The view at `path`, which must be there."""
    with stage(FakeClient(answers), language=language, **options) as browser:
        answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return Markup(answer.text)
