"""A terminal's whole screen for one program: taken, painted, and given back on every way out."""

from __future__ import annotations

import asyncio
import codecs
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from modelota.cli.key_presses import KeyPresses

if TYPE_CHECKING:
    from rich.live import Live

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_READ_BYTES: Final = 4096
_SEQUENCE_WAIT_S: Final = 0.05  # the bytes of one key arrive together; over a slow line a moment apart
_PASTE_ON: Final = "\x1b[?2004h"  # xterm: what is pasted arrives between marks
_PASTE_OFF: Final = "\x1b[?2004l"

Line = tuple[tuple[str, str], ...]  # pieces of a line, each with a style of rich's


class Size(NamedTuple):
    """Of the screen, in characters."""

    columns: int
    rows: int


class FullScreen:
    """Standard input and output as a screen with keys; entered for as long as it is taken.

    Args:
        pressed: told each key press (`modelota.cli.key_presses`), and `""` when the input ended.
        ended: told the number of the signal that ends the program.
        exposed: the screen has another size, or has to be painted anew for another reason.
    """

    def __init__(
        self, pressed: Callable[[str], None], ended: Callable[[int], None], exposed: Callable[[], None]
    ) -> None:
        self._pressed = pressed
        self._ended = ended
        self._exposed = exposed
        self._input: Final = sys.stdin.fileno()
        self._keys = KeyPresses()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._live: Live | None = None
        self._painted: tuple[Size, Sequence[Line]] | None = None
        self._modes: list[int | list[bytes | int]] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._modes = termios.tcgetattr(self._input)
        self._take()
        for number in ENDING:
            loop.add_signal_handler(number, self._ended, number)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        loop.add_signal_handler(signal.SIGWINCH, self._exposed)
        loop.add_reader(self._input, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._input)
        self._give_back()
        for number in (*ENDING, signal.SIGTSTP, signal.SIGWINCH):
            loop.remove_signal_handler(number)

    def size(self) -> Size:
        """Of the screen now; where the terminal does not know, what the environment says, else 80 × 24."""
        try:
            found = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            found = os.terminal_size((0, 0))
        if found.columns <= 0 or found.lines <= 0:  # a terminal that nobody told its size
            found = shutil.get_terminal_size()
        return Size(found.columns, found.lines)

    def paint(self, lines: Sequence[Line]) -> None:
        """Show `lines`, which fit the screen; nothing is written when they are shown already."""
        from rich.console import Group
        from rich.text import Text

        size = self.size()
        if self._live is None or self._painted == (size, lines):
            return
        self._painted = (size, lines)
        self._live.console.size = (size.columns, size.rows)
        rows = [Text.assemble(*line, no_wrap=True, overflow="crop", end="") for line in lines]
        try:
            self._live.update(Group(*(Text("\n").join([row]) for row in rows)), refresh=True)
        except OSError:  # the terminal is gone; the hang-up that comes with it ends the program
            self._painted = None

    def forget(self) -> None:
        """Have the next `paint` write everything anew."""
        self._painted = None

    def drop_typed(self) -> None:
        """Drop what was typed ahead: nobody answers a question before it was shown."""
        termios.tcflush(self._input, termios.TCIFLUSH)

    def _take(self) -> None:
        from rich.console import Console
        from rich.live import Live

        tty.setcbreak(self._input, termios.TCSANOW)  # keys one by one and unseen; ^C, ^Z and ^\ still are signals
        console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        self._write(_PASTE_ON)
        self._painted = None

    def _give_back(self) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        try:
            self._write(_PASTE_OFF)
            live.stop()
        except OSError:
            pass  # the terminal is gone, and with it what there was to give back
        finally:
            with suppress(termios.error):  # as above
                termios.tcsetattr(self._input, termios.TCSANOW, self._modes)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _suspend(self) -> None:
        """^Z: give the screen back, stop as any program does, take the screen again once continued."""
        loop = asyncio.get_running_loop()
        self._give_back()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns when somebody continues this process
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._take()
        self._exposed()

    def _read(self) -> None:
        try:
            data = os.read(self._input, _READ_BYTES)
        except OSError:  # Linux reports the end of a pseudo-terminal as EIO
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._input)
            self._pressed("")
            return
        for key in self._keys.take(self._decoder.decode(data)):
            self._pressed(key)
        if self._keys.waiting:
            asyncio.get_running_loop().call_later(_SEQUENCE_WAIT_S, self._give_up)

    def _give_up(self) -> None:
        for key in self._keys.give_up():
            self._pressed(key)
