"""Cleaning as its callers see it: scan and apply on a device root, on an exported record, and after an uninstall."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from modelota.agent.cleaning import knowledge as known
from modelota.agent.cleaning import removing, scanning
from modelota.agent.cleaning.knowledge import Knowledge
from modelota.agent.cleaning.plan import PLAN_MAX_BYTES, CleaningPlan, CleaningProof
from modelota.agent.cleaning.removing import Report
from modelota.agent.cleaning.system import System
from modelota.agent.journal import Journal
from modelota.errors import AskPerson
from modelota.spec.document import canonical, read
from modelota.storage.layout import Layout


def scan(
    layout: Layout,
    journal: Journal,
    *,
    deep: bool,
    report: Report | None = None,
    system: System | None = None,
    leaving: str | None = None,
) -> CleaningPlan:
    """Scan for residues of models that are no longer installed, and keep the plan under its digest (`clean-scan`).

    Raises:
        AskPerson: `database-unreadable`, `permission-denied`, `no-space`.
        RefuseContent: `document-invalid`: the anchors are damaged.
        TryLater: `disk-error`, `device-busy`.
    """
    plan = scanning.scan(
        known.of_device(layout, journal, leaving=leaving), system or System(), deep=deep, report=report
    )
    journal.records.keep_plan(plan.digest, "", canonical(plan))
    return plan


def plan_of(journal: Journal, digest: str) -> CleaningPlan:
    """The plan that was shown under `digest`.

    Raises:
        AskPerson: `no-plan`: there is none.
        RefuseContent: `document-invalid`.
    """
    body = journal.records.plan_body(digest)
    if body is None:
        raise AskPerson("no-plan", digest=digest[:64])
    return read(body, CleaningPlan, PLAN_MAX_BYTES)


def apply(
    journal: Journal,
    digest: str,
    accepted: Collection[str] = (),
    *,
    report: Report | None = None,
    system: System | None = None,
) -> CleaningProof:
    """Carry out the plan that was shown under `digest`, and keep the proof (`clean-apply`).

    Raises:
        AskPerson: `no-plan`, `argument-invalid` (detail `unknown-finding`), `database-unreadable`.
        RefuseContent: `document-invalid`.
        TryLater: `disk-error`, `device-busy`.
    """
    plan = plan_of(journal, digest)
    proof = removing.apply(
        plan,
        accepted,
        system or System(),
        on_gone=lambda path: journal.ledger.removed(Path(path)),
        report=report,
    )
    journal.records.keep_proof(digest, canonical(proof))
    return proof


def clean_basic(
    layout: Layout, journal: Journal, *, leaving: str | None = None, system: System | None = None
) -> CleaningProof:
    """After a model was uninstalled: remove what the ledger and its directories still hold; asks nobody (7.4.2-a).

    Args:
        layout: of the device root.
        journal: of the device root.
        leaving: the model whose slots were just removed.
        system: of the device.

    Raises:
        As `scan` and `apply`.
    """
    used = system or System()
    plan = scan(layout, journal, deep=False, system=used, leaving=leaving)
    return apply(journal, plan.digest, system=used)


def clean_recorded(knowledge: Knowledge, *, system: System | None = None) -> CleaningProof:
    """After an agent was removed: remove what is left in its record and its places. The caller keeps the proof.

    Args:
        knowledge: `knowledge.of_record(record, leaving=True)`.
        system: of the device.

    Raises:
        RefuseContent: `document-invalid`.
    """
    used = system or System()
    return removing.apply(scanning.scan(knowledge, used, deep=False), (), used)
