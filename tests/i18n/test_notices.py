"""Notices in both languages: short, on one line, whole whatever is missing, and without anything that steers."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.i18n import LANGUAGES, Language
from modelota.i18n.notices import render_notice
from modelota.spec.api import ErrorBody
from modelota.spec.api_owner import Notice, NoticeKind

TITLE = {"zh-CN": "小助手", "en": "Assistant"}
OFFER: dict[str, Any] = {
    "title": TITLE,
    "direction": "update",
    "kind": "fix",
    "from_version": "1.1.1",
    "notes": {"zh-CN": "修正单位换算。", "en": "Fixes unit conversion.\nAnd more."},
    "mode": "differential",
    "planned_bytes": 38_000_000,
    "full_bytes": 4_000_000_000,
    "estimate_s": 360.0,
    "new_permissions": [],
}
DONE = {"title": TITLE, "operation": "update", "result": "done", "from_version": "1.1.1", "active_version": "1.1.2"}


def notice(facts: dict[str, Any], kind: NoticeKind = "offer", error: ErrorBody | None = None) -> Notice:
    model = "acme/assistant"
    return Notice(id=1, key="k", kind=kind, model=model, at="", due_at="", version="1.1.2", error=error, facts=facts)


def test_an_offer_is_short() -> None:
    """What can be had, and on one line why, how much and how long."""
    assert render_notice(notice(OFFER), "zh-CN") == (
        "小助手 1.1.2 可更新",
        "修正单位换算 · 下载 38 MB（完整包 4.0 GB） · 约 6 分钟，期间可继续使用",
        "查看更新",
    )
    rendered = render_notice(notice(OFFER, "reminder"), "en")
    assert rendered.title == "A reminder: Assistant 1.1.2 is available"
    assert rendered.body == (
        "Fixes unit conversion · 38 MB to download (full package 4.0 GB) · about 6 minutes, usable meanwhile"
    )


def test_an_urgent_offer_says_why() -> None:
    """The reason goes before the notes; new permissions are said, unchanged ones are not."""
    facts = {**OFFER, "kind": "security", "urgency_reason": {"en": "It leaks."}, "new_permissions": ["network"]}
    body = render_notice(notice(facts), "en").body
    assert body.startswith("Security update · It leaks. · 38 MB")
    assert body.endswith("new permissions: network")


def test_how_it_ended() -> None:
    """Done says that one can go back; a failure has its three sentences."""
    assert render_notice(notice(DONE, "outcome"), "en")[:2] == (
        "Assistant · Updated: 1.1.2 is in use",
        "Version 1.1.1 is kept; you can go back to it.",
    )
    error = ErrorBody(code="self-test-failed", params={"test": "a"}, now="returned", now_params={"version": "1.1.1"})
    failed = render_notice(notice({**DONE, "result": "failed", "active_version": "1.1.1"}, "outcome", error), "zh-CN")
    assert failed.title == "小助手：更新到 1.1.2 未成功"
    assert "设备已回到版本 1.1.1" in failed.body
    assert "无需操作" in failed.body


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("about", ["degraded", "suspect", "withdrawn", "damaged", "paused"])
def test_what_needs_a_person(about: str, language: Language) -> None:
    """What it is about, and what happened, how the device is now, what to do."""
    error = ErrorBody(code="self-test-failed", params={"test": "a"}, now="updated", now_params={"version": "1.1.2"})
    rendered = render_notice(notice({"title": TITLE, "about": about}, "attention", error), language)
    assert rendered.title.startswith(("Assistant", "小助手", "Some files of Assistant"))
    assert "1.1.2" in rendered.body
    assert rendered.body.count("。" if language == "zh-CN" else ". ") >= 2
    assert render_notice(notice({"about": about}, "attention"), language).body == ""


def test_a_flaw_is_said() -> None:
    """A revoked version has a flaw, and the title says so."""
    error = ErrorBody(code="release-revoked", params={"version": "1.1.2", "reason": "unsafe"}, now="updated")
    rendered = render_notice(notice({"title": TITLE, "about": "withdrawn"}, "attention", error), "zh-CN")
    assert rendered.title == "小助手 1.1.2 存在已知缺陷"


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    kind=st.sampled_from([*get_args(NoticeKind), "of-tomorrow"]),
    facts=st.dictionaries(
        st.sampled_from([*OFFER, *DONE, "about", "urgency_reason", "number"]), _PLAIN, max_size=len(OFFER)
    ),
    version=st.none() | st.text(max_size=10),
    code=st.none() | st.text(max_size=10),
    language=st.sampled_from(LANGUAGES),
)
def test_whatever_a_notice_says_it_is_rendered(
    kind: Any, facts: dict[str, Any], version: str | None, code: str | None, language: Language
) -> None:
    """Facts of an unexpected kind, of a newer agent or a hostile publisher, make no error and no second line."""
    error = ErrorBody(code=code, params=facts, now=str(version)) if code is not None else None
    made = msgspec.structs.replace(notice(facts, kind, error), version=version)
    rendered = render_notice(made, language)
    assert rendered.title
    assert rendered.action
    for text in rendered:
        assert text == " ".join(text.split())
        assert text.isprintable() or not set(text) & set("\x00\x07\x1b\x7f\x9b\u2028\u202e")
    assert len(rendered.body) <= 600
