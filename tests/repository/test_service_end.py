"""The end of a model's service is announced, moved and taken back (clause 7.3.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelota.clock import iso
from modelota.errors import AskPerson
from modelota.repository.published import load_published
from modelota.repository.service_end import end_of_service
from modelota.repository.workspace import Workspace

MODEL = "acme/assistant"


def announced(press: Any, shop: Workspace, ends_at: str | None) -> str | None:
    """Announce it; what a reader of the repository then finds."""
    told = end_of_service(shop, None, ends_at, clock=press.clock, passphrases=press.passphrases)
    found = load_published(shop.store(), shop.trusted_root()).catalog(MODEL)
    assert told == found
    return found.end_of_service


def test_announced_moved_and_taken_back(press: Any, shop: Workspace) -> None:
    """Each is signed and visible, and the releases stay as they are."""
    press.publish(shop, "1.1.1")
    later = iso(press.clock.now() + timedelta(days=400))
    assert announced(press, shop, later) == later
    sooner = iso(press.clock.now() + timedelta(days=40))
    assert announced(press, shop, sooner) == sooner
    assert announced(press, shop, None) is None
    catalog = load_published(shop.store(), shop.trusted_root()).catalog(MODEL)
    assert [release.version for release in catalog.releases] == ["1.1.1"]
    press.publish(shop, "1.1.2")
    assert announced(press, shop, later) == later


def test_publishing_keeps_the_date(press: Any, shop: Workspace) -> None:
    """A release after the announcement does not take it back."""
    later = iso(press.clock.now() + timedelta(days=400))
    announced(press, shop, later)
    press.publish(shop, "1.1.1")
    assert load_published(shop.store(), shop.trusted_root()).catalog(MODEL).end_of_service == later


@pytest.mark.parametrize(
    ("ends_at", "detail"),
    [
        ("2020-01-01T00:00:00Z", "in-the-past"),
        ("2027-13-01T00:00:00Z", "not-a-time"),
        ("2027-01-01T00:00:00", "not-a-time"),
        ("soon", "not-a-time"),
        ("", "not-a-time"),
    ],
)
def test_dates_that_are_none(press: Any, shop: Workspace, ends_at: str, detail: str) -> None:
    """What is no time, has no zone, or lies in the past is refused, and nothing is published."""
    before = load_published(shop.store(), shop.trusted_root()).snapshot.signed.version
    with pytest.raises(AskPerson) as caught:
        announced(press, shop, ends_at)
    assert (caught.value.code, caught.value.params["detail"]) == ("argument-invalid", detail)
    assert load_published(shop.store(), shop.trusted_root()).snapshot.signed.version == before
