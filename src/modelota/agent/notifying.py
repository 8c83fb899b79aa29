"""The channels through which notices go out of the supervisor: event stream, log, terminals, the host's hook.

Each gets a notice once. None of them can hold up the others or the agent; what a channel does not take is told in the
log, once until it works again. Desktop notifications have a process of their own (`agent.desktop`).
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from modelota.agent.access import rights_of
from modelota.agent.config import Access, NotificationSettings
from modelota.agent.core import Core
from modelota.agent.desktop_child import keep_notifier
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.short_command import Ended, run_briefly
from modelota.agent.terminals import tell_terminals
from modelota.i18n import Language, pick_language
from modelota.i18n.notices import render_notice
from modelota.i18n.texts import clean, texts_for
from modelota.runtime.messages import PeerCredentials
from modelota.spec.api_owner import Notice

HOOK_QUEUE_MAX: Final = 100  # notices that wait for the hook; a host that is that far behind asks for what stands


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the hook gets on standard input: the notice, and how it reads in the agent's language."""

    notice: Notice
    language: Language
    title: str
    body: str
    action: str


class Channels:
    """The supervisor's channels.

    Args:
        settings: which of them are wanted.
        access: who may see.
        hub: the event stream.
        journal: keeps that a notice went out.
        language: of the log, the terminals and the hook.
        log: writes a line to the log.
    """

    def __init__(
        self,
        settings: NotificationSettings,
        access: Access,
        hub: Hub,
        journal: Journal,
        language: Language,
        *,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._access = access
        self._hub = hub
        self._journal = journal
        self._language = language
        self._texts = texts_for(language)
        self._log = log or _to_standard_error
        self._for_hook: asyncio.Queue[Notice] = asyncio.Queue(HOOK_QUEUE_MAX)
        self._hook_failed: str | None = None

    def announce(self, notice: Notice) -> None:
        """Send a notice through every channel.

        Raises:
            ModelotaError: the database can't be written; the notice went out all the same.
        """
        rendered = render_notice(notice, self._language)
        self._hub.publish("notification", notice.model, msgspec.to_builtins(notice))
        self._log(clean(f"[{notice.kind} {notice.id}] {rendered.line}", lines=True))
        if self._settings.terminal:
            tell_terminals(f"modelota: {rendered.line}", self._may_see)
        if self._settings.hook:
            try:
                self._for_hook.put_nowait(notice)
            except asyncio.QueueFull:
                self._hook_ended(Ended(None, reason="too many notices wait for it"))
        self._journal.note(notice.model, "notified", {"id": notice.id, "kind": notice.kind, "key": notice.key})

    def _may_see(self, uid: int) -> bool:
        try:
            group = pwd.getpwuid(uid).pw_gid
        except KeyError:
            return False
        return "see" in rights_of(PeerCredentials(pid=0, uid=uid, gid=group), self._access)

    async def serve_hook(self) -> None:
        """Run the hook for one notice after another. Ends only by being cancelled."""
        while True:
            notice = await self._for_hook.get()
            rendered = render_notice(notice, self._language)
            told = Told(
                notice=notice,
                language=self._language,
                title=rendered.title,
                body=rendered.body,
                action=rendered.action,
            )
            ended = await run_briefly(
                self._settings.hook,
                timeout_s=self._settings.hook_timeout_s,
                data=msgspec.json.encode(told) + b"\n",
                environ={"MODELOTA_LANG": self._language},
            )
            self._hook_ended(ended)

    def _hook_ended(self, ended: Ended) -> None:
        """Say in the log that the hook fails, once, and that it works again."""
        failed = None if ended.status == 0 else ended.reason or f"status {ended.status}"
        if failed is not None and self._hook_failed is None:
            self._log(self._texts.say("The notification hook did not succeed ({reason}).", reason=failed))
        elif failed is None and self._hook_failed is not None:
            self._log(self._texts.say("The notification hook works again."))
        self._hook_failed = failed


def notice_loops(core: Core) -> tuple[Callable[[], Awaitable[None]], ...]:
    """What a supervisor does about notices, as loops that end only by being cancelled."""
    settings, language = core.config.notifications, pick_language(None, os.environ)
    channels = Channels(settings, core.config.access, core.hub, core.journal, language)
    loops: list[Callable[[], Awaitable[None]]] = [partial(core.notices.run, channels.announce)]
    if settings.hook:
        loops.append(channels.serve_hook)
    if settings.desktop:
        loops.append(partial(keep_notifier, core.layout.root, language, core.clock))
    return tuple(loops)


def _to_standard_error(line: str) -> None:
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:  # nobody reads it any more
        return
