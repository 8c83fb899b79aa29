"""The terminal view on a real pseudo-terminal: it shows, asks before what matters, and gives the terminal back."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Run
from tests.cli.fake_agent import FakeAgent, event, model_status, offer_view, outcome
from tests.cli.pseudo_terminal import Terminal, serving

from modelota.errors import AskPerson
from modelota.i18n.offer import render_offer
from modelota.spec import api

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"
CURSOR = "\x1b[?25h"
COLOUR = re.compile("\x1b\\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])(?:;[0-9;]*)?m")


@pytest.fixture
def root() -> Iterator[Path]:
    """A device root whose agent's socket has a short name."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name)


@pytest.fixture
def offering() -> FakeAgent:
    """An agent with an offer that nobody has seen."""
    return FakeAgent(model_status(phase="offered", offer=offer_view()))


def view(root: Path, *words: str, size: tuple[int, int] = (80, 40), **environment: str) -> Terminal:
    """The view in a terminal of its own."""
    return Terminal("device", "--root", str(root), *words, size=size, environment=environment)


def given_back(terminal: Terminal) -> bool:
    """Whether screen, cursor and modes are those of before."""
    ends = [terminal.raw.rfind(text) for text in (NORMAL, CURSOR, "\x1b[?2004l")]
    return terminal.restored and min(ends) > terminal.raw.rfind(ALTERNATE)


async def test_looking_decides_and_declares_nothing(root: Path, offering: FakeAgent) -> None:
    """State and headline are shown; leaving gives the terminal back, and the agent was asked for nothing else."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("acme/assistant 1.1.2 is available")
        await terminal.expect("[u] update now")
        assert not terminal.restored
        terminal.type("\n y z p r c ")  # nothing of this means anything now
        terminal.type("q")
        assert await terminal.end() == 0
        assert given_back(terminal)
    assert {method for method, _, _ in offering.asked} == {"GET"}


async def test_accepting_shows_the_whole_offer_first(root: Path, offering: FakeAgent) -> None:
    """The whole text is declared shown; yes only counts once its end was on the screen, however small that is."""
    async with serving(offering, root), view(root, size=(60, 20)) as terminal:
        await terminal.expect("[u] update now")
        terminal.type("u")
        await terminal.expect("read to the end")
        terminal.type("y")  # turns the page
        await terminal.expect("[y] yes, now")
        assert offering.posted("/v1/decisions") == []
        terminal.type("y")
        while not offering.posted("/v1/decisions"):
            offering.was_asked.clear()
            await offering.was_asked.wait()
        terminal.type("q")
        assert await terminal.end() == 0
    (shown,) = offering.posted("/v1/shown")
    assert shown.text == render_offer(offer_view(), "en", title=None)
    assert (shown.channel, shown.language) == ("terminal", "en")
    (decision,) = offering.posted("/v1/decisions")
    assert (decision.answer, decision.channel, decision.offer_digest) == ("accept", "terminal", offer_view().digest)
    asked = [path for _, path, _ in offering.asked]
    assert asked.index("/v1/shown") < asked.index("/v1/decisions")


async def test_opening_the_details_counts_as_shown(root: Path, offering: FakeAgent) -> None:
    """The whole text of the offer is on the screen, and declared shown; nothing is decided by it."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[d] details")
        terminal.type("d")
        await terminal.answered(offer_view().digest)
        while not offering.posted("/v1/shown"):
            offering.was_asked.clear()
            await offering.was_asked.wait()
        terminal.type("d")
        await terminal.answered("[d] details")
        terminal.type("q")
        assert await terminal.end() == 0
    assert [shown.offer_digest for shown in offering.posted("/v1/shown")] == [offer_view().digest]
    assert offering.posted("/v1/decisions") == []


async def test_tonight_in_chinese(root: Path, offering: FakeAgent) -> None:
    """Tonight waits for external power, and not before the evening."""
    async with serving(offering, root), view(root, "--lang", "zh", TZ="UTC") as terminal:
        await terminal.expect("[t] 今晚充电时")
        terminal.type("t")
        await terminal.expect("[y] 是，今晚")
        terminal.type("y")
        while not offering.posted("/v1/decisions"):
            offering.was_asked.clear()
            await offering.was_asked.wait()
        terminal.type("q")
        assert await terminal.end() == 0
    (decision,) = offering.posted("/v1/decisions")
    assert decision.conditions == ("charging",)
    assert decision.not_before is None or decision.not_before.endswith("T22:00:00Z")


