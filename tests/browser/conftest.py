"""One browser and one device per module; every window is looked at when it closes, and told of when a test fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.home import Home
from tests.browser.visitor import Visitor, chromium, provision

_VISITORS = pytest.StashKey[list[Visitor]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says what its windows showed."""
    report = yield
    if report.when == "call" and report.failed:
        for visitor in item.stash.get(_VISITORS, []):
            report.sections.append(("a window", visitor.told()))
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one, nothing here can run."""
    script = provision()
    if script.find() is None:
        pytest.skip(script.REMEDY)
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A device with a version in use, at a repository that can publish more; its engine is the scripted one."""
    with Home(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visitor]]:
    """Makes windows (the arguments of `Visitor` after the browser); what they noticed fails the test."""
    made = request.node.stash.setdefault(_VISITORS, [])

    def make(*arguments: Any, **options: Any) -> Visitor:
        made.append(Visitor(browser, *arguments, **options))
        return made[-1]

    yield make
    for visitor in made:
        visitor.close()
