"""An offer tells everything before anything is triggered, in both languages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from modelota.i18n import LANGUAGES, Language
from modelota.i18n.offer import PERMISSIONS, headline, render_offer
from modelota.spec.api import OfferView
from modelota.spec.offer import Covers, Offer


def _view(*, estimate_s: float | None = 360.0, is_guess: bool = True, **changes: Any) -> OfferView:
    offer = Offer(
        model="acme/assistant",
        direction="update",
        from_version="1.1.1",
        from_variant="q4",
        to_version="1.1.2",
        to_variant="q8",
        manifest_digest="1" * 64,
        plan_digest="2" * 64,
        mode="differential",
        planned_bytes=38_000_000,
        ceiling_bytes=46_000_000,
        full_bytes=4_000_000_000,
        installed_bytes=4_100_000_000,
        peak_space_bytes=4_300_000_000,
        kind="fix",
        notes={"en": "Fixes unit conversion.\nAnd a typing mistake.", "zh-CN": "修正单位换算。\n并更正一处错字。"},
        permissions=("microphone", "network"),
        covers=Covers(
            fetch_up_to_bytes=46_000_000,
            repair_up_to_bytes=5_000_000,
            keep_versions=("1.1.1",),
            remove_versions=("1.0.9",),
        ),
    )
    offer = msgspec.structs.replace(offer, **changes)
    return OfferView(
        offer=offer,
        digest=offer.digest,
        made_at="2026-11-24T06:00:00Z",
        estimate_s=estimate_s,
        estimate_is_guess=is_guess,
    )


def test_headline() -> None:
    """What, why, how much, how long, which permissions: on one line."""
    assert headline(_view(), "zh-CN", title="小助手") == (
        "小助手 1.1.2 可更新 · 修正单位换算 · 下载 38 MB（完整包 4.0 GB） · 约 6 分钟，期间可继续使用 · 无新增权限"
    )
    assert headline(_view(), "en") == (
        "acme/assistant 1.1.2 is available · Fixes unit conversion · 38 MB to download (full package 4.0 GB) · "
        "about 6 minutes, usable meanwhile · no new permissions"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_is_told(language: Language) -> None:
    """Versions, variants, notes, sizes, ceiling, space, permissions, what is kept and removed, and the digest."""
    view = _view()
    text = render_offer(view, language)
    for fact in ("1.1.1", "1.1.2", "q4", "q8", "38 MB", "46 MB", "4.0 GB", "4.3 GB", "4.1 GB", "5.0 MB", "1.0.9"):
        assert fact in text, fact
    assert view.digest in text
    assert view.offer.notes[language].splitlines()[1] in text
    assert "{" not in text


def test_estimate_says_what_it_rests_on() -> None:
    """A first guess is marked; a measured one is not; none is called unknown."""
    assert "first guess" in render_offer(_view(), "en")
    assert "first guess" not in render_offer(_view(is_guess=False), "en")
    assert "time unknown" in render_offer(_view(estimate_s=None), "en")


def test_new_permissions_come_first() -> None:
    """New permissions are named on the first line and before the old ones; unknown ones as they are."""
    view = _view(new_permissions=("microphone", "teleport"), permissions=("microphone", "network", "teleport"))
    text = render_offer(view, "en")
    assert "new permissions: microphone, teleport" in text.splitlines()[0]
    assert "new permissions: microphone, teleport; as before: network" in text
    assert "新增权限：麦克风、teleport；沿用权限：网络" in render_offer(view, "zh-CN")


def test_urgency_has_its_reason() -> None:
    """A security release says so on the first line, and why it should not wait."""
    view = _view(kind="security", urgency_reason={"en": "Prompts could leak.", "zh-CN": "提示词可能泄露。"})
    text = render_offer(view, "zh-CN")
    assert "安全更新" in text.splitlines()[0]
    assert "提示词可能泄露。" in text
    assert "为何不宜推迟" not in render_offer(_view(), "zh-CN")


def test_stale_information_is_a_caution() -> None:
    """Media that were not refreshed are told as what they are."""
    assert "out of date since" in render_offer(_view(stale_since="2026-11-01T00:00:00Z"), "en")


def test_first_install_promises_nothing_it_cannot() -> None:
    """Without a version in use there is nothing to go back to, and nothing usable meanwhile."""
    view = _view(direction="install", from_version=None, from_variant=None, covers=Covers(fetch_up_to_bytes=1))
    text = render_offer(view, "en")
    assert "usable meanwhile" not in text
    assert "Nothing stays installed" in text


def test_rollback_and_nothing_to_fetch() -> None:
    """Going back is called that; a plan that fetches nothing says so."""
    view = _view(direction="rollback", planned_bytes=0, consequences=("older-version", "from-the-future"))
    text = render_offer(view, "en")
    assert text.startswith("acme/assistant can go back to 1.1.2")
    assert "nothing to download" in text.splitlines()[0]
    assert "older version" in text
    assert "from-the-future" in text


def test_notes_cannot_pass_for_rows() -> None:
    """What a publisher writes stays in its column and steers no terminal."""
    view = _view(notes={"en": "Nice.\n  Offer number  0000\x1b[1A\n\u202eevil"})
    lines = render_offer(view, "en").splitlines()
    assert sum(line.startswith("  Offer number") for line in lines) == 1
    assert not any(char in line for line in lines for char in "\x1b\u202e")


def test_permission_names_are_the_formats() -> None:
    """Every known permission has the form that manifests allow."""
    for name in PERMISSIONS:
        assert name.isascii()
        assert name == name.lower()
