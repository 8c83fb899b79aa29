"""Templates and static files as the package carries them."""

from __future__ import annotations

import hashlib

import pytest
from jinja2 import UndefinedError

from modelota.agent.page.templating import environment, static_files, static_url


def test_every_template_can_be_read() -> None:
    """None waits with its mistake until somebody comes by."""
    names = environment().list_templates()
    assert "base.html.jinja" in names
    for name in names:
        environment().get_template(name)


def test_what_nobody_gave_is_an_error() -> None:
    """A misspelt name does not become an empty place on the page."""
    with pytest.raises(UndefinedError):
        environment().from_string("{{ missing }}").render()


def test_a_files_address_changes_with_its_content() -> None:
    """A browser may keep a file for ever, because a newer one has another address."""
    assert {"page.css", "page.js"} <= set(static_files())
    for name, file in static_files().items():
        assert file.url == static_url(name) == f"/static/{name}?v={hashlib.sha256(file.content).hexdigest()[:16]}"
        assert file.media_type.split(";")[0] in {"text/css", "text/javascript", "image/svg+xml"}
