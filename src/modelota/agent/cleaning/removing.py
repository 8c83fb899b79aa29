"""Carrying a plan out: everything is looked at once more, the moment before it goes; what became of it is the proof.

Nothing here follows a link. Ending it at any moment loses nothing: what is gone is gone, and the same plan can be
carried out again.

What it cannot promise: between the last look and unlink(2) someone may put another file under the same name; who can
do that may remove that file anyway. And a process of another user whose files this one may not see can have a file
open; its content then stays until it is closed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from modelota import faults
from modelota.agent.cleaning.entries import split_scheme
from modelota.agent.cleaning.plan import (
    CleaningPlan,
    CleaningProof,
    Finding,
    FreeSpace,
    Refusal,
    Removal,
    path_of,
    path_text,
)
from modelota.agent.cleaning.reach import digest_at, directory_of, lstat_at, sync_directory
from modelota.agent.cleaning.system import System, run_idle
from modelota.clock import iso
from modelota.errors import AskPerson
from modelota.storage.durable import free_bytes

_REFUSALS: Final[dict[int, Refusal]] = {
    errno.EACCES: "permission-denied",
    errno.EPERM: "permission-denied",
    errno.EROFS: "read-only",
    errno.ENOTEMPTY: "not-empty",
    errno.EEXIST: "not-empty",
    errno.EBUSY: "in-use",
    errno.ELOOP: "changed",
    errno.ENOTDIR: "changed",
    errno.ESTALE: "changed",
}
# What has to be told that its files are gone: word in the path, and the program that tells it. Failing is harmless.
_RELOADS: Final = (
    ("/etc/systemd/system/", ("systemctl", "daemon-reload")),
    ("/systemd/user/", ("systemctl", "--user", "daemon-reload")),
    ("/udev/rules.d/", ("udevadm", "control", "--reload")),
)

Done = Callable[[str], None]  # told of each ledger path that is gone
Report = Callable[[int, int | None], None]  # findings dealt with, of how many


def apply(
    plan: CleaningPlan,
    accepted: Collection[str],
    system: System,
    *,
    on_gone: Done | None = None,
    report: Report | None = None,
) -> CleaningProof:
    """Remove what is certain, and of what is probable what is named.

    Args:
        plan: as it was shown and agreed to.
        accepted: ids of probable findings that go too.
        system: as for the scan.
        on_gone: told of each path that is gone afterwards, for the ledger.
        report: called with progress.

    Raises:
        AskPerson: `argument-invalid` (detail `unknown-finding`): an id in `accepted` names no probable finding.
    """
    probable = {finding.id for finding in plan.findings if finding.certainty == "probable"}
    for name in accepted:
        if name not in probable:
            raise AskPerson("argument-invalid", argument=name, detail="unknown-finding")
    chosen = [finding for finding in plan.findings if finding.certainty == "certain" or finding.id in set(accepted)]
    chosen.sort(key=_order)
    return run_idle(lambda: _Work(system, on_gone, report).run(plan, tuple(sorted(set(accepted))), chosen))


def _order(finding: Finding) -> tuple[bool, int, str]:
    """Files first, then directories from the deepest up, each emptied by then."""
    is_directory = finding.identity is not None and stat.S_ISDIR(finding.identity.mode)
    return is_directory, -finding.path.count("/"), finding.path


class _Work:
    def __init__(self, system: System, on_gone: Done | None, report: Report | None) -> None:
        self._system = system
        self._on_gone = on_gone
        self._report = report

    def run(self, plan: CleaningPlan, accepted: tuple[str, ...], chosen: list[Finding]) -> CleaningProof:
        began = iso(self._system.clock.now())
        places = _file_systems(chosen)
        before = {place: free_bytes(Path(place)) for place in places}
        removals = []
        for number, finding in enumerate(chosen, start=1):
            removals.append(self._remove(finding))
            if self._report is not None:
                self._report(number, len(chosen))
        removed = [path_of(each.path) for each in removals if each.result == "removed" and each.path.startswith("/")]
        for folder in {path.rpartition("/")[0] or "/" for path in removed}:
            try:
                sync_directory(folder)
            except OSError:  # it went as well, or cannot be flushed: the next scan would find what came back
                continue
        return CleaningProof(
            plan_digest=plan.digest,
            accepted=accepted,
            removals=tuple(removals),
            free_space=tuple(_space(place, before[place]) for place in places),
            reloaded=tuple(self._reload(removed)),
            began_at=began,
            ended_at=iso(self._system.clock.now()),
        )

    def _remove(self, finding: Finding) -> Removal:
        path = path_of(finding.path)
        scheme = split_scheme(path)
        reason: Refusal | None = None
        result = "removed"
        try:
            faults.point("clean.remove")
            if scheme is not None:
                result, reason = self._remove_entry(finding, *scheme)
            elif not self._remove_path(path, finding):
                result = "gone"
        except _RefusedError as refused:
            result, reason = "refused", refused.reason
        except OSError as error:
            result, reason = "refused", _REFUSALS.get(error.errno or 0, "disk-error")
        if result != "refused" and self._on_gone is not None:
            self._on_gone(path)
        return Removal(
            id=finding.id,
            path=finding.path,
            kind=finding.kind,
            size_bytes=finding.size_bytes,
            result="removed" if result == "removed" else "gone" if result == "gone" else "refused",
            reason=reason,
        )

    def _remove_entry(self, finding: Finding, scheme: str, name: str) -> tuple[str, Refusal | None]:
        entries = self._system.entries.get(scheme)
        state = entries.state(name, finding.evidence.digest) if entries is not None else "unknown"
        if entries is None or state == "unknown":
            return "refused", "cannot-tell"
        if state == "gone":
            return "gone", None
        if state == "changed" and not finding.doubts:
            return "refused", "changed"
        return ("removed", None) if entries.remove(name) else ("refused", "disk-error")

    def _remove_path(self, path: str, finding: Finding) -> bool:
        """Remove what is at `path` if it is still what was shown; False when nothing is there any more.

        Raises:
            _RefusedError: it is something else now, or in use.
            OSError: it cannot be removed.
        """
        identity = finding.identity
        if identity is None:
            raise _RefusedError("cannot-tell")
        try:
            with directory_of(path) as (directory, name):
                seen = lstat_at(directory, name)
                if not identity.is_that_of(seen):
                    raise _RefusedError("changed")
                if stat.S_ISDIR(seen.st_mode):
                    _allow_removing(directory, finding)
                    os.rmdir(name, dir_fd=directory)
                    return True
                if self._system.open_files.has(seen.st_dev, seen.st_ino):
                    raise _RefusedError("in-use")
                expected = finding.evidence.digest
                if expected is not None and digest_at(directory, name, seen) != expected:
                    raise _RefusedError("changed")
                _allow_removing(directory, finding)
                if not identity.is_that_of(lstat_at(directory, name)):
                    raise _RefusedError("changed")
                os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            return False
        return True

    def _reload(self, removed: Iterable[str]) -> list[str]:
        paths = list(removed)
        told = []
        for part, command in _RELOADS:
            if any(part in path for path in paths) and self._system.run(command) is not None:
                told.append(" ".join(command))
        return told


class _RefusedError(Exception):
    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Final = reason


def _allow_removing(directory: int, finding: Finding) -> None:
    """Make a directory of the agent's own writable for its owner: those of slots are read-only."""
    if finding.evidence.by != "place":
        return
    mode = os.fstat(directory).st_mode
    if not mode & stat.S_IWUSR:
        Path(f"/proc/self/fd/{directory}").chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def _file_systems(findings: list[Finding]) -> list[str]:
    """One place for each file system that something goes from."""
    devices: dict[int, str] = {}
    for finding in findings:
        if finding.identity is not None and finding.path.startswith("/"):
            devices.setdefault(finding.identity.device, _still_there(path_of(finding.path)))
    return sorted(set(devices.values()))


def _still_there(path: str) -> str:
    """The highest directory on the same file system: it stays when everything below goes."""
    place = Path(path).parent
    while place != place.parent and not place.is_mount():
        place = place.parent
    return str(place)


def _space(place: str, before: int | None) -> FreeSpace:
    return FreeSpace(path=path_text(place), before_bytes=before, after_bytes=free_bytes(Path(place)))
