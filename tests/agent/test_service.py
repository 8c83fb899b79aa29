"""The systemd service: what is written is valid, known before it is there, and taken away again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelota import faults
from modelota.agent.enrol import enrol, open_journal
from modelota.agent.records import LedgerRow
from modelota.agent.service import Systemd, command_of, install, remove
from modelota.agent.service_unit import UnitFacts, unit_text, word
from modelota.clock import SystemClock
from modelota.content.digest import digest_bytes
from modelota.errors import AskPerson
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.storage.layout import Layout

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="this system has no systemd-analyze")


@pytest.fixture(scope="module")
def enrolment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("vendor")
    init(place / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True)
    return place / "enroll.toml"


@pytest.fixture
def root(enrolment: Path, tmp_path: Path) -> Path:
    place = tmp_path / "root"
    enrol(enrolment, place, SystemClock())
    return place


class Recorder:
    """A systemd that runs, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, words: Sequence[str]) -> None:
        self.told.append(" ".join(words))


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/run", "SYSTEMD_COLORS": "0"}
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False, env=environment)


def ledger(root: Path) -> list[LedgerRow]:
    journal = open_journal(Layout(root), SystemClock())
    try:
        return [row for row in journal.records.ledger_rows() if row.kind.startswith("systemd")]
    finally:
        journal.close()


def below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@needs_systemd
@pytest.mark.parametrize("scope", ["system", "user"])
@pytest.mark.parametrize("name", ["plain", 'with space, 50% "quoted", $money, \\ and ; — 模型'])
def test_systemd_accepts_the_unit(tmp_path: Path, scope: str, name: str) -> None:
    """systemd's own check has nothing to say, whatever the root is called."""
    root = tmp_path / name
    root.mkdir()
    temporary = tmp_path if "space" in name else None
    facts = UnitFacts(root, command_of(root), "user" if scope == "user" else "system", "daemon", "daemon", temporary)
    unit = tmp_path / "modelota.service"
    unit.write_text(unit_text(facts))
    checked = analyze(f"--{scope}", "verify", str(unit))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "Written by modelota" in unit.read_text()


@needs_systemd
def test_systemd_finds_the_unit_well_protected(tmp_path: Path) -> None:
    """systemd's own measure of exposure, 0 to 10, stays low."""
    unit = tmp_path / "modelota.service"
    unit.write_text(unit_text(UnitFacts(Path("/var/lib/modelota"), ("/bin/true",), "system", "daemon")))
    checked = analyze("security", "--offline=yes", "--threshold=20", str(unit))
    assert checked.returncode == 0, checked.stdout[-400:]


def test_a_path_with_a_line_break_is_refused() -> None:
    """No path writes a setting of its own into the unit."""
    for text in ("/a\nExecStart=/bin/sh", "/a\x7f"):
        with pytest.raises(AskPerson, match="argument-invalid"):
            word(text)


def test_what_is_written_is_in_the_ledger_first_and_goes_again(root: Path, tmp_path: Path) -> None:
    """Unit and link have their digests in the ledger; removing leaves the directory as it was."""
    units = tmp_path / "etc" / "systemd" / "system"
    recorder = Recorder()
    systemd = Systemd("system", units, running=True, run=recorder)
    done = install(root, systemd, SystemClock())
    assert done.running
    link = units / "multi-user.target.wants" / "modelota.service"
    assert (done.unit, link.resolve()) == (units / "modelota.service", units / "modelota.service")
    assert (done.unit.stat().st_mode & 0o777, f"--root {root}" in done.unit.read_text()) == (0o644, True)
    digests = {row.path: row.digest for row in ledger(root) if row.digest}
    assert digests == {
        str(done.unit): digest_bytes(done.unit.read_bytes()),
        str(link): digest_bytes(b"../modelota.service"),
    }
    assert recorder.told == ["daemon-reload", "restart modelota.service"]
    install(root, systemd, SystemClock())  # again changes nothing
    recorder.told.clear()
    removed = remove(root, SystemClock(), systemd)
    assert done.unit in removed
    assert link in removed
    assert recorder.told == ["stop modelota.service", "daemon-reload"]
    assert below(tmp_path) == below(root.parent)
    assert not (tmp_path / "etc").exists(), "directories that were made for it go too"
    assert ledger(root) == []


