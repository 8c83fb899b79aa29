"""The life of a version through the page: going back, a backup, uninstalling with its proof, and cleaning up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.home import Home
from tests.browser.visitor import LANGUAGES, UPDATE_MS, Language, Visitor

Visit = Callable[..., Visitor]
PASSPHRASE = "correct horse battery staple"


@pytest.mark.parametrize("language", LANGUAGES)
def test_back_to_the_version_before(home: Home, visit: Visit, language: Language) -> None:
    """What it does is told first; then the device goes back, and the page says so."""
    active, previous = home.two_versions()
    visitor = visit(home.device, language=language)
    page = visitor.open("/versions")
    main = page.locator("main")
    expect(main).to_contain_text(active)
    page.locator(f'main a[href*="version={previous}"]').click()
    visitor.look("go back?")
    visitor.press("/rollback")
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    expect(main).to_contain_text(previous)
    visitor.look("went back")
    assert home.device.status()["active_version"] == previous
    visitor.go("/history")
    visitor.look("history")


@pytest.mark.parametrize("language", LANGUAGES)
def test_uninstall_with_backup_and_proof(home: Home, visit: Visit, tmp_path: Path, language: Language) -> None:
    """Why, the plan, an encrypted backup, the confirmation, the proof; then nothing is left to clean."""
    version = home.installed()
    visitor = visit(home.device, language=language)
    page = visitor.open("/remove")
    main = page.locator("main")
    visitor.look("why")
    page.locator('input[name="user_data"][value="remove"]').check()
    main.locator('form[action="/remove/plan"] button').click()
    expect(main).to_contain_text(version)
    visitor.look("plan")

    backup = tmp_path / "mine.backup"
    page.locator('main details:has(form[action^="/remove/backup"]) summary').click()
    page.locator('input[name="path"]').fill(str(backup))
    page.locator('input[name="passphrase"]').fill(PASSPHRASE)
    page.locator('input[name="again"]').fill(PASSPHRASE + "r")
    visitor.press("/remove/backup")
    visitor.look("two passphrases")
    assert not backup.exists()
    page.locator('input[name="passphrase"]').fill(PASSPHRASE)
    page.locator('input[name="again"]').fill(PASSPHRASE)
    visitor.press("/remove/backup")
    expect(main).to_contain_text(str(backup))
    assert PASSPHRASE.encode() not in backup.read_bytes()
    assert PASSPHRASE not in page.content()

    confirm = main.locator('form[action="/remove"] button')
    confirm.click()  # without the tick nothing happens
    assert home.device.status()["active_version"] == version
    page.locator('input[name="sure"]').check()
    confirm.click()
    page.wait_for_url(lambda url: "/removed/" in url)
    expect(main.locator('a[href$="/proof.json"]')).to_be_visible(timeout=UPDATE_MS)
    visitor.look("proof")
    with page.expect_download() as caught:
        main.locator('a[href$="/proof.json"]').click()
    assert '"ended_at"' in Path(caught.value.path()).read_text(encoding="utf-8")
    assert home.device.status()["active_version"] is None
    visitor.go("/")
    visitor.look("home without a model")
    for path in ("/model", "/versions", "/remove", "/data", "/usage", "/incidents"):
        visitor.go(path)
        visitor.look()


@pytest.mark.parametrize("language", LANGUAGES)
def test_cleaning_asks_about_what_it_found(home: Home, visit: Visit, language: Language, tmp_path: Path) -> None:
    """A copy that somebody made of a removed version is found, told of, and goes when its owner says so."""
    home.installed()
    copy = tmp_path / "holiday.bin"
    copy.write_bytes(home.copy_of_the_model())
    home.uninstall()
    visitor = visit(home.device, language=language)
    page = visitor.open("/cleaning")
    main = page.locator("main")
    visitor.look("before")
    page.locator('input[name="within"]').fill(str(tmp_path))
    main.locator('form:has(input[name="within"]) button').click()
    expect(main).to_contain_text(str(copy), timeout=UPDATE_MS)
    visitor.look("findings")
    for box in main.locator('input[name="probable"]').all():
        box.check()
    page.locator('input[name="sure"]').check()
    main.locator("form#decide button").click()
    expect(main.locator('a[href="/cleaning/proof.json"]')).to_be_visible(timeout=UPDATE_MS)
    visitor.look("cleaned")
    assert not copy.exists()


def test_backup_and_data(home: Home, visit: Visit) -> None:
    """The owner's data have their place, with what they take and a way to keep them."""
    home.installed()
    data = Path(home.device.status()["user_data"])
    data.mkdir(parents=True, exist_ok=True)
    (data / "letter.txt").write_text("dear reader", encoding="utf-8")
    visitor = visit(home.device)
    page = visitor.open("/data")
    expect(page.locator("main")).to_contain_text(str(data))
    visitor.look()
