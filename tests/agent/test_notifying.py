"""The supervisor's channels: each notice once; a hook that fails hurts nobody; hostile texts steer nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.agent.test_short_command import script

from modelota.agent import notifying
from modelota.agent.config import Access, NotificationSettings
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.notifying import HOOK_QUEUE_MAX, Channels
from modelota.i18n import Language
from modelota.spec.api_owner import Notice
from modelota.testing.clock import ManualClock

AT = "2026-11-24T06:00:00Z"
NASTY = {"en": "Fixes\x1b]0;owned\x07 <b>units</b>\r\n\x1b[31mred\u202egnp.exe & more", "zh-CN": "修正\x1b[2J"}


def notice(number: int = 1, **facts: Any) -> Notice:
    """The notice of an offer."""
    about = {
        "direction": "update",
        "kind": "fix",
        "mode": "full",
        "planned_bytes": 38_000_000,
        "full_bytes": 38_000_000,
    }
    return Notice(
        id=number,
        key=f"offer {number}",
        kind="offer",
        model="acme/assistant",
        at=AT,
        due_at=AT,
        version="1.1.2",
        facts={**about, "notes": {"en": "Fixes units."}, "title": {"en": "Assistant"}, **facts},
    )


class Told:
    """Channels at work, and what they said in the log."""

    def __init__(self, place: Path, language: Language = "en", **settings: Any) -> None:
        clock = ManualClock()
        self.journal = Journal(place / "agent.db", clock)
        self.hub = Hub(clock)
        self.log: list[str] = []
        self.channels = Channels(
            NotificationSettings(**settings), Access(), self.hub, self.journal, language, log=self._logged
        )
        self.logged = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def _logged(self, line: str) -> None:
        self.log.append(line)
        self.logged.set()

    def begin(self) -> None:
        """Serve the hook."""
        self.task = asyncio.create_task(self.channels.serve_hook())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; the hook's end is seen by looking."""
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110  another process has no event to wait for
                await asyncio.sleep(0.01)

    async def aclose(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.journal.close()


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncIterator[Callable[..., Told]]:
    found: list[Told] = []

    def make(**settings: Any) -> Told:
        found.append(Told(tmp_path, **settings))
        return found[-1]

    yield make
    for told in found:
        await told.aclose()


async def test_stream_log_and_journal(made: Callable[..., Told]) -> None:
    """Every notice is an event, a line and an entry, whatever else is set."""
    told = made()
    told.channels.announce(notice())
    (event,) = told.hub._events
    assert (event.kind, event.model) == ("notification", "acme/assistant")
    assert msgspec.convert(event.data, Notice) == notice()
    assert told.log == [
        "[offer 1] Assistant 1.1.2 is available · Fixes units · 38 MB to download (full package) · time unknown"
    ]
    (entry,) = told.journal.log(None, 0, 10)
    assert (entry.event, entry.facts["id"]) == ("notified", 1)


async def test_hostile_texts_stay_on_their_line(made: Callable[..., Told], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a publisher wrote forges no second line of a log and moves no terminal's cursor."""
    told = made(terminal=True)
    lines: list[str] = []
    monkeypatch.setattr(notifying, "tell_terminals", lambda line, _: lines.append(line))
    told.channels.announce(notice(notes=NASTY, title={"en": "Assi\nstant\x9b31m"}))
    for line in (*told.log, *lines):
        assert not set("\x1b\x07\r\n\x9b\u202e") & set(line)
        assert "<b>units</b>" in line  # markup is nothing special on a terminal


async def test_the_hook_gets_each_notice(made: Callable[..., Told], tmp_path: Path) -> None:
    """One after another, as JSON on standard input with what to show, and the language."""
    out = tmp_path / "out"
    told = made(language="zh-CN", hook=(script(tmp_path, f'echo "$MODELOTA_LANG $1" >> {out}; cat >> {out}'), "word"))
    told.begin()
    for number in (1, 2):
        told.channels.announce(notice(number))
    await told.until(lambda: out.exists() and len(out.read_text().splitlines()) == 4)
    lines = out.read_text().splitlines()
    assert lines[::2] == ["zh-CN word"] * 2
    got = [json.loads(line) for line in lines[1::2]]
    assert [entry["notice"]["id"] for entry in got] == [1, 2]
    assert got[0]["notice"]["path"] == "/"
    assert got[0]["title"] == "Assistant 1.1.2 可更新"
    assert got[0]["language"] == "zh-CN"
    assert got[0]["action"]
    assert len(told.log) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 3", "status 3"),
        ("kill -9 $$", "status -9"),
        ("sleep 300", "timeout"),
        ("head -c 1000000 /dev/urandom; exit 1", "status 1"),
    ],
)
async def test_a_hook_that_fails_is_told_once(
    made: Callable[..., Told], tmp_path: Path, body: str, reason: str
) -> None:
    """Whatever it does, the next notice is tried, the log says it once, and once that it works again."""
    switch, count = tmp_path / "switch", tmp_path / "count"
    told = made(hook=(script(tmp_path, f"echo . >> {count}; [ -e {switch} ] && exit 0\n{body}"),), hook_timeout_s=1)
    told.begin()
    for number in (1, 2):
        told.channels.announce(notice(number))
    await told.until(lambda: count.exists() and len(count.read_text().split()) == 2 and told.channels._for_hook.empty())
    switch.touch()
    told.channels.announce(notice(3))
    await told.until(lambda: any("works again" in line for line in told.log))
    said = [line for line in told.log if "hook" in line]
    assert said == [f"The notification hook did not succeed ({reason}).", "The notification hook works again."]


@pytest.mark.parametrize("hook", [("/nowhere/hook",), ("/etc/passwd",), ("a\0b",)])
async def test_a_hook_that_cannot_be_started(made: Callable[..., Told], hook: tuple[str, ...]) -> None:
    """It is a line in the log, and the other channels work."""
    told = made(hook=hook)
    told.begin()
    told.channels.announce(notice())
    await told.until(lambda: len(told.log) == 2)
    assert told.log[1].startswith("The notification hook did not succeed (")
    assert len(told.hub._events) == 1


async def test_a_hook_that_hangs_fills_no_memory(made: Callable[..., Told]) -> None:
    """While nothing takes notices for the hook, the queue stays bounded and everything else goes on."""
    told = made(hook=("sleep", "300"))
    for number in range(HOOK_QUEUE_MAX + 50):
        told.channels.announce(notice(number))
    assert told.channels._for_hook.qsize() == HOOK_QUEUE_MAX
    assert len([line for line in told.log if "hook" in line]) == 1
    assert len(told.hub._events) == HOOK_QUEUE_MAX + 50