def test_directories_of_others_stay(root: Path, tmp_path: Path) -> None:
    """What was there before, and what somebody put beside, is left alone."""
    units = tmp_path / "units"
    units.mkdir()
    systemd = Systemd("system", units, running=False)
    install(root, systemd, SystemClock())
    other = units / "multi-user.target.wants" / "other.service"
    other.write_text("[Unit]")
    remove(root, SystemClock(), systemd)
    assert below(units) == ["multi-user.target.wants", "multi-user.target.wants/other.service"]


def test_a_unit_of_somebody_else_is_not_touched(root: Path, tmp_path: Path) -> None:
    """A taken name is refused; so is replacing or removing a unit that was edited."""
    (tmp_path / "modelota.service").write_text("[Unit]\n")
    systemd = Systemd("system", tmp_path, running=False)
    with pytest.raises(AskPerson, match="file-exists"):
        install(root, systemd, SystemClock())
    done = install(root, systemd, SystemClock(), name="second")
    done.unit.write_text(done.unit.read_text() + "\n[Service]\nNice=5\n")
    for call in (
        lambda: install(root, systemd, SystemClock(), name="second"),
        lambda: remove(root, SystemClock(), systemd),
    ):
        with pytest.raises(AskPerson, match="service-changed"):
            call()
    assert done.unit.exists()
    assert (tmp_path / "modelota.service").read_text() == "[Unit]\n"


def test_a_newer_text_replaces_ours(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent of another version writes its unit over the one it knows."""
    systemd = Systemd("user", tmp_path / "units", running=False)
    first = install(root, systemd, SystemClock()).unit.read_text()
    monkeypatch.setattr("modelota.agent.service.command_of", lambda _: ("/bin/true",))
    unit = install(root, systemd, SystemClock()).unit
    assert "ExecStart=/bin/true" in unit.read_text() != first
    assert {row.digest for row in ledger(root) if row.path == str(unit)} == {digest_bytes(unit.read_bytes())}


INSTALL = """
import sys
from pathlib import Path
from modelota.agent import service
from modelota.clock import SystemClock
root, units = map(Path, sys.argv[1:3])
service.command_of = lambda _: ("/bin/true", sys.argv[3])
service.install(root, service.Systemd("system", units, running=False), SystemClock())
"""


def test_killed_anywhere_nothing_unknown_is_left(root: Path, tmp_path: Path) -> None:
    """SIGKILL at the n-th durable step of writing a newer unit: what is there has its digest in the ledger."""
    units = tmp_path / "units"
    nth, status = 0, 1
    while status:
        nth += 1
        for number in (0, nth):
            command = [sys.executable, "-P", "-c", INSTALL, str(root), str(units), str(number)]
            armed = f"*@{nth}=kill" if number else ""
            status = subprocess.run(
                command, env={**os.environ, faults.VARIABLE: armed}, capture_output=True, check=False
            ).returncode
        assert status in {0, -signal.SIGKILL}
        digests = {row.path: row.digest for row in ledger(root) if row.digest}
        there = [path for path in units.rglob("*.service") if not path.name.startswith(".")]
        for path in there:
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            assert digests[str(path)] == digest_bytes(content)
    assert nth > 8
    remove(root, SystemClock(), Systemd("system", units, running=False))
    assert [path.name for path in tmp_path.glob("units/**/*.service") if not path.name.startswith(".")] == []


def test_what_systemd_refuses_is_told(root: Path, tmp_path: Path) -> None:
    """A failing systemctl ends the command with its words; the unit is there and the command can be run again."""

    def fails(words: Sequence[str]) -> None:
        raise AskPerson("service-command-failed", command=" ".join(words), detail="no bus")

    with pytest.raises(AskPerson, match="service-command-failed"):
        install(root, Systemd("system", tmp_path / "u", running=True, run=fails), SystemClock())
    assert (tmp_path / "u" / "modelota.service").exists()
    install(root, Systemd("system", tmp_path / "u", running=True, run=Recorder()), SystemClock())


def test_sockets_outside_the_root_are_reachable(enrolment: Path, tmp_path: Path) -> None:
    """Where the sockets lie below the temporary directory, the service shares that directory with everybody."""
    root = tmp_path / ("long" * 25)
    enrol(enrolment, root, SystemClock())
    text = install(root, Systemd("system", tmp_path / "u", running=False), SystemClock()).unit.read_text()
    runtime = Layout(root).runtime_directory
    assert f"TMPDIR={runtime.parent}" in text
    assert f"ReadWritePaths={root} {runtime.parent}" in text
    assert "PrivateTmp=no" in text
    assert "PrivateTmp=yes" in unit_text(UnitFacts(Path("/var/lib/modelota"), ("/bin/true",), "system"))
