"""The whole way through the page with the real engine: the answer of the model itself is different afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.family import INCHES, Family
from tests.browser.visitor import DESK, LANGUAGES, PHONE, UPDATE_MS, Language, Visitor

pytestmark = pytest.mark.engine

OFFERED = {"en": "Corrects how many centimetres an inch has", "zh-CN": "修正英寸与厘米的换算"}
DONE = {"en": "in use", "zh-CN": "使用"}
NOTHING_TO_DO = {"en": "nothing", "zh-CN": "无需"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_better_model_back_again_and_a_bad_one(
    repository_root: Path, tmp_path: Path, visit: Callable[..., Visitor], language: Language
) -> None:
    """Later, accepted, a better answer; back, and the old answer; then a release that fails its self-tests."""
    with Family(tmp_path, repository_root / "examples" / "family" / "releases") as family:
        device = family.device("device")
        assert "4.90" in device.chat(INCHES)
        family.publish("1.1.2")
        digest = device.ask("POST", "/v1/check", {})[0]["offer"]["digest"]
        visitor = visit(device, language=language, size=PHONE if language == "zh-CN" else DESK)
        page = visitor.open()
        main = page.locator("main")
        expect(main).to_contain_text(OFFERED[language])
        visitor.press(f"/offers/{digest}/answer", "answer", "later")
        visitor.go(f"/offers/{digest}")
        visitor.look("offer")
        accept(visitor, digest)
        expect(main).to_contain_text("1.1.2")
        expect(main).to_contain_text(DONE[language])
        visitor.look("result")
        assert "5.08" in device.chat(INCHES)

        visitor.go("/versions")
        page.locator('main a[href*="version=1.1.1"]').first.click()
        visitor.look("go back?")
        visitor.press("/rollback")
        page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
        expect(main).to_contain_text("1.1.1")
        assert "4.90" in device.chat(INCHES)

        family.publish("1.1.3")
        digest = device.ask("POST", "/v1/check", {})[0]["offer"]["digest"]
        visitor.go(f"/offers/{digest}")
        accept(visitor, digest)
        expect(main).to_contain_text("self-test-failed")
        expect(main).to_contain_text(NOTHING_TO_DO[language], ignore_case=True)
        visitor.look("failure")
        assert "4.90" in device.chat(INCHES)


def accept(visitor: Visitor, digest: str) -> None:
    """Accept what is shown, and follow it to its end."""
    visitor.press(f"/offers/{digest}/answer", "answer", "accept")
    visitor.page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
