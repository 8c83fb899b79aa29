"""The scan: a plan of what can be removed, from the ledger alone or from all local file systems. It changes nothing.

Ending it at any moment loses nothing: it keeps no state, and the next scan finds the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from modelota.agent.anchoring import TAG
from modelota.agent.cleaning.knowledge import Knowledge
from modelota.agent.cleaning.matching import PROBES, Match, Matcher, same_bytes
from modelota.agent.cleaning.mounts import Mounts
from modelota.agent.cleaning.plan import CleaningPlan, Doubt, Evidence, NotLookedAt
from modelota.agent.cleaning.reach import digest_of_open, directory_of, lstat_at, readable
from modelota.agent.cleaning.registered import Collector, find_registered, identity_of
from modelota.agent.cleaning.system import System, run_idle
from modelota.agent.cleaning.walk import Seen, Walker

REPORT_EVERY: Final = 2048
_DATABASE: Final = "agent.db"

Report = Callable[[int, int | None], None]  # files looked at so far, of about how many


class _Candidate(NamedTuple):
    """A file that was found to have something to do with us; what to make of it is decided after the walk."""

    path: str
    information: os.stat_result
    match: Match | None
    tagged: bool


def scan(knowledge: Knowledge, system: System, *, deep: bool, report: Report | None = None) -> CleaningPlan:
    """Find residues.

    Args:
        knowledge: what to look for.
        system: where to look.
        deep: look at all local file systems; otherwise only where the ledger says.
        report: called with progress; an exception from it ends the scan.

    Raises:
        RefuseContent: `document-invalid`: the anchors are damaged.
        AskPerson: `database-unreadable`.
        TryLater: `disk-error`.
    """
    return run_idle(lambda: _Scan(knowledge, system, report).run(deep=deep))


class _Scan:
    def __init__(self, knowledge: Knowledge, system: System, report: Report | None) -> None:
        self._knowledge = knowledge
        self._system = system
        self._report = report
        self._collector = Collector()
        self._digests = frozenset(file.digest.encode() for file in knowledge.files)
        self._other_roots: set[str] = set()
        self._main: frozenset[int] = frozenset()
        self._files = 0
        self._unreadable = 0

    def run(self, *, deep: bool) -> CleaningPlan:
        self._unreadable = find_registered(self._knowledge, self._system, self._collector)
        left_out: tuple[NotLookedAt, ...] = ()
        if deep:
            mounts = self._system.mounts()
            left_out = mounts.left_out
            candidates = self._walk(mounts)
            self._judge(candidates)
        self._spare_bystanders()
        found = sorted(self._collector.findings.values(), key=lambda each: (each.certainty != "certain", each.path))
        return CleaningPlan(
            deep=deep,
            findings=tuple(found),
            spared=tuple(sorted(self._collector.spared, key=lambda each: each.path)),
            not_looked_at=left_out,
            files_seen=self._files,
            unreadable=self._unreadable,
            complete=self._collector.complete,
        )

    # -- the walk ----------------------------------------------------------------------------------------------------

    def _walk(self, mounts: Mounts) -> list[_Candidate]:
        matcher = Matcher(self._knowledge)
        off_limits = (*self._knowledge.off_limits, *self._knowledge.places)
        skip = frozenset(identity for path in off_limits if (identity := identity_of(path)) is not None)
        walker = Walker(mounts.points, skip)
        candidates: list[_Candidate] = []
        expected = _files_expected(mounts.starts) if mounts.points.issuperset(mounts.starts) else None
        for start in mounts.starts:
            for seen in walker.walk(start):
                self._files += 1
                if self._report is not None and self._files % REPORT_EVERY == 0:
                    self._report(self._files, None if expected is None else max(expected, self._files))
                if seen.name == _DATABASE:
                    self._other_roots.add(seen.directory)
                if not stat.S_ISREG(seen.information.st_mode) or not matcher.wants(seen.information.st_size):
                    continue
                try:
                    candidate = self._look_at(seen, matcher)
                except OSError:  # not ours to read, or it changed meanwhile
                    self._unreadable += 1
                    continue
                if candidate is not None:
                    candidates.append(candidate)
        self._unreadable += walker.unreadable
        self._main = matcher.main
        if self._report is not None:
            self._report(self._files, self._files)
        return candidates

    def _look_at(self, seen: Seen, matcher: Matcher) -> _Candidate | None:
        if self._collector.findings and seen.path in self._collector.findings:
            return None
        with readable(seen.descriptor, seen.name, seen.information) as descriptor:
            match = matcher.match(descriptor, seen.information.st_size)
            tagged = _tag_of(descriptor) in self._digests
        return _Candidate(seen.path, seen.information, match, tagged) if match is not None or tagged else None

    # -- what to make of it ------------------------------------------------------------------------------------------

    def _judge(self, candidates: list[_Candidate]) -> None:
        whole = [each for each in candidates if each.match is not None and each.match.kind == "whole copy"]
        main_places = {_directory(each.path) for each in whole if each.match and each.match.file in self._main}
        originals = _Originals(self._knowledge, whole)
        for candidate in candidates:
            match = candidate.match
            if match is None:
                self._add(candidate, "tagged file", Evidence(by="tag"), ["tag-only"])
                continue
            beside = candidate.tagged or _directory(candidate.path) in main_places
            if match.kind == "whole copy" and match.file not in self._main and not beside:
                continue  # a licence or a tokenizer that others have as well
            doubts: list[Doubt] = []
            proven = match.proven_bytes
            if match.kind == "slice":
                doubts.append("slice")
            elif match.kind == "truncated copy" and proven < candidate.information.st_size:
                if originals.have(candidate, match):
                    proven = candidate.information.st_size
                elif not candidate.tagged:
                    doubts.append("end-unproven")
            self._add(candidate, match.kind, self._evidence(match, proven), doubts)

    def _evidence(self, match: Match, proven_bytes: int) -> Evidence:
        file = self._knowledge.files[match.file]
        return Evidence(
            by="content",
            model=file.model,
            version=file.version,
            variant=file.variant,
            file=file.path,
            digest=match.digest,
            proven_bytes=proven_bytes,
            probes=PROBES if match.kind == "slice" else 0,
            matched=match.matched,
        )

    def _add(self, candidate: _Candidate, kind: str, evidence: Evidence, doubts: list[Doubt]) -> None:
        seen = candidate.information
        if seen.st_nlink > 1:
            doubts.append("hard-linked")
        if seen.st_uid != self._knowledge.owner_uid:
            doubts.append("other-user")
        if self._system.in_store(candidate.path) or any(
            candidate.path.startswith(f"{root}/") for root in self._other_roots
        ):
            doubts.append("other-application")
        if not self._system.packages.can_tell(candidate.path):
            doubts.append("packages-unknown")
        self._collector.add(candidate.path, kind, evidence, tuple(doubts), seen=seen)

    def _spare_bystanders(self) -> None:
        """Take out what packages own and what processes use."""
        collector = self._collector
        outside = [
            path
            for path, each in collector.findings.items()
            if each.evidence.by != "place" and each.identity is not None
        ]
        owned = self._system.packages.owned(outside)
        for path, finding in list(collector.findings.items()):
            identity = finding.identity
            if identity is None or stat.S_ISDIR(identity.mode):
                continue
            if path in owned:
                del collector.findings[path]
                collector.spare(path, finding.kind, finding.size_bytes, "package-owned")
            elif self._system.open_files.has(identity.device, identity.inode):
                del collector.findings[path]
                collector.spare(path, finding.kind, finding.size_bytes, "in-use")


class _Originals:
    """Verified copies, with which the last bytes of truncated ones are compared."""

    def __init__(self, knowledge: Knowledge, whole: Iterable[_Candidate]) -> None:
        self._knowledge = knowledge
        self._places: dict[str, str] = {}
        self._slots = dict(knowledge.originals)
        for each in whole:
            assert each.match is not None
            self._places.setdefault(knowledge.files[each.match.file].digest, each.path)

    def have(self, candidate: _Candidate, match: Match) -> bool:
        """Whether the rest of a truncated copy is, byte for byte, what a whole copy has there."""
        digest = self._knowledge.files[match.file].digest
        path = self._places.get(digest) or self._verified_slot(digest)
        if path is None:
            return False
        end = candidate.information.st_size
        try:
            with _opened(candidate.path, candidate.information) as one, _opened(path) as other:
                return same_bytes(one, other, match.proven_bytes, end)
        except OSError:
            return False

    def _verified_slot(self, digest: str) -> str | None:
        path = self._slots.get(digest)
        if path is None:
            return None
        try:
            with _opened(path) as descriptor:
                found = digest_of_open(descriptor)
        except OSError:
            return None
        if found != digest:
            return None
        self._places[digest] = path
        return path


@contextmanager
def _opened(path: str, seen: os.stat_result | None = None) -> Iterator[int]:
    with (
        directory_of(path) as (directory, name),
        readable(directory, name, seen or lstat_at(directory, name)) as descriptor,
    ):
        yield descriptor


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _tag_of(descriptor: int) -> bytes | None:
    """The digest that the file was tagged with; another agent's files have one as well."""
    try:
        return os.getxattr(descriptor, TAG)
    except OSError:  # no tag, or a file system without attributes
        return None


def _files_expected(starts: tuple[str, ...]) -> int | None:
    """About how many files there are, from the inodes in use; None when a file system does not count them."""
    total = 0
    for start in starts:
        try:
            figures = os.statvfs(Path(start))
        except OSError:
            return None
        if not figures.f_files:
            return None
        total += figures.f_files - figures.f_ffree
    return total