async def test_no_is_no(root: Path, offering: FakeAgent) -> None:
    """Escape, n and q at a question lead back; nothing is decided."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[u] update now")
        for key in ("n", "q", "\x1b"):
            terminal.type("s")
            await terminal.answered("Skip version 1.1.2")
            terminal.type(key)
            await terminal.answered("[u] update now")
        terminal.type("q")
        assert await terminal.end() == 0
    assert offering.posted("/v1/decisions") == []


async def test_pasted_text_is_no_answer(root: Path, offering: FakeAgent) -> None:
    """Letters that are pasted press no key."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[u] update now")
        terminal.type("\x1b[200~uyyyy\x1b[201~")
        terminal.type("?")
        await terminal.expect("Update now: shows the whole offer and asks.")
        terminal.type("q")
        assert await terminal.end() == 0
    assert offering.posted("/v1/shown") == []
    assert offering.posted("/v1/decisions") == []


async def test_an_offer_that_changes_during_the_question(root: Path, offering: FakeAgent) -> None:
    """The question goes, the person is told, and nothing was decided."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[u] update now")
        terminal.type("u")
        await terminal.expect("[y] yes, now")
        other = offer_view(to_version="1.1.3")
        await offering.become(model_status(phase="offered", offer=other), event(7, "offer", {"digest": other.digest}))
        await terminal.expect("The offer has changed meanwhile. Nothing was decided.")
        await terminal.expect("acme/assistant 1.1.3 is available")
        terminal.type("yq")
        assert await terminal.end() == 0
    assert offering.posted("/v1/decisions") == []


async def test_progress_and_outcome_as_they_come(root: Path) -> None:
    """Events move the screen, and a failure has its three sentences."""
    agent = FakeAgent(model_status(phase="fetching", target_version="1.1.2"))
    async with serving(agent, root), view(root) as terminal:
        await terminal.expect("downloading (version 1.1.2)")
        progress = api.Progress(step="fetching", done=19_000_000, total=38_000_000, rate_per_s=1e6, left_s=120.0)
        moved = model_status(phase="fetching", target_version="1.1.2", progress=progress)
        await agent.become(moved, event(1, "progress", progress))
        await terminal.expect("19 MB of 38 MB (50 %) · 1.0 MB/s · about 2 minutes left")
        now = {"now": "serving", "now_params": {"version": "1.1.1"}}
        error = api.ErrorBody(code="self-test-failed", params={"test": "units"}, **now)
        failed = outcome("failed", error=error)
        await agent.become(model_status(last_outcome=failed), event(2, "outcome", failed))
        await terminal.expect("The update to 1.1.2 did not succeed.")
        await terminal.expect("Version 1.1.1 stays in use and works as before.")
        await terminal.expect("[self-test-failed]")
        terminal.type("q")
        assert await terminal.end() == 0


async def test_leaving_an_update(root: Path) -> None:
    """Who leaves is told that the update goes on."""
    agent = FakeAgent(model_status(phase="fetching", target_version="1.1.2"))
    async with serving(agent, root), view(root) as terminal:
        await terminal.expect("[p] pause")
        terminal.type("q")
        assert await terminal.end() == 0
        await terminal.expect("The update goes on in the background.")
    assert agent.posted("/v1/pause") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_signals_give_the_terminal_back(root: Path, offering: FakeAgent, number: signal.Signals) -> None:
    """Whatever ends it, the terminal is as before and the status says which signal."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[u] update now")
        terminal.process.send_signal(number)
        assert await terminal.end() == 128 + number
        assert "Traceback" not in terminal.text
        assert given_back(terminal)


async def test_stopped_and_continued(root: Path, offering: FakeAgent) -> None:
    """^Z gives the terminal to the shell, and fg takes it again."""
    script = '"$@"; echo stopped $?; fg; echo ended $?'
    shell = (shutil.which("bash") or "bash", "-mc", script, "view", sys.executable, "-m", "modelota.cli.main")
    words = ("device", "--root", str(root))
    async with serving(offering, root), Terminal(*words, command=shell, size=(80, 40)) as terminal:
        await terminal.expect("[u] update now")
        terminal.type("\x1a")
        await terminal.expect("stopped 148")
        await terminal.expect("[u] update now", 2)
        terminal.type("q")
        await terminal.expect("ended 0")
        assert await terminal.end() == 0
        assert given_back(terminal)


