"""`modelota device` at a terminal: state, offer and progress as they change, answers by key (requirement 5.3-b)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import typer

from modelota.cli import agent_access
from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.device_status import tell_status
from modelota.cli.failure import STOPPED_STATUS, Reported
from modelota.cli.full_screen import FullScreen, Line, Size
from modelota.cli.options import Root, device_root
from modelota.cli.question import can_ask
from modelota.cli.session import Session, current
from modelota.cli.tree import tell_commands
from modelota.cli.view_feed import Feed
from modelota.cli.view_keys import (
    about_cancelling,
    about_going_back,
    about_offer,
    answered,
    decision,
    found,
    keys_of,
    revocable,
)
from modelota.cli.view_screen import (
    WARN,
    Action,
    Page,
    Question,
    Scene,
    Told,
    at_rest,
    body_rows,
    error_told,
    notices_of,
    page_rows,
    paint,
)
from modelota.errors import ModelotaError
from modelota.i18n.errors import render_error
from modelota.i18n.offer import render_offer
from modelota.i18n.texts import mark
from modelota.spec import api, api_owner

_PAINT_EVERY_S: Final = 0.05


def add_to(app: typer.Typer) -> None:
    """Have `app`, called without a command, show the view."""
    summary = mark("Update and operate models on this device. At a terminal, without a command: a live view.")
    app.callback(invoke_without_command=True, help=summary)(overview)


def overview(context: typer.Context, root: Root = None) -> None:
    """Without a command: the view, for a person at a terminal; the help for everybody else."""
    if context.invoked_subcommand is not None:
        if root is not None:  # of the command that follows, unless that names another
            os.environ["MODELOTA_ROOT"] = str(root.absolute())
    elif can_view(current()):
        status = asyncio.run(view(device_root(root)))
        if status:
            raise typer.Exit(status)
    else:
        tell_commands(context)


def can_view(session: Session) -> bool:
    """Whether a person sits at a terminal that can be painted on."""
    return can_ask(session) and os.environ.get("TERM", "dumb") not in {"", "dumb"}


async def view(root: Path) -> int:
    """Show the device until its user leaves; without a running agent, show its state once.

    Returns:
        0; 128 and the number of the signal that ended it.
    """
    session = current()
    async with agent_access.open_access(root) as access:
        status = await ask(access, api.Status, "GET", "/v1/status")
        if not access.embedded:
            return await View(access, session, status).run()
    tell_status(session, status)
    session.line()
    session.say("The agent does not run, so nothing is looked for and nothing is told by itself.")
    session.say("“modelota device run” starts it; “modelota device update” looks for a new version now.")
    return 0


class View:
    """The live view of one device.

    Args:
        access: the running agent.
        session: of this run.
        status: of the device just now.
    """

    def __init__(self, access: AgentAccess, session: Session, status: api.Status) -> None:
        self._access = access
        self._session = session
        self._texts = session.texts
        self.scene = Scene(status, session.language)
        self._changed = asyncio.Event()  # what is shown has to be painted again
        self._feed = Feed(access, self.scene, self._renewed, self._changed.set)
        self._ended: int | None = None
        self._acting: asyncio.Task[None] | None = None
        self._shown: asyncio.Task[None] | None = None
        self._screen: FullScreen | None = None

    async def run(self) -> int:
        """Show it until the user leaves or a signal comes; returns the exit status."""
        tasks = [asyncio.create_task(work) for work in (self._feed.follow(), self._feed.read())]
        try:
            with FullScreen(self.press, self._end, self._expose) as screen:
                self._screen = screen
                self._changed.set()
                await self._paint_until_ended(screen, tasks)
        finally:
            self._screen = None
            tasks += [task for task in (self._acting, self._shown) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._leave()

    async def _paint_until_ended(self, screen: FullScreen, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.add_done_callback(lambda _: self._changed.set())
        while self._ended is None:
            await self._changed.wait()
            self._changed.clear()
            for task in tasks:
                if task.done():
                    task.result()  # it only ends by an error that it can do nothing about
            screen.paint(self._painted(screen.size()))
            await asyncio.sleep(_PAINT_EVERY_S)  # events in a burst are painted together

    def _painted(self, size: Size) -> list[Line]:
        """The screen; what can be done is told after what was seen, which may be the end of what is asked about."""
        self.scene.keys = keys_of(self.scene, self._texts)
        paint(self.scene, size)
        self.scene.keys = keys_of(self.scene, self._texts)
        return paint(self.scene, size)

    def _leave(self) -> int:
        self._session.reported = True
        running = [model for model in self.scene.status.models if not at_rest(model)]
        if running and self._ended in {0, STOPPED_STATUS} and self.scene.connected:
            waits = any(model.paused for model in running)
            told = render_error("cancelled-by-user", {}, self._session.language, "paused" if waits else "continuing")
            self._session.line(told.now)
        return self._ended or 0

    def _end(self, number: int) -> None:
        self._ended = 128 + number if number else 0
        self._changed.set()

    def _expose(self) -> None:
        if self._screen is not None:
            self._screen.forget()
        self._changed.set()

    def _renewed(self) -> None:
        """What was asked about, or looked at, may not be there any more."""
        scene = self.scene
        model, asked = scene.model, scene.question
        offered = model.offer.digest if model is not None and model.offer is not None else None
        if asked is not None and asked.offer is not None and asked.offer.digest != offered:
            self._to("overview")
            scene.told = Told((self._texts.say("The offer has changed meanwhile. Nothing was decided."),), WARN)
        elif scene.page == "offer" and offered is None:
            self._to("overview")

    # -- what the person wants ---------------------------------------------------------------------------------------

    def press(self, key: str) -> None:
        """Do what a key means now."""
        scene = self.scene
        self._changed.set()
        if key == "redraw":
            self._expose()
        elif key == "" or (key == "q" and scene.page != "question"):
            self._ended = 0
        elif not self._moved(key):
            if scene.page == "question":
                self._answer(key)
            else:
                self._act(key)

    def _moved(self, key: str) -> bool:
        scene, rows = self.scene, page_rows(self._size())
        steps = {"up": -1, "down": 1, "k": -1, "j": 1, "page-up": -rows, "page-down": rows, "home": -(1 << 20)}
        if key == "end":
            scene.top = body_rows(scene, self._size().columns)
        elif key in steps:
            scene.top = max(0, scene.top + steps[key])
        return key in steps or key == "end"

    def _answer(self, key: str) -> None:
        """Take the answer to a question; yes only counts once the end of what it is about was on the screen."""
        scene, question = self.scene, self.scene.question
        if question is None or key in {"n", "q", "escape"}:
            self._to("overview")
        elif key == "y" and not scene.seen:
            scene.top += page_rows(self._size())
        elif key == "y" and question.long and not question.although_long:
            sentence = self._texts.say("This takes longer than five minutes. Go back all the same?")
            self._ask(question._replace(sentence=sentence, although_long=True))
        elif key == "y":
            self._to("overview")
            self._run(self._texts.say("Telling the agent …"), self._carry_out(question))

    def _act(self, key: str) -> None:
        scene, model = self.scene, self.scene.model
        if key == "escape" or (key == "?" and scene.page == "help") or (key == "d" and scene.page == "offer"):
            self._to("overview")
        elif key == "?":
            self._to("help")
        elif key == "tab" or (len(key) == 1 and key in "123456789"):
            self._select(scene.selected + 1 if key == "tab" else int(key) - 1)
        elif model is not None and any(each.key == key for each in scene.keys):
            scene.told = None
            acts: dict[str, Callable[[api.ModelStatus], None]] = {
                "u": lambda model: self._ask_about_offer("accept", model),
                "t": lambda model: self._ask_about_offer("tonight", model),
                "l": self._later,
                "s": lambda model: self._ask_about_offer("skip", model),
                "d": self._details,
                "p": lambda model: self._control("pause", model),
                "r": lambda model: self._control("resume", model),
                "c": self._ask_cancel,
                "b": self._ask_back,
                "z": lambda model: self._run(self._texts.say("Telling the agent …"), self._take_back(model)),
                "n": lambda model: self._run(self._texts.say("Looking for a new version …"), self._check(model)),
                "x": lambda model: self._run(self._texts.say("Telling the agent …"), self._dismiss(model)),
            }
            if key in acts:
                acts[key](model)

    def _select(self, index: int) -> None:
        count = len(self.scene.status.models)
        if self.scene.page == "overview" and (index == count or 0 <= index < count):
            self.scene.selected = index % count
            self._to("overview")
            self._feed.stale()

    def _to(self, page: Page) -> None:
        scene = self.scene
        scene.page, scene.top, scene.seen, scene.told = page, 0, False, None
        if page != "question":
            scene.question = None
        self._changed.set()

    def _ask(self, question: Question) -> None:
        self._to("question")
        self.scene.question = question
        if self._screen is not None:
            self._screen.drop_typed()

    def _ask_about_offer(self, action: Action, model: api.ModelStatus) -> None:
        if model.offer is not None:
            self._shown = asyncio.create_task(self._declare_shown(model.offer))
            self._ask(about_offer(action, model, model.offer, self._texts))

    def _ask_cancel(self, model: api.ModelStatus) -> None:
        self._ask(about_cancelling(model, self._texts))

    def _ask_back(self, model: api.ModelStatus) -> None:
        self._ask(about_going_back(model, self._texts))

    def _later(self, model: api.ModelStatus) -> None:
        """“Later” loses nothing, so it is only asked about when nobody has been shown the offer yet."""
        if model.offer is not None and model.offer.shown_at is None:
            self._ask_about_offer("later", model)
        elif model.offer is not None:
            question = about_offer("later", model, model.offer, self._texts)
            self._run(self._texts.say("Telling the agent …"), self._carry_out(question))

    def _details(self, model: api.ModelStatus) -> None:
        if model.offer is not None:
            self._to("offer")
            self._shown = asyncio.create_task(self._declare_shown(model.offer))

    def _size(self) -> Size:
        return self._screen.size() if self._screen is not None else Size(80, 24)

    # -- what is asked of the agent ----------------------------------------------------------------------------------

    def _run(self, busy: str, work: Coroutine[Any, Any, Told | None]) -> None:
        """Have the agent do something and tell what came of it; one thing after the other."""
        if self.scene.busy:
            work.close()
            return
        self.scene.busy = busy
        self._acting = asyncio.create_task(self._tell_result(work))

    async def _tell_result(self, work: Awaitable[Told | None]) -> None:
        language = self._session.language
        try:
            self.scene.told = await work
        except Reported as reported:
            error = reported.error
            self.scene.told = error_told(
                render_error(error.code, error.params, language, reported.now, reported.now_params)
            )
        except ModelotaError as error:
            self.scene.told = error_told(render_error(error.code, error.params, language, "unknown"))
        finally:
            self.scene.busy = ""
            self.scene.top = 0
            self._feed.stale()
            self._changed.set()

    async def _declare_shown(self, view: api.OfferView) -> None:
        """Have it journalled that the whole text of the offer was on the screen."""
        language = self._session.language
        text = render_offer(view, language, title=view.title.get(language))
        request = api.ShownRequest(offer_digest=view.digest, language=language, text=text, channel="terminal")
        await self._access.request("POST", "/v1/shown", request)

    async def _carry_out(self, question: Question) -> Told | None:
        if question.action == "cancel":
            await self._ask_control("cancel", question.model)
            return None
        if question.action == "back":
            return await self._go_back(question)
        if question.offer is None:
            return None
        if self._shown is not None:
            await self._shown
        request = decision(question, datetime.now(UTC))
        status = await ask(self._access, api.ModelStatus, "POST", "/v1/decisions", request)
        return answered(question, status, self._texts)

    def _control(self, action: Literal["pause", "resume"], model: api.ModelStatus) -> None:
        self._run(self._texts.say("Telling the agent …"), self._ask_control(action, model.model))

    async def _ask_control(self, action: Literal["pause", "resume", "cancel"], model: str) -> None:
        await self._access.request("POST", f"/v1/{action}", api.ControlRequest(model=model))

    async def _go_back(self, question: Question) -> Told | None:
        request = api.RollbackRequest(model=question.model, version=question.version, channel="terminal")
        result = await ask(self._access, api.RollbackResult, "POST", "/v1/rollback", request)
        if result.warning is None:
            return None  # it goes back now, or the state shows an offer to answer
        return error_told(render_error(result.warning.code, result.warning.params, self._session.language))

    async def _check(self, model: api.ModelStatus) -> Told | None:
        request = api.CheckRequest(model=model.model)
        results = await ask(self._access, tuple[api.CheckResult, ...], "POST", "/v1/check", request)
        return found(results, self._texts)

    async def _take_back(self, model: api.ModelStatus) -> Told | None:
        answer = revocable(model)
        if answer is None:
            return None
        await self._access.request("DELETE", f"/v1/decisions/{answer.id}", None, {"channel": "terminal"})
        return Told((self._texts.say("Your answer about version {version} is taken back.", version=answer.to_version),))

    async def _dismiss(self, model: api.ModelStatus) -> Told | None:
        request = api_owner.NoticeTold(channel="terminal", dismiss=True)
        for notice in notices_of(self.scene.notices, model):
            await self._access.request("POST", f"/v1/notices/{notice.id}", request)
        return None
