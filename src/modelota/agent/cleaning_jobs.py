"""The worker's jobs of a cleaning that was asked for through the socket: scan, and carry out what was confirmed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from modelota.agent.cleaning import cleaning
from modelota.agent.cleaning.mounts import only_below, read_mounts
from modelota.agent.cleaning.plan import CleaningPlan, CleaningProof
from modelota.agent.cleaning.scanning import Report
from modelota.agent.cleaning.system import System
from modelota.agent.cleaning_table import PAGE_ENTRIES
from modelota.agent.journal import Journal
from modelota.errors import AskPerson
from modelota.spec.api_cleaning import (
    CleaningResult,
    CleaningView,
    FindingEvidence,
    FindingsPage,
    FindingView,
    RemovalsPage,
    RemovedView,
    SpaceView,
    StayingView,
)
from modelota.storage.layout import Layout

Arguments = dict[str, Any]


class CleaningJobs:
    """The jobs on one device root; both can be repeated, and ending them at any moment loses nothing."""

    def __init__(self, layout: Layout, journal: Journal) -> None:
        self._layout = layout
        self._journal = journal

    def scan(self, arguments: Arguments, report: Report) -> CleaningView:
        """Look for residues, and keep plan and pages; answers what is to be told of it.

        Raises:
            AskPerson: `argument-invalid`: there is no such directory; others as `cleaning.scan`.
        """
        within = arguments["within"]
        deep = bool(arguments["deep"]) or within is not None
        plan = cleaning.scan(self._layout, self._journal, deep=deep, report=report, system=system_within(within))
        self._journal.cleaning.keep_findings(findings_pages(plan))
        certain = [finding for finding in plan.findings if finding.certainty == "certain"]
        return CleaningView(
            state="found",
            deep=deep,
            within=within,
            plan_digest=plan.digest,
            certain=len(certain),
            certain_bytes=plan.certain_bytes,
            probable=len(plan.findings) - len(certain),
            probable_bytes=sum(each.size_bytes for each in plan.findings) - plan.certain_bytes,
            spared=len(plan.spared),
            files_seen=plan.files_seen,
            unreadable=plan.unreadable,
            complete=plan.complete,
        )

    def apply(self, arguments: Arguments, report: Report) -> CleaningResult:
        """Carry out the plan that was confirmed; what goes besides the certain is what the database says was named.

        Raises:
            As `cleaning.apply`.
        """
        accepted = self._journal.cleaning.load().accepted
        proof = cleaning.apply(self._journal, arguments["plan_digest"], accepted, report=report)
        self._journal.cleaning.keep_removals(removals_pages(proof))
        return CleaningResult(
            removed=proof.count("removed"),
            gone=proof.count("gone"),
            refused=proof.count("refused"),
            removed_bytes=proof.removed_bytes,
            began_at=proof.began_at,
            ended_at=proof.ended_at,
            free_space=tuple(msgspec.convert(each, SpaceView, from_attributes=True) for each in proof.free_space),
            reloaded=proof.reloaded,
        )


def system_within(within: str | None) -> System:
    """The system, as far as it is looked at.

    Raises:
        AskPerson: `argument-invalid`: `within` is no absolute path of a directory.
    """
    if within is None:
        return System()
    if "\0" in within or not (os.path.isabs(within) and os.path.isdir(within)):  # noqa: PTH112, PTH117  False, never an error
        raise AskPerson("argument-invalid", argument="within", detail="not-a-directory")
    return System(mounts=lambda: only_below(Path(within), read_mounts()))


def findings_pages(plan: CleaningPlan) -> Iterator[FindingsPage]:
    """A plan in pages; there is always one."""
    count = max(len(plan.findings), len(plan.spared), len(plan.not_looked_at), 1)
    for first in range(0, count, PAGE_ENTRIES):
        last = first + PAGE_ENTRIES
        yield FindingsPage(
            plan_digest=plan.digest,
            findings=tuple(
                FindingView(
                    id=finding.id,
                    path=finding.path,
                    kind=finding.kind,
                    certainty=finding.certainty,
                    size_bytes=finding.size_bytes,
                    evidence=msgspec.convert(finding.evidence, FindingEvidence, from_attributes=True),
                    doubts=finding.doubts,
                )
                for finding in plan.findings[first:last]
            ),
            spared=tuple(
                StayingView(path=each.path, reason=each.reason, kind=each.kind, size_bytes=each.size_bytes)
                for each in plan.spared[first:last]
            ),
            not_looked_at=tuple(
                StayingView(path=each.path, reason=each.reason, kind=each.type)
                for each in plan.not_looked_at[first:last]
            ),
            next=last if last < count else None,
        )


def removals_pages(proof: CleaningProof) -> Iterator[RemovalsPage]:
    """A proof in pages; there is always one."""
    count = max(len(proof.removals), 1)
    for first in range(0, count, PAGE_ENTRIES):
        last = first + PAGE_ENTRIES
        yield RemovalsPage(
            plan_digest=proof.plan_digest,
            removals=tuple(
                msgspec.convert(removal, RemovedView, from_attributes=True) for removal in proof.removals[first:last]
            ),
            next=last if last < count else None,
        )
