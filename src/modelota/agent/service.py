"""Installing and removing the systemd service of a device root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelota.agent.access import group_id
from modelota.agent.config import read_config
from modelota.agent.enrol import membership_of, open_journal, owner_uid
from modelota.agent.outside import Kinds, OutsideWriter, digest_of
from modelota.agent.records import LedgerRow
from modelota.agent.service_unit import WANTED_BY, Scope, UnitFacts, unit_text
from modelota.clock import Clock
from modelota.errors import AskPerson
from modelota.spec.names import is_name
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.owner import acting_as_owner, user_name

UNIT: Final = "systemd unit"
LINK: Final = "systemd link"
FOLDER: Final = "systemd directory"
_KINDS: Final = Kinds(UNIT, LINK, FOLDER)
NAME: Final = "modelota"

_COMMAND_TIMEOUT_S: Final = 150.0  # stopping waits for answers under way
_DETAIL_MAX_CHARS: Final = 300

Run = Callable[[Sequence[str]], None]


def run_systemctl(arguments: Sequence[str]) -> None:
    """Run systemctl(1).

    Raises:
        AskPerson: `service-command-failed` with what it said.
    """
    program = shutil.which("systemctl")
    command = f"systemctl {' '.join(arguments)}"
    if program is None:
        raise AskPerson("service-command-failed", command=command, detail="there is no such program")
    try:
        done = subprocess.run(  # noqa: S603  the system's own program, with arguments of our own
            [program, *arguments], capture_output=True, check=False, timeout=_COMMAND_TIMEOUT_S, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise AskPerson("service-command-failed", command=command, detail=str(error)[:_DETAIL_MAX_CHARS]) from error
    if done.returncode != 0:
        raise AskPerson("service-command-failed", command=command, detail=done.stderr.strip()[-_DETAIL_MAX_CHARS:])


@dataclass(frozen=True)
class Systemd:
    """The systemd that a unit is for.

    Attributes:
        scope: the system's, or that of this user.
        directory: where its units lie.
        running: whether it can be told anything now; an image that is being built has none.
        run: runs systemctl.
    """

    scope: Scope
    directory: Path
    running: bool
    run: Run = run_systemctl

    @classmethod
    def of(cls, scope: Scope, directory: Path | None = None) -> Systemd:
        """The real one; with a directory of other units than its own, one that is not running."""
        if scope == "system":
            own, sign = Path("/etc/systemd/system"), Path("/run/systemd/system")  # sd_booted(3)
        else:
            settings = os.environ.get("XDG_CONFIG_HOME")
            own = (Path(settings) if settings else Path.home() / ".config") / "systemd" / "user"
            sign = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}") / "systemd"
        there = directory is None or directory.absolute() == own
        return cls(scope, own if directory is None else directory.absolute(), there and sign.is_dir())

    def tell(self, *words: str) -> None:
        """Run systemctl for this systemd, if it is running."""
        if self.running:
            self.run(["--user", *words] if self.scope == "user" else list(words))

    def unit(self, name: str) -> Path:
        """Where the unit `name` lies."""
        return self.directory / f"{name}.service"

    def link(self, name: str) -> Path:
        """The link that has the unit started with the system, or with its user's session."""
        return self.directory / f"{WANTED_BY[self.scope]}.wants" / f"{name}.service"


@dataclass(frozen=True)
class Installed:
    """An installed service: its files, and what is left to do by hand.

    Attributes:
        unit: the unit's file.
        user: whom the agent runs as.
        running: it was started.
        missing_group: the group that the settings name and this system does not have.
    """

    unit: Path
    user: str
    running: bool
    missing_group: str | None = None


def command_of(root: Path, action: str = "run") -> tuple[str, ...]:
    """The command that runs the agent of `root`, or something else for it, with this installation."""
    program = Path(sys.executable).with_name("modelota")
    words = (str(program),) if program.is_file() else (sys.executable, "-P", "-m", "modelota.cli.main")
    return (*words, "device", action, "--root", str(root))


