"""Lines on terminals: to whoever may see, on the one they used last, and to nobody who wants none."""

from __future__ import annotations

import os
import pty
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.agent.terminals import tell_terminals


class Terminal:
    """A pseudo-terminal; what is written to it can be read here."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = Path(os.ttyname(self.slave))
        self.path.chmod(0o620)
        os.set_blocking(self.master, False)

    def read(self) -> str:
        try:
            return os.read(self.master, 65_536).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made = [Terminal(), Terminal()]
    for terminal, used_at in zip(made, (3_999_999_999, 4_000_000_000), strict=True):
        os.utime(terminal.path, (used_at, 1))  # later than any other terminal of this user
    yield made
    for terminal in made:
        terminal.close()


def test_the_terminal_used_last_gets_the_line(terminals: list[Terminal]) -> None:
    """One line, for one terminal of each user who may see."""
    assert tell_terminals("news", lambda uid: uid == os.getuid()) == 1
    assert [terminal.read() for terminal in terminals] == ["", "\r\nnews\r\n"]


def test_who_may_not_see_gets_none(terminals: list[Terminal]) -> None:
    """A user without the right to see is not told."""
    assert tell_terminals("news", lambda _: False) == 0
    assert terminals[1].read() == ""


def test_mesg_n(terminals: list[Terminal]) -> None:
    """A terminal that takes no messages gets none; the one that was used before it does."""
    terminals[1].path.chmod(0o600)
    tell_terminals("news", lambda uid: uid == os.getuid())
    assert [terminal.read() for terminal in terminals] == ["\r\nnews\r\n", ""]


def test_a_terminal_that_takes_nothing_holds_nobody_up(terminals: list[Terminal]) -> None:
    """Its output is stopped, as after Ctrl-S: the line is lost, and the agent goes on."""
    termios.tcflow(terminals[1].slave, termios.TCOOFF)
    assert tell_terminals("news", lambda uid: uid == os.getuid()) == 0
    termios.tcflow(terminals[1].slave, termios.TCOON)
    assert terminals[1].read() == ""


def test_only_terminals(tmp_path: Path) -> None:
    """Files, links and directories with the names of terminals are none, and a missing place has none."""
    (tmp_path / "pts").mkdir()
    (tmp_path / "pts" / "0").write_text("")
    (tmp_path / "pts" / "0").chmod(0o620)
    (tmp_path / "tty1").mkdir(mode=0o770)
    (tmp_path / "tty2").symlink_to("/dev/null")
    assert tell_terminals("news", lambda _: True, devices=tmp_path) == 0
    assert (tmp_path / "pts" / "0").read_text() == ""
    assert tell_terminals("news", lambda _: True, devices=tmp_path / "none") == 0
