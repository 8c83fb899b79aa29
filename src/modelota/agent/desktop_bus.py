"""The desktop's notification service on the session bus (D-Bus; Desktop Notifications Specification 1.2).

A small client over jeepney, which does no more than a notifier needs: show, replace, close, and hear which button was
pressed, from the service that is there now and from nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.io.asyncio import DBusConnection, open_dbus_connection

from modelota.errors import AskPerson, TryLater

_BUS: Final = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
SERVICE: Final = "org.freedesktop.Notifications"
_NOTIFICATIONS: Final = DBusAddress("/org/freedesktop/Notifications", SERVICE, SERVICE)
_CALL_TIMEOUT_S: Final = 20.0  # the bus may have to start the service first
_DO_NOT_QUEUE: Final = 4  # D-Bus Specification, RequestName: DBUS_NAME_FLAG_DO_NOT_QUEUE
_OWNED: Final = frozenset({1, 4})  # DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER, …_ALREADY_OWNER
_SIGNALS: Final = (
    f"type='signal',sender='{SERVICE}',interface='{SERVICE}',path='/org/freedesktop/Notifications'",
    f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SERVICE}'",
)


class Shown(NamedTuple):
    """What is put on the screen.

    Attributes:
        title: one line of plain text.
        body: markup of the specification when the service takes it, else plain text.
        icon: a name of the Icon Naming Specification.
        actions: keys of buttons and what they say; `default` is a click on the notification itself.
        is_urgent: it stays until it is dismissed.
        replaces: a notification that this one takes the place of; 0: none.
    """

    title: str
    body: str
    icon: str
    actions: Mapping[str, str]
    is_urgent: bool = False
    replaces: int = 0


class DesktopBus:
    """A connection to a session bus. Made by `DesktopBus.connect`.

    Attributes:
        lost: set once the bus is gone: the session ended.
        service: unique name of the notification service on the bus; empty while there is none.
        invoked: called with a notification's number, the key of its button, and an activation token or an empty text.
        closed: called with the number of a notification that went from the screen.
        appeared: called when a notification service has come.
    """

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._id = ""
        self.service = ""  # unique name of the notification service, empty while there is none
        self._tokens: dict[int, str] = {}
        self._reader: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        self.invoked: Callable[[int, str, str], None] = lambda *_: None
        self.closed: Callable[[int], None] = lambda *_: None
        self.appeared: Callable[[], None] = lambda: None

    @classmethod
    async def connect(cls, address: str) -> DesktopBus:
        """Connect to the bus at `address` (D-Bus Specification, server addresses).

        Raises:
            AskPerson: `no-session-bus`.
        """
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                bus = cls(await open_dbus_connection(address))
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, StopIteration) as error:
            # jeepney's own errors of authentication are ValueErrors; a transport it does not have is a RuntimeError
            raise AskPerson("no-session-bus", detail=(str(error) or type(error).__name__)[:200]) from error
        bus._reader = asyncio.create_task(bus._read())
        for rule in _SIGNALS:
            await bus._call(_BUS, "AddMatch", "s", (rule,), "")
        (bus._id,) = await bus._call(_BUS, "GetId", "", (), "s")
        await bus._find_service()
        return bus

    @property
    def place(self) -> str:
        """What the numbers of notifications belong to: this notification service on this bus."""
        return f"{self._id} {self.service}"

    async def aclose(self) -> None:
        """Leave the bus."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        with suppress(OSError):  # the bus is gone already
            await self._connection.close()

    async def own(self, name: str) -> bool:
        """Take a name on the bus; False when somebody has it."""
        (reply,) = await self._call(_BUS, "RequestName", "su", (name, _DO_NOT_QUEUE), "u")
        return reply in _OWNED

    # -- notifications ----------------------------------------------------------------------------------------------

    async def capabilities(self) -> frozenset[str]:
        """What the service can do, such as `actions`, `body-markup`.

        Raises:
            TryLater: `peer-unreachable`: there is no service now; `peer-protocol`.
        """
        (names,) = await self._call(_NOTIFICATIONS, "GetCapabilities", "", (), "as")
        return frozenset(names)

    async def show(self, shown: Shown) -> int:
        """Show a notification; returns its number, by which it is replaced, closed and answered.

        Raises:
            TryLater: `peer-unreachable`: there is no service now, or it does not take it; `peer-protocol`.
        """
        hints = {
            "urgency": ("y", 2 if shown.is_urgent else 1),
            "category": ("s", "device"),
            "desktop-entry": ("s", "modelota-notify"),
        }
        actions = [text for pair in shown.actions.items() for text in pair]
        arguments = ("modelota", shown.replaces, shown.icon, shown.title, shown.body, actions, hints, -1)
        (number,) = await self._call(_NOTIFICATIONS, "Notify", "susssasa{sv}i", arguments, "u")
        return int(number)

    async def close(self, number: int) -> None:
        """Take a notification away; one that is gone already is fine."""
        try:
            await self._call(_NOTIFICATIONS, "CloseNotification", "u", (number,), "")
        except TryLater:  # the service went, and the notification with it
            return

    # -- messages ---------------------------------------------------------------------------------------------------

    async def _find_service(self) -> None:
        try:
            (owner,) = await self._call(_BUS, "GetNameOwner", "s", (SERVICE,), "s")
        except TryLater:  # nobody yet; a first notification starts it, or it comes by itself
            return
        self.service = str(owner)

    async def _call(
        self, to: DBusAddress, method: str, signature: str, arguments: tuple[Any, ...], answers: str
    ) -> tuple[Any, ...]:
        """Call a method whose answer has the signature `answers`.

        Raises:
            TryLater: `peer-unreachable`: nobody answers, or with an error; `peer-protocol`: with something else.
        """
        message = new_method_call(to, method, signature or None, arguments)
        serial = next(self._connection.outgoing_serial)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[serial] = reply
        if self.lost.is_set():
            reply.set_exception(EOFError())
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await self._connection.send(message, serial=serial)
                answer = await reply
        except (OSError, EOFError, TimeoutError) as error:
            raise TryLater("peer-unreachable", path=to.bus_name, detail=type(error).__name__) from error
        finally:
            del self._replies[serial]
        if answer.header.message_type is MessageType.error:
            name = str(answer.header.fields.get(HeaderFields.error_name))
            raise TryLater("peer-unreachable", path=to.bus_name, detail=name[:100])
        if answer.header.fields.get(HeaderFields.signature, "") != answers:
            raise TryLater("peer-protocol", path=to.bus_name, detail=f"another answer to {method}")
        return tuple(answer.body)

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._connection.receive())
        except (OSError, EOFError):
            pass
        finally:
            self.lost.set()
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(EOFError())

    def _take(self, message: Message) -> None:
        fields = message.header.fields
        if message.header.message_type in {MessageType.method_return, MessageType.error}:
            reply = self._replies.get(int(fields.get(HeaderFields.reply_serial, 0)))
            if reply is not None and not reply.done():
                reply.set_result(message)
        elif message.header.message_type is MessageType.signal:
            sender, member = str(fields.get(HeaderFields.sender)), str(fields.get(HeaderFields.member))
            # after whoever waits for a reply that came before it: a click may follow the showing at once
            asyncio.get_running_loop().call_soon(self._signalled, sender, member, tuple(message.body))

    def _signalled(self, sender: str, member: str, body: tuple[Any, ...]) -> None:
        """What a signal says. Anybody on the bus may send one to this connection: only the service's count."""
        match member, body:
            case "NameOwnerChanged", (str(name), str(), str(owner)) if (sender, name) == (_BUS.bus_name, SERVICE):
                self.service = owner
                if owner:
                    self.appeared()
            case "ActivationToken", (int(number), str(token)) if sender == self.service:
                self._tokens = {number: token}  # for the action that follows at once
            case "ActionInvoked", (int(number), str(key)) if sender == self.service:
                self.invoked(number, key, self._tokens.pop(number, ""))
            case "NotificationClosed", (int(number), int()) if sender == self.service:
                self.closed(number)
