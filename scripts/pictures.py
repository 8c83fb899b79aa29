"""Take the README's pictures of the owner's page: a real device with the real engine, seen in a real browser.

    python scripts/pictures.py                  # docs/pictures/*.png
    python scripts/pictures.py --all FOLDER     # every view, language, window and theme, for looking at

Run by `make pictures`. Exit status: 0, or 69 (EX_UNAVAILABLE) when there is no Chromium or no engine.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser  # noqa: E402  the tests' own harness is used
from tests.browser.family import Family  # noqa: E402
from tests.browser.visitor import DESK, LANGUAGES, PHONE, UPDATE_MS, VIEWS, Visitor, chromium, provision  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
MAX_BYTES = 150_000
PHONE_SCALE = 2.0
WINDOW = (820, 600)  # a window on a desk, without the empty margins of a wide one
WINDOW_SCALE = 1.5
FETCH_BYTES_PER_S = 60_000  # slow enough to be seen on the way


def save(visitor: Visitor, path: Path, *, whole: bool = False) -> None:
    """Take a picture of what the window shows, or of the whole view.

    Raises:
        SystemExit: it is too large for a page that many people load.
    """
    visitor.page.wait_for_load_state()
    path.parent.mkdir(parents=True, exist_ok=True)
    visitor.page.screenshot(path=path, full_page=whole, animations="disabled", caret="hide")
    size = path.stat().st_size
    print(f"{path}: {size} bytes", flush=True)
    if not whole and size > MAX_BYTES:
        sys.exit(f"{path} has {size} bytes, and may have {MAX_BYTES}")


def readme(browser: Browser, family: Family, folder: Path) -> None:
    """The few pictures that the README shows."""
    ours, theirs = family.device("zh"), family.device("en", max_bytes_per_s=FETCH_BYTES_PER_S)
    family.publish("1.1.2")
    for device in (ours, theirs):
        device.ask("POST", "/v1/check", {})
    phone = Visitor(browser, ours, language="zh-CN", size=PHONE, scale=PHONE_SCALE)
    phone.open()
    save(phone, folder / "offer.zh-CN.png")
    phone.press("/offers/", "answer", "accept")
    phone.page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)

    other = Visitor(browser, theirs, language="en", size=PHONE, scale=PHONE_SCALE)
    other.open()
    other.press("/offers/", "answer", "accept")
    other.page.wait_for_url(lambda url: "/update" in url)
    other.page.locator("xpath=//progress[number(@value) >= 40]").wait_for(timeout=UPDATE_MS)
    save(other, folder / "progress.en.png")
    other.page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    desk = Visitor(browser, theirs, language="en", size=WINDOW, scale=WINDOW_SCALE)
    desk.open("/model")
    save(desk, folder / "model.en.png")

    family.publish("1.1.3")
    ours.ask("POST", "/v1/check", {})
    night = Visitor(browser, ours, language="zh-CN", size=WINDOW, scale=WINDOW_SCALE, dark=True)
    night.open()
    save(night, folder / "overview-dark.zh-CN.png")
    phone.go("/")
    phone.press("/offers/", "answer", "accept")
    phone.page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    save(phone, folder / "failure.zh-CN.png")
    for visitor in (phone, other, desk, night):
        visitor.close()


def everything(browser: Browser, family: Family, folder: Path) -> None:
    """Every view in every dress, of a device with a past and an offer."""
    device = family.device("device")
    for version in ("1.1.2", "1.1.3"):
        family.publish(version)
        device.update()
    views = {path.strip("/") or "overview": path for path in (*VIEWS, "/remove/plan", "/result", "/report")}
    family.publish("1.2.1")
    digest = device.ask("POST", "/v1/check", {})[0]["offer"]["digest"]
    views["offer"] = f"/offers/{digest}"
    views["back"] = "/versions/back?version=1.1.1"
    views["code"] = "/codes/self-test-failed"
    views["missing"] = "/nothing-here"
    for language in LANGUAGES:
        for size in (PHONE, DESK):
            for dark in (False, True):
                visitor = Visitor(browser, device, language=language, size=size, dark=dark)
                visitor.open()
                dress = f"{language}-{size[0]}-{'dark' if dark else 'light'}"
                with visitor.forgiving():
                    for name, path in views.items():
                        visitor.go(path)
                        save(visitor, folder / f"{name.replace('/', '-')}-{dress}.png", whole=True)
                visitor.close()


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every view, for looking at")
    folder: Path | None = parser.parse_args().all
    if provision().find() is None or importlib.util.find_spec("xllamacpp") is None:
        print(f"{provision().REMEDY}; and the engine: pip install '.[llama]'", file=sys.stderr)
        return 69
    releases = ROOT / "examples" / "family" / "releases"
    with tempfile.TemporaryDirectory() as place, chromium() as browser, Family(Path(place), releases) as family:
        if folder is not None:
            everything(browser, family, folder)
        else:
            readme(browser, family, PICTURES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
