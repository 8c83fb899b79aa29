"""Reading what a person types, without stopping the event loop: an agent of our own goes on, and Ctrl-C is heard."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import sys
import termios
from typing import Final

from modelota.spec.limits import PROMPT_MAX_CHARS

_LINE_MAX_CHARS: Final = PROMPT_MAX_CHARS + 1


async def read_line(prompt: str) -> str | None:
    """Show `prompt` on standard error and read a line of at most `PROMPT_MAX_CHARS` characters.

    Returns:
        the line, stripped; None at the end of the input.
    """
    if prompt:
        sys.stderr.write(prompt)
        sys.stderr.flush()
    await _readable()
    line = sys.stdin.readline(_LINE_MAX_CHARS)
    return line.strip() if line else None


def drop_typed() -> None:
    """Drop what was typed ahead on a terminal: nobody answers a question before it was asked."""
    try:
        if sys.stdin.isatty():
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (AttributeError, io.UnsupportedOperation, termios.error):
        return  # something in memory, or a terminal that is gone


async def _readable() -> None:
    """Wait until standard input has something; a terminal hands it over line by line."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return  # something in memory is always readable
    if stat.S_ISREG(os.fstat(descriptor).st_mode) or not sys.stdin.isatty():
        return  # a file or a pipe ends by itself, and may lie in a buffer already
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
