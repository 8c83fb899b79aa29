"""The real database under kill -9: every commit that was acknowledged is there, and nothing that was not begun."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from modelota.agent.journal import Journal
from modelota.agent.states import State
from modelota.clock import SystemClock

MODEL = "acme/assistant"
KILLS_IN_CI = 12
SEED = 11

WRITER = """
import os, sys
from pathlib import Path
from modelota.agent.journal import Journal
from modelota.agent.states import OfferGone, State
from modelota.clock import SystemClock
journal = Journal(Path(sys.argv[1]), SystemClock())
state = journal.state("acme/assistant")
while True:
    number = int(state.offer or 0) + 1
    after = State(offer=str(number), skipped=tuple(f"1.1.{n}" for n in range(1, number % 40)))
    journal.commit("acme/assistant", OfferGone(reason=str(number)), state, after)
    os.write(1, b"%d\\n" % number)
    state = after
"""


def kill_a_writer(database: Path, chance: random.Random) -> int:
    """Let a process commit for a while, kill it, and return the last number that it acknowledged."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(database)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    acknowledged = int(process.stdout.readline())
    for _ in range(chance.randrange(30)):
        acknowledged = int(process.stdout.readline())
    until = time.perf_counter() + chance.random() * 0.004  # somewhere within a commit or two
    while time.perf_counter() < until:
        pass
    process.kill()
    rest = process.stdout.read().split(b"\n")
    process.stdout.close()
    process.wait()
    return max([acknowledged, *(int(line) for line in rest[:-1])])


def walk(database: Path, kills: int) -> None:
    chance = random.Random(SEED)
    seen = 0
    for _ in range(kills):
        acknowledged = kill_a_writer(database, chance)
        with closing(sqlite3.connect(database)) as plain:
            assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        journal = Journal(database, SystemClock())
        try:
            entries = journal.log(MODEL, seen, 1000)
            numbers = [int(entry.facts["reason"]) for entry in entries]
            state = journal.state(MODEL)
        finally:
            journal.close()
        assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))
        seen += len(numbers)
        assert acknowledged <= seen <= acknowledged + 1  # at most one was written and not yet acknowledged
        assert state == State(offer=str(seen), skipped=tuple(f"1.1.{n}" for n in range(1, seen % 40)))


def test_acknowledged_commits_survive_kills(tmp_path: Path) -> None:
    """Killed a dozen times, the database holds every acknowledged event and the state that follows from the last."""
    walk(tmp_path / "agent.db", KILLS_IN_CI)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_acknowledged_commits_survive_many_kills(tmp_path: Path) -> None:
    """The same, hundreds of times."""
    walk(tmp_path / "agent.db", int(os.environ.get("MODELOTA_SOAK_KILLS", "200")))
