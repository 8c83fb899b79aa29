"""A session bus of its own for tests, and a notification service on it that remembers what it was told to show."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.asyncio import DBusConnection, DBusRouter, Proxy, open_dbus_connection

DAEMON = shutil.which("dbus-daemon")
needs_bus = pytest.mark.skipif(DAEMON is None, reason="this system has no dbus-daemon")

_NAME = "org.freedesktop.Notifications"
_PATH = "/org/freedesktop/Notifications"
_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@contextmanager
def private_bus(place: Path) -> Iterator[str]:
    """A session bus that starts no services of the system; gives its address."""
    config = place / "bus.conf"
    config.write_text(_CONFIG.format(path=place / "bus"))
    assert DAEMON is not None
    command = [DAEMON, "--nofork", f"--config-file={config}", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            yield daemon.stdout.readline().strip()
        finally:
            daemon.terminate()


class FakeDesktop:
    """A notification service: what is on its screen, in the order of showing, and buttons to press.

    Attributes:
        calls: every `Notify` and `CloseNotification`, oldest first.
        screen: number -> title, body, actions of what is shown now.
    """

    def __init__(self, capabilities: tuple[str, ...] = ("actions", "body", "body-markup")) -> None:
        self.capabilities = capabilities
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.screen: dict[int, tuple[str, str, dict[str, str]]] = {}
        self.nonsense = False  # whether it answers with something that the specification does not know
        self.changed = asyncio.Event()
        self._connection: DBusConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._last = 0

    async def start(self, address: str) -> None:
        """Come to the bus."""
        self._connection = await open_dbus_connection(address)
        async with DBusRouter(self._connection) as router:
            assert await Proxy(message_bus, router).RequestName(_NAME, 4) == (1,)
        self._task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        """Leave the bus; what was on the screen is gone."""
        assert self._task is not None
        assert self._connection is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()
        self.screen.clear()

    async def _serve(self) -> None:
        assert self._connection is not None
        while True:
            message = await self._connection.receive()
            if message.header.message_type is MessageType.method_call:
                await self._connection.send(self._answer(message))
                self.changed.set()

    def _answer(self, message: Message) -> Message:
        member, body = message.header.fields[HeaderFields.member], message.body
        if self.nonsense:
            self.calls.append((member, body))
            return new_method_return(message, "sas", ("nonsense", []))
        if member == "GetCapabilities":
            return new_method_return(message, "as", (list(self.capabilities),))
        if member == "Notify":
            self.calls.append((member, body))
            _, replaces, _, title, text, actions, _, _ = body
            if not replaces:
                self._last += 1
            number = replaces or self._last
            self.screen[number] = (title, text, dict(zip(actions[::2], actions[1::2], strict=True)))
            return new_method_return(message, "u", (number,))
        if member == "CloseNotification":
            self.calls.append((member, body))
            self.screen.pop(body[0], None)
            return new_method_return(message)
        return new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")

    async def signal(self, member: str, signature: str, body: tuple[Any, ...]) -> None:
        """Send a signal of the service's."""
        assert self._connection is not None
        await self._connection.send(new_signal(DBusAddress(_PATH, interface=_NAME), member, signature, body))

    async def press(self, number: int, key: str = "default", token: str = "") -> None:
        """Press a button of a notification."""
        if token:
            await self.signal("ActivationToken", "us", (number, token))
        await self.signal("ActionInvoked", "us", (number, key))

    async def dismiss(self, number: int) -> None:
        """Close a notification, as its user does."""
        self.screen.pop(number)
        await self.signal("NotificationClosed", "uu", (number, 2))

    async def until(self, condition: Any) -> None:
        """Wait until a condition about this desktop holds."""
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