async def test_resizing(root: Path, offering: FakeAgent) -> None:
    """A terminal that gets another size is painted anew, in that size."""
    async with serving(offering, root), view(root, size=(100, 30)) as terminal:
        await terminal.expect("[?] help")
        before = len(terminal.text)
        terminal.resize(40, 12)
        await terminal.answered("[?] help")
        painted = terminal.text[before:]
        assert max(len(line) for line in painted.splitlines()) <= 40
        terminal.type("q")
        assert await terminal.end() == 0


async def test_without_colour(root: Path, offering: FakeAgent) -> None:
    """NO_COLOR (no-color.org) is respected; otherwise a failure is coloured."""
    offering.models = (model_status(last_outcome=outcome("failed")),)
    for environment, coloured in (({"NO_COLOR": "1"}, False), ({}, True)):
        async with serving(offering, root), view(root, **environment) as terminal:
            await terminal.expect("did not succeed")
            terminal.type("q")
            assert await terminal.end() == 0
        assert bool(COLOUR.search(terminal.raw)) is coloured


async def test_two_models(root: Path) -> None:
    """Tab and numbers choose the model that the keys are about."""
    other = model_status(phase="fetching", target_version="2.1.1")
    agent = FakeAgent(model_status(), msgspec.structs.replace(other, model="acme/other"))
    async with serving(agent, root), view(root) as terminal:
        await terminal.expect("[1] acme/assistant")
        await terminal.expect("nothing under way")
        terminal.type("\t")
        await terminal.answered("[2] acme/other")
        await terminal.answered("downloading (version 2.1.1)")
        terminal.type("p")
        while not agent.posted("/v1/pause"):
            agent.was_asked.clear()
            await agent.was_asked.wait()
        terminal.type("1")
        await terminal.answered("[1] acme/assistant")
        terminal.type("q")
        assert await terminal.end() == 0
    assert [body.model for body in agent.posted("/v1/pause")] == ["acme/other"]


async def test_a_refusal_is_told_in_three_sentences(root: Path, offering: FakeAgent) -> None:
    """What the agent refuses is told on the screen, with its code, and the view goes on."""
    offering.errors["/v1/decisions"] = (
        AskPerson("offer-changed", digest="0", now="1"),
        "serving",
        {"version": "1.1.1"},
    )
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[u] update now")
        terminal.type("u")
        await terminal.answered("[y] yes, now")
        terminal.type("y")
        await terminal.answered("[offer-changed]")
        await terminal.answered("[u] update now")
        terminal.type("q")
        assert await terminal.end() == 0


async def test_an_agent_that_restarts(root: Path, offering: FakeAgent) -> None:
    """While the agent is away the view says so; once it is back, it shows how things are now."""
    async with view(root) as terminal:
        async with serving(offering, root):
            pass
        assert await terminal.end() != 0  # nothing to begin with: told in the ordinary way
    async with serving(offering, root):
        terminal = view(root)
        await terminal.__aenter__()
        await terminal.expect("[u] update now")
        await asyncio.gather(offering.rested.wait(), offering.listened.wait())
    try:
        await terminal.expect("no connection to the agent, trying again")
        offering.models = (model_status(active_version="1.1.9"),)
        async with serving(offering, root):
            await terminal.expect("1.1.9 (variant q8)")
            terminal.type("q")
            assert await terminal.end() == 0
    finally:
        await terminal.__aexit__()


async def test_it_rests_while_nothing_happens(root: Path, offering: FakeAgent) -> None:
    """Without events nothing is asked of the agent and nothing is painted."""
    async with serving(offering, root), view(root) as terminal:
        await terminal.expect("[?] help")
        await asyncio.wait_for(offering.rested.wait(), 60)
        asked, painted = len(offering.asked), len(terminal.text)
        terminal.type("\x0c")  # paints anew, without asking
        await terminal.answered("[?] help")
        assert len(offering.asked) == asked
        assert len(terminal.text) > painted
        terminal.type("q")
        assert await terminal.end() == 0


def test_without_a_terminal_it_is_the_help(run: Run, agent: FakeAgent) -> None:
    """In a pipe the commands are listed, with the status of a question; a program gets an error."""
    ran = run("device")
    assert ran.status == 64
    assert "Commands:" in ran.out
    assert run("device", "--json").json["error"]["code"] == "argument-invalid"
    assert agent.asked == []


async def test_without_a_running_agent_it_is_the_status(root: Path) -> None:
    """A device that is not set up is told of in the ordinary way, and the terminal stays as it is."""
    async with view(root) as terminal:
        assert await terminal.end() == 64
        await terminal.expect("not-enrolled")
        assert ALTERNATE not in terminal.raw
