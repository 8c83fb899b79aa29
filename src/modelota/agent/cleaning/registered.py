"""Findings by the ledger: what it names, and what lies in the agent's own places."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from modelota.agent.cleaning.entries import split_scheme
from modelota.agent.cleaning.knowledge import Knowledge
from modelota.agent.cleaning.plan import (
    FINDINGS_MAX,
    Doubt,
    Evidence,
    Finding,
    Identity,
    Spared,
    SparedFinding,
    path_text,
)
from modelota.agent.cleaning.reach import digest_at, directory_of, lstat_at, readable
from modelota.agent.cleaning.system import System
from modelota.agent.cleaning.walk import Walker
from modelota.agent.records import LedgerRow

# What every file says that the agent writes outside its root, in a comment of the file's own form.
MARKER: Final = b"Written by modelota"
_MARKED_WITHIN_BYTES: Final = 4096


class Collector:
    """Gathers findings, each path once.

    Attributes:
        findings: what may be removed.
        spared: what is never removed.
        complete: False once there were more than a plan holds.
    """

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}
        self.spared: list[SparedFinding] = []
        self.complete = True

    def add(
        self,
        path: str,
        kind: str,
        evidence: Evidence,
        doubts: tuple[Doubt, ...] = (),
        *,
        seen: os.stat_result | None = None,
        size_bytes: int | None = None,
    ) -> None:
        """Add a finding; certain when there is no doubt."""
        if len(self.findings) >= FINDINGS_MAX:
            self.complete = False
            return
        if path in self.findings:
            return
        known_size = seen.st_size if seen is not None and stat.S_ISREG(seen.st_mode) else 0
        self.findings[path] = Finding(
            path=path_text(path),
            kind=kind,
            certainty="probable" if doubts else "certain",
            size_bytes=known_size if size_bytes is None else size_bytes,
            evidence=evidence,
            doubts=doubts,
            identity=Identity.of(seen) if seen is not None else None,
        )

    def spare(self, path: str, kind: str, size_bytes: int, reason: Spared) -> None:
        """Add something that is never removed."""
        self.spared.append(SparedFinding(path=path_text(path), kind=kind, size_bytes=size_bytes, reason=reason))


def find_registered(knowledge: Knowledge, system: System, collector: Collector) -> int:
    """Find what the ledger names and what lies in the agent's own places.

    Returns:
        how many directories and files could not be looked at.
    """
    unreadable = 0
    trusted = [place for place in knowledge.places if _is_own(place, knowledge.owner_uid)]
    for place in trusted:
        unreadable += _find_in_place(place, knowledge, system, collector)
    for row in knowledge.rows:
        scheme = split_scheme(row.path)
        if scheme is not None:
            _find_entry(row, *scheme, system, collector)
            continue
        path = _resolved(row.path)
        if path is None or any(path == place or path.startswith(f"{place}/") for place in trusted):
            continue  # what lies in a place was met there
        try:
            _find_path(row, path, knowledge, collector)
        except FileNotFoundError:
            continue  # it is gone already
        except OSError:
            unreadable += 1
    return unreadable


def _resolved(path: str) -> str | None:
    """The path with links in its directories resolved: the ledger has it as it was asked for."""
    if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
        return None
    place = Path(path)
    try:
        return str(place.parent.resolve() / place.name)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        return None


def _is_own(place: str, owner_uid: int) -> bool:
    """Whether nobody but the agent's user can have put anything into a place of the agent's.

    A record says which places there were; one that names somebody's home, or a whole file system, is not believed.
    """
    homes = {entry.pw_dir.rstrip("/") for entry in pwd.getpwall()}
    if any(home == place or home.startswith(f"{place}/") for home in homes) or os.path.ismount(place):
        return False
    try:
        with directory_of(place) as (directory, name):
            found = lstat_at(directory, name)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner_uid and not found.st_mode & 0o022


def _find_in_place(place: str, knowledge: Knowledge, system: System, collector: Collector) -> int:
    evidence = Evidence(by="place")
    off_limits = [path for path in knowledge.off_limits if path != place and path.startswith(f"{place}/")]
    skip = frozenset(identity for path in off_limits if (identity := identity_of(path)) is not None)
    directories: list[tuple[str, os.stat_result]] = []
    walker = Walker(system.mounts().points, skip, lambda path, seen: directories.append((path, seen)))
    for seen in walker.walk(place):
        doubts = place_doubts(seen.information, knowledge)
        collector.add(seen.path, _kind_of(seen.information), evidence, doubts, seen=seen.information)
    for path, information in directories:
        if not any(kept.startswith(f"{path}/") for kept in off_limits):
            collector.add(path, "directory", evidence, seen=information)  # only ever removed when it is empty
    return walker.unreadable


def place_doubts(seen: os.stat_result, knowledge: Knowledge) -> tuple[Doubt, ...]:
    """What speaks against a file in a place of the agent's own being the agent's."""
    doubts: list[Doubt] = []
    if seen.st_uid != knowledge.owner_uid:
        doubts.append("other-user")
    if knowledge.recorded_ns is not None and seen.st_ctime_ns > knowledge.recorded_ns:
        doubts.append("newer-than-record")
    return tuple(doubts)


def identity_of(path: str) -> tuple[int, int] | None:
    """Device and inode of a directory; None when there is none."""
    try:
        information = Path(path).lstat()
    except OSError:
        return None
    return information.st_dev, information.st_ino


def _kind_of(seen: os.stat_result) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe"}
    return kinds.get(stat.S_IFMT(seen.st_mode), "device")


def _find_entry(row: LedgerRow, scheme: str, name: str, system: System, collector: Collector) -> None:
    entries = system.entries.get(scheme)
    state = entries.state(name, row.digest) if entries is not None else "unknown"
    if state == "unknown":
        collector.spare(row.path, row.kind, 0, "cannot-tell")
    elif state != "gone":
        evidence = Evidence(by="ledger", digest=row.digest)
        collector.add(row.path, row.kind, evidence, ("changed",) if state == "changed" else ())


def _find_path(row: LedgerRow, path: str, knowledge: Knowledge, collector: Collector) -> None:
    with directory_of(path) as (directory, name):
        seen = lstat_at(directory, name)
        if stat.S_ISDIR(seen.st_mode):
            collector.add(path, row.kind, Evidence(by="ledger"), seen=seen)  # only ever removed when it is empty
            return
        digest = digest_at(directory, name, seen)
        doubts: tuple[Doubt, ...] = ()
        if row.digest is not None:
            doubts = () if digest == row.digest else ("changed",)
        elif stat.S_ISREG(seen.st_mode) and seen.st_size:
            doubts = place_doubts(seen, knowledge) if _is_marked(directory, name, seen) else ("changed",)
        else:
            doubts = place_doubts(seen, knowledge)
        proven = seen.st_size if digest is not None and not doubts else 0
        evidence = Evidence(by="ledger", digest=digest, proven_bytes=proven)
        collector.add(path, row.kind, evidence, doubts, seen=seen)


def _is_marked(directory: int, name: str, seen: os.stat_result) -> bool:
    with readable(directory, name, seen) as descriptor:
        return MARKER in os.pread(descriptor, _MARKED_WITHIN_BYTES, 0)
