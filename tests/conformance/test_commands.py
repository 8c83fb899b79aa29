"""Commands are run as their users run them: at a terminal, and watched while they run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelota.conformance import commands, readings
from modelota.conformance.commands import Cli
from modelota.conformance.row import Unreached

_ASKS = """
import sys
print("a plan")
print("got", input("Remove? "), sys.stdout.isatty())
sys.exit(7)
"""
_LOWERS_ITSELF = """
import os, pathlib, sys, time
os.nice(3)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("out")
print("err", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def python(tmp_path: Path) -> Cli:
    """An interpreter instead of the product."""
    cli = Cli(tmp_path / "home")
    cli.argv[:] = [sys.executable, "-c"]
    return cli


def test_a_question_at_a_terminal_is_answered_once(python: Cli) -> None:
    """What is typed arrives after the question, the command sees a terminal, and all it shows is kept."""
    done = python.at_terminal((_ASKS,), "Remove?", "no")
    assert done.status == 7
    assert "a plan" in done.out
    assert "got no True" in done.out


def test_a_command_that_never_asks_is_given_up(python: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is ended, and that is a failure of the product."""
    monkeypatch.setattr(commands, "TIMEOUT_S", 0.5)
    with pytest.raises(Unreached, match="did not end"):
        python.at_terminal(("import time; time.sleep(60)",), "Remove?", "no")


def test_a_command_is_looked_at_while_it_runs(python: Cli, tmp_path: Path) -> None:
    """The nice value of its threads is read from the kernel; output and status are kept."""
    lowered, noticed = min((readings.niceness(0) or 0) + 3, 19), tmp_path / "noticed"

    def observe(pid: int) -> None:
        if any(nice == lowered for nice, _ in readings.thread_priorities(pid).values()):
            noticed.touch()

    done = python.observed((_LOWERS_ITSELF, str(noticed)), observe)
    assert (done.status, done.out, done.err) == (3, "out\n", "err\n")
