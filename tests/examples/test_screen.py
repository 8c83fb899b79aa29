"""The head-unit screen drives a real agent with a real model: over HTTP as its page does, and in a real browser."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.testing.device import DeviceUnderTest
from tests.browser.visitor import chromium, provision
from tests.examples.conftest import Vendor

pytestmark = pytest.mark.engine

UPDATE_MS = 120_000
HEAD_UNIT = {"width": 1024, "height": 600}
TARGET_PX = 72


class Screen:
    """`examples/hosts/screen/screen.py` beside a device."""

    def __init__(self, script: Path, socket: Path, language: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(script), str(socket), "--lang", language],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        parts = urlsplit(self.url)
        self.origin, self._place, self._base = f"http://{parts.netloc}", parts.netloc, parts.path.rstrip("/")

    def car(self, word: str) -> None:
        """Something happens to the car."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        base: str | None = None,
    ) -> tuple[int, bytes]:
        """One request, as the page makes it unless told otherwise."""
        connection = http.client.HTTPConnection(self._place, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            told = {"origin": self.origin} if headers is None else headers
            connection.request(method, (self._base if base is None else base) + path, data, told)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        """The car is switched off."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=30) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def device(vendor: Vendor, tmp_path: Path) -> Iterator[DeviceUnderTest]:
    """An enrolled device with a running supervisor and nothing installed."""
    root = tmp_path / "device"
    enrol(vendor.enrolment, root, SystemClock())
    (root / "config.toml").write_text("[checks]\nevery_s = 0\n")
    device = DeviceUnderTest(root)
    with device.running():
        yield device


@pytest.fixture
def screen(device: DeviceUnderTest, repository_root: Path) -> Iterator[Screen]:
    """Its screen, in Chinese."""
    screen = Screen(repository_root / "examples/hosts/screen/screen.py", device.layout.agent_socket, "zh")
    yield screen
    screen.close()


def test_the_screen_keeps_to_itself(device: DeviceUnderTest, screen: Screen) -> None:
    """Without the secret, from another page, under another name, or beyond what the page may ask there is nothing."""
    assert screen.request("GET", "/")[0] == 200
    for path in ("/page/../screen.py", "/../screen.py", "/none.js", "/v1/log", "/v1/removal/plan"):
        assert screen.request("GET", path)[0] == 404, path
    for base in ("", "/guess"):
        assert screen.request("GET", "/", base=base) == (404, b"{}")
        assert screen.request("POST", "/v1/check", {}, base=base) == (404, b"{}")
    host = {"host": "rebound.example", "origin": "http://rebound.example"}
    assert screen.request("GET", "/v1/status", headers=host)[0] == 404
    for origin in ({}, {"origin": "http://elsewhere.example"}, {"origin": "null"}):
        assert screen.request("POST", "/v1/check", {}, headers=origin)[0] == 403
    for path in ("/v1/removal", "/v1/backup", "/v1/page", "/v1/gateway/tokens"):
        assert screen.request("POST", path, {})[0] == 404, path
    large = {"content-length": "999999999", "origin": screen.origin}
    assert screen.request("POST", "/v1/check", headers=large)[0] == 413
    assert [entry["event"] for entry in device.log() if entry["event"] in {"checked", "check-failed"}] == []


def test_while_the_car_drives_nobody_decides(vendor: Vendor, device: DeviceUnderTest, screen: Screen) -> None:
    """The agent hears that the car drives and charges; the screen takes no answer until it is parked."""
    vendor.publish("1.1.1")
    offer = device.check()
    answer = {"offer_digest": offer["digest"], "answer": "later", "channel": "host"}
    screen.car("driving")
    status, error = screen.request("POST", "/v1/decisions", answer)
    while status != 409:  # the word is on its way
        status, error = screen.request("POST", "/v1/decisions", answer)
    assert json.loads(error)["code"] == "driving"
    assert json.loads(screen.request("GET", "/car")[1])["parked"] is False
    assert device.ask("GET", "/v1/conditions")["parked"]["holds"] is False
    screen.car("charging")
    screen.car("parked")
    while screen.request("POST", "/v1/decisions", answer)[0] == 409:
        pass
    told = device.ask("GET", "/v1/conditions")
    assert (told["parked"]["holds"], told["charging"]["holds"]) == (True, True)
    assert "uid:" in next(entry["facts"]["authority"] for entry in device.log() if entry["event"] == "decided")


@pytest.mark.skipif(provision().find() is None, reason=provision().REMEDY)
def test_a_finger_on_the_screen(vendor: Vendor, device: DeviceUnderTest, screen: Screen) -> None:
    """Check, tonight, take it back, now, done, an update, back again; in both languages, with large targets."""
    problems: list[str] = []
    screen.car("unplugged")
    with chromium() as browser:
        window = browser.new_context(viewport=HEAD_UNIT, reduced_motion="reduce")  # type: ignore[arg-type]  # a size
        page = window.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(screen.origin) or problems.append(asked.url))
        page.goto(screen.url)
        title, actions = page.locator("h2"), page.locator("footer button")
        expect(title).to_have_text("尚未安装")
        vendor.publish("1.1.1")
        actions.get_by_text("检查新版本").click()
        expect(title).to_have_text("可更新到 1.1.1")
        expect(page.locator("#facts")).to_contain_text("新增权限")
        for button in page.locator("button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= TARGET_PX, button.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        actions.get_by_text("今晚充电时").click()
        expect(title).to_contain_text("等待中")
        actions.get_by_text("撤回").click()
        expect(title).to_have_text("可更新到 1.1.1")
        page.locator("#language").click()
        expect(title).to_have_text("Version 1.1.1 is ready")
        screen.car("driving")
        expect(page.locator("#note")).to_have_text("You can decide when the car is parked.", timeout=15_000)
        expect(actions).to_have_count(0)
        screen.car("parked")
        actions.get_by_text("Update now").click(timeout=15_000)
        expect(title).to_have_text("Version 1.1.1 is in use", timeout=UPDATE_MS)
        vendor.publish("1.1.2")
        actions.get_by_text("Look for a new version").click()
        actions.get_by_text("Update now").click()
        expect(title).to_have_text("Version 1.1.2 is in use", timeout=UPDATE_MS)
        actions.get_by_text("Go back to 1.1.1").click()
        expect(page.locator("#version")).to_have_text("Version 1.1.1", timeout=UPDATE_MS)
        window.close()
    assert problems == []
    assert {entry["facts"]["channel"] for entry in device.log() if entry["event"] == "offer-shown"} == {"host"}
    languages = [entry["facts"]["language"] for entry in device.log() if entry["event"] == "offer-shown"]
    assert {"zh-CN", "en"} <= set(languages)
