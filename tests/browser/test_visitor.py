"""The visitor sees what it is there to see: every kind of defect, on a page that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.elsewhere import Elsewhere
from tests.browser.visitor import Visitor

HEAD = '<meta name="viewport" content="width=device-width"><script>document.documentElement.lang = "zh-CN"</script>'
BUTTON = '<button style="min-height:44px;min-width:44px">好</button>'


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens a page with the given content in the window of a Chinese reader."""
    visitors: list[Visitor] = []
    with Elsewhere() as server:

        def open_page(content: str, path: str = "/") -> Visitor:
            visitor = Visitor(browser, None, language="zh-CN")  # type: ignore[arg-type]  # no device: only a page
            visitors.append(visitor)
            visitor.page.goto(server.serve(f"{HEAD}<main><h1>好</h1>{content}</main>").rstrip("/") + path)
            return visitor

        yield open_page
        for visitor in visitors:
            visitor.problems.clear()
            visitor.close()


def test_a_good_page_passes(show: Callable[[str], Visitor]) -> None:
    """Nothing is found where nothing is wrong."""
    visitor = show(BUTTON)
    assert visitor.findings() == []
    assert len(visitor.walk()) == 1
    assert visitor.problems == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('<img src="data:,">', "axe: image-alt"),
        ('<p style="color:#999;background:#aaa">看不清的字</p>', "axe: color-contrast"),
        ('<p style="width:900px">太宽了</p>', "wider than the window"),
        ('<button style="height:12px;padding:0">好</button>', "small target"),
        ("<p>nobody translated this sentence</p>", "not Chinese: nobody"),
        ('<button aria-label="close this">关闭</button>', "not Chinese: aria-label"),
    ],
)
def test_a_defect_is_found(show: Callable[[str], Visitor], content: str, found: str) -> None:
    """Each on a page of its own."""
    findings = show(content).findings()
    assert any(what.startswith(found) for what in findings), findings


@pytest.mark.parametrize(
    ("content", "path", "found"),
    [
        ("<script>console.error('oh')</script>", "/", "console: oh"),
        ("<script>throw new Error('oh')</script>", "/", "script: "),
        ('<img src="http://example.org/x.png" alt="好">', "/", "asked for http://example.org/x.png"),
        ("", "/missing", "404 from GET"),
    ],
)
def test_what_happens_by_itself_is_noticed(show: Callable[..., Visitor], content: str, path: str, found: str) -> None:
    """Errors of scripts, requests to elsewhere, refusals."""
    problems = show(content, path).problems
    assert any(problem.startswith(found) for problem in problems), problems


@pytest.mark.parametrize(
    "content",
    [
        BUTTON.replace('style="', 'style="outline:none;'),
        BUTTON + '<button tabindex="1" style="min-height:44px;min-width:44px">先</button>',
    ],
)
def test_a_walk_with_the_keyboard_finds_what_is_wrong(show: Callable[[str], Visitor], content: str) -> None:
    """A focus that nobody sees, and an order that is not the reading order."""
    visitor = show(content)
    with pytest.raises(AssertionError):
        visitor.walk()