def install(root: Path, systemd: Systemd, clock: Clock, *, name: str = NAME, start: bool = True) -> Installed:
    """Install the service of a device root, have it start with the system, and start it where systemd runs.

    Args:
        root: an enrolled device root.
        systemd: which one.
        clock: the time.
        name: of the unit; another one for a second root of the same system.
        start: start it now, too.

    Raises:
        AskPerson: `argument-invalid`; `file-exists`: the name is taken by a unit of somebody else's;
            `service-changed`: somebody changed ours; `service-command-failed`; `not-enrolled`, `permission-denied`,
            `config-invalid`.
        TryLater: `disk-error`, `device-busy`.
    """
    layout = Layout.at(root)
    if not is_name(name):
        raise AskPerson("argument-invalid", argument="--name", detail=name[:80])
    with acting_as_owner(layout.root):
        config = read_config(layout.config)
        journal = open_journal(layout, clock)
    try:
        membership_of(journal, layout.root)
        owner = owner_uid(layout)
        group = group_id(config.access)
        facts = UnitFacts(
            root=layout.root,
            command=command_of(layout.root),
            scope=systemd.scope,
            user=user_name(owner),
            group=config.access.group if group is not None else None,
            temporary=_outside(layout),
        )
        writer = OutsideWriter(journal, systemd.directory, _KINDS)
        writer.write(systemd.unit(name), unit_text(facts).encode())
        writer.link(systemd.link(name), f"../{name}.service")
        systemd.tell("daemon-reload")
        if start:
            systemd.tell("restart", f"{name}.service")
        journal.note("", "service-installed", {"unit": str(systemd.unit(name))})
    finally:
        journal.close()
    return Installed(
        unit=systemd.unit(name),
        user=user_name(owner),
        running=start and systemd.running,
        missing_group=config.access.group if group is None and config.access.group else None,
    )


def _outside(layout: Layout) -> Path | None:
    runtime = layout.runtime_directory
    return None if layout.root in runtime.parents else runtime.parent


def service_rows(ledger: Iterable[LedgerRow]) -> tuple[LedgerRow, ...]:
    """What the ledger knows of installed services: links first, then units, then directories from the deepest up."""
    order = {LINK: 0, UNIT: 1, FOLDER: 2}
    rows = [row for row in ledger if row.kind in order]
    return tuple(sorted(rows, key=lambda row: (order[row.kind], -row.path.count("/"), row.path)))


def systemd_of(unit: Path, rows: Sequence[LedgerRow]) -> Systemd:
    """The real systemd that a unit is for: its link tells whose."""
    link = str(unit.parent / f"{WANTED_BY['user']}.wants" / unit.name)
    return Systemd.of("user" if any(row.path == link for row in rows) else "system", unit.parent)


def remove(root: Path, clock: Clock, systemd: Systemd | None = None) -> tuple[Path, ...]:
    """Stop the services of a device root and remove what was written for them.

    Args:
        root: of the device.
        clock: the time.
        systemd: which one; None is the real one that the ledger's rows belong to.

    Returns:
        Paths that were removed; empty when no service was installed.

    Raises:
        AskPerson: `service-changed`: somebody changed a file, and it is theirs now; `service-command-failed`;
            `permission-denied`, `not-enrolled`.
        TryLater: `disk-error`, `device-busy`.
    """
    layout = Layout.at(root)
    with acting_as_owner(layout.root):
        journal = open_journal(layout, clock)
    try:
        rows = service_rows(journal.records.ledger_rows())
        removed = remove_rows(rows, Disk([Path(row.path).parent for row in rows], journal.ledger), systemd)
        for path in removed:
            journal.ledger.removed(path)
        if removed:
            journal.note("", "service-removed", {"unit": str(removed[-1])})
        return removed
    finally:
        journal.close()


def remove_rows(rows: Sequence[LedgerRow], disk: Disk, systemd: Systemd | None = None) -> tuple[Path, ...]:
    """Stop the services that `rows` (`service_rows`) tell of, and remove what is theirs.

    Raises:
        As `remove`.
    """
    files = [row for row in rows if row.kind in {LINK, UNIT} and os.path.lexists(row.path)]
    for row in files:
        if row.digest != digest_of(Path(row.path)):
            raise AskPerson("service-changed", path=row.path)
    units = [Path(row.path) for row in rows if row.kind == UNIT]
    told = {unit: systemd or systemd_of(unit, rows) for unit in units}
    for unit, used in told.items():
        if os.path.lexists(unit):
            used.tell("stop", unit.name)
    removed: list[Path] = []
    for row in files:
        disk.remove(Path(row.path))
        removed.append(Path(row.path))
    for row in rows:
        folder = Path(row.path)
        with disk_errors(folder):
            if row.kind == FOLDER and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # never with anything in it
                removed.append(folder)
    for used in told.values() if removed else ():
        used.tell("daemon-reload")
    return tuple(removed)
