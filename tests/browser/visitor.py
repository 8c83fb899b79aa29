"""A person with a browser: opens the owner's page by its one-time link, and notices whatever is wrong with it.

Everything that must hold on every view is looked at here, so that the tests of single paths only tell the paths.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Response, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from modelota.testing.device import DeviceUnderTest
from tests.browser import looking

Language = Literal["zh-CN", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh-CN", "en")
PHONE: Final = (360, 740)
DESK: Final = (1280, 900)
TIMEOUT_MS: Final = 15_000
UPDATE_MS: Final = 90_000  # a whole update on a busy machine
TARGET_MIN_PX: Final = 24
# Every view that exists whatever the device does.
VIEWS: Final = (
    "/",
    "/model",
    "/versions",
    "/history",
    "/answers",
    "/data",
    "/usage",
    "/incidents",
    "/cleaning",
    "/remove",
    "/about",
)
GRAVE: Final = {"serious", "critical"}
# A page that somebody else serves, and a name that somebody points at this machine.
FOREIGN_NAME: Final = "foreign.test"
HERE: Final = {"127.0.0.1", "localhost", FOREIGN_NAME}
_ROOT: Final = Path(__file__).resolve().parents[2]


def provision() -> ModuleType:
    """The script that knows where the browser is (`scripts/browser.py`)."""
    spec = importlib.util.spec_from_file_location("browser_provision", _ROOT / "scripts" / "browser.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's browser, without windows; names other than the foreign one lead nowhere."""
    executable = provision().find()
    assert executable is not None, provision().REMEDY
    rules = f"MAP {FOREIGN_NAME} 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE 127.0.0.1,EXCLUDE localhost"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[f"--host-resolver-rules={rules}"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person's browser window at one device.

    Args:
        browser: that the window belongs to.
        device: running.
        language: of the person.
        size: of the window, in CSS pixels.
        scale: of its screen: pixels per CSS pixel.
        dark: they like it dark.
        scripts: whether their browser runs scripts.
    """

    def __init__(
        self,
        browser: Browser,
        device: DeviceUnderTest,
        *,
        language: Language = "en",
        size: tuple[int, int] = PHONE,
        scale: float = 1.0,
        dark: bool = False,
        scripts: bool = True,
    ) -> None:
        self.device = device
        self.language: Language = language
        self.problems: list[str] = []
        self.looked_at: set[str] = set()
        self.scripts = scripts
        self._context = browser.new_context(
            locale=language,
            viewport={"width": size[0], "height": size[1]},
            device_scale_factor=scale,
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        self._context.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        self._context.on("request", self._on_request)
        self._context.on("response", self._on_response)
        self._context.on("console", self._on_console)
        self._context.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        self.page: Page = self._context.new_page()
        self.origin = ""

    # -- going places --

    def link(self, path: str = "/") -> str:
        """A fresh one-time link."""
        return str(self.device.ask("POST", "/v1/page", {"path": path})["url"])

    def open(self, path: str = "/") -> Page:
        """Open a fresh link; returns the page that it leads to."""
        return self.enter(self.link(path))

    def enter(self, link: str) -> Page:
        """Open a link, and let it lead on."""
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(link))
        self.page.goto(link)
        self.page.wait_for_url(lambda url: "/open/" not in url)
        return self.page

    def go(self, path: str) -> Page:
        """Go to another view of the page by its address."""
        self.page.goto(self.origin + path)
        return self.page

    def tab(self, path: str) -> Page:
        """Another tab of the same browser."""
        page = self._context.new_page()
        page.goto(self.origin + path)
        return page

    def press(self, action: str, name: str = "", value: str = "", *, within: str = "") -> None:
        """Press the button of the form that posts to `action`, told by its name and value where there are several."""
        button = self.button(action, name, value, within=within)
        for summary in button.locator("xpath=ancestor::details[not(@open)]/summary").all():
            summary.click()
        button.click()

    def button(self, action: str, name: str = "", value: str = "", *, within: str = "") -> Locator:
        """That button: of the form whose action starts with `action`."""
        button = "button"
        if name:
            button += f'[name="{name}"]'
        if value:
            button += f'[value="{value}"]'
        return self.page.locator(f'{within} form[action^="{action}"] {button}'.strip()).first

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """What is done within is meant to be refused: what goes wrong then is no problem."""
        before = list(self.problems)
        yield
        self.page.wait_for_load_state()
        self.problems = before

    def cookies(self) -> list[Any]:
        """The cookies that the browser holds."""
        return list(self._context.cookies())

    def set_cookies(self, cookies: list[Any]) -> None:
        """Give the browser these cookies."""
        self._context.add_cookies(cookies)

    def close(self) -> None:
        """Close the window.

        Raises:
            AssertionError: something was wrong with what it showed; the text lists it.
        """
        self._context.close()
        assert not self.problems, "\n".join(self.problems)

    def told(self) -> str:
        """What it shows at the moment, and what was wrong with it, for whoever reads about a test that failed."""
        try:
            shown = f"{self.page.url}\n{self.page.locator('body').inner_text(timeout=1000)}"
        except PlaywrightError as error:
            shown = str(error)
        return "\n".join([shown, *self.problems])

    # -- looking --

    def look(self, name: str = "") -> None:
        """Look at the view that is open: accessibility, width, targets, language.

        Raises:
            AssertionError: something is wrong with it.
        """
        where = f"{name or urlsplit(self.page.url).path} ({self.language})"
        found = [f"{where}: {what}" for what in self.findings()]
        assert not found, "\n".join(found)
        self.looked_at.add(urlsplit(self.page.url).path)

    def findings(self, *, grave_only: bool = True) -> list[str]:
        """What is wrong with the view that is open."""
        page = self.page
        expect(page.locator("html")).to_have_attribute("lang", self.language)
        if not self.scripts:
            return []
        found = [
            f"axe: {rule['id']} ({rule['impact']}): {node['html'][:200]} {_messages(node)}"
            for rule in Axe().run(page).response["violations"]
            if not grave_only or rule["impact"] in GRAVE
            for node in rule["nodes"]
        ]
        found += [f"wider than the window: {what}" for what in page.evaluate(looking.TOO_WIDE)]
        found += [f"small target: {what}" for what in page.evaluate(looking.SMALL_TARGETS, TARGET_MIN_PX)]
        if self.language == "zh-CN":
            found += [f"not Chinese: {what}" for what in page.evaluate(looking.NOT_CHINESE)]
        return found

    def walk(self) -> list[str]:
        """Go through the view with the Tab key alone; returns what had the focus, in order.

        Raises:
            AssertionError: something that one can press is left out, comes in another order, or does not show that it
                has the focus.
        """
        page = self.page
        expected: list[str] = page.evaluate(looking.TABBABLE)
        page.evaluate("() => { document.activeElement?.blur(); window.getSelection()?.removeAllRanges(); }")
        seen: list[str] = []
        for _ in range(len(expected)):
            page.keyboard.press("Tab")
            label, visible = page.evaluate(looking.FOCUSED)
            assert visible, f"{urlsplit(page.url).path}: nobody sees that {label} has the focus"
            seen.append(label)
        assert seen == expected, f"{urlsplit(page.url).path}: Tab goes {seen}, the page reads {expected}"
        return seen

    # -- what happens by itself --

    def _on_request(self, request: Request) -> None:
        host = urlsplit(request.url).hostname
        if urlsplit(request.url).scheme in {"http", "https", "ws", "wss"} and host not in HERE:
            self.problems.append(f"asked for {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} from {response.request.method} {response.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        is_status = message.text.startswith("Failed to load resource: the server responded")  # told by the response
        if message.type in {"error", "warning"} and not is_status:
            self.problems.append(f"console: {message.text}")


def _messages(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for kind in ("any", "all", "none") for check in node.get(kind, []))
