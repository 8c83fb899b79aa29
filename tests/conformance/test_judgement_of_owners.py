"""The claims about page, notices and answers notice a product that does wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.owners_told import NEW, answer, good_owner, notice

from modelota.conformance.chapters.owners import Owner
from modelota.conformance.checks import clause_5_1, clause_5_3
from modelota.conformance.row import Examination

Claim = Callable[[Examination, Owner], None]
PAGE: Claim = clause_5_1._claim_page
STRANGERS: Claim = clause_5_1._claim_strangers
TOLD: Claim = clause_5_3._claim_notices
LIFE: Claim = clause_5_3._claim_life


def verdict(claim: Claim, told: Owner) -> str:
    seen = Examination()
    claim(seen, told)
    return seen.row("x", "en").status


@pytest.mark.parametrize("claim", [PAGE, STRANGERS, TOLD, LIFE])
def test_a_good_product(claim: Claim) -> None:
    """What a product shows that does well is passed."""
    assert verdict(claim, good_owner()) == "passed"


def of(name: str, **changes: Any) -> dict[str, Any]:
    """One field of the chapter with some of its keys changed."""
    return {name: {**getattr(good_owner(), name), **changes}}


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        (PAGE, {"pages": {"zh": "nothing", "en": "nothing"}}),
        (PAGE, {"policy": {}}),
        (
            PAGE,
            {"policy": {"content-security-policy": "default-src 'none' https://cdn.example; frame-ancestors 'none'"}},
        ),
        (STRANGERS, {"strangers": {"no-link": 200}}),
        (STRANGERS, {"strangers": {"no-link": 500}}),
        (STRANGERS, of("stale", status=303)),
        (STRANGERS, of("stale", content_bytes=1)),
        (STRANGERS, of("stale", phase="fetching")),
        (STRANGERS, of("stale", changed=False)),
        (STRANGERS, of("stale", shows_the_new_one=False)),
        (TOLD, {"notices": []}),
        (TOLD, {"notices": 2 * [notice("offer", "offer")]}),
        (TOLD, {"notices": [{**notice("offer", "offer"), "path": "/"}]}),
        (TOLD, {"notified": []}),
        (TOLD, {"notified": 2 * [{"kind": "notification"}]}),
        (LIFE, of("later", reminders=[])),
        (LIFE, of("later", reminders=2 * [notice("reminder", "r")])),
        (LIFE, of("later", offer_stands=False)),
        (LIFE, of("later", remind_at="2026-11-24T12:00:11Z")),
        (LIFE, of("revoked", status=409)),
        (LIFE, of("revoked", content_bytes=1)),
        (LIFE, of("revoked", offer_stands=False)),
        (LIFE, of("revoked", revocable=False)),
        (LIFE, of("revoked", twice=200)),
        (LIFE, of("revoked", expires_at=None)),
        (LIFE, {"answers": [answer(3, "accept", "done")]}),
        (LIFE, {"answers": [answer(2, "accept", "revoked"), {**answer(3, "accept", "done"), "authority": ""}]}),
    ],
)
def test_a_bad_product(claim: Claim, changes: dict[str, Any]) -> None:
    """Each thing that can go wrong is noticed."""
    assert verdict(claim, good_owner(**changes)) == "failed"


def test_the_new_offer_is_another() -> None:
    """The two digests of these tests differ, or the ones above would show nothing."""
    assert good_owner().offer["digest"] != NEW
