"""Cleaning: `clean`. Scan, show, confirm, remove, prove (clause 7.4); also without an agent, from its last record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modelota.cli.agent_access import open_access, socket_answers
from modelota.cli.clean_telling import Listed, confirm, reporter, show, tell_proof
from modelota.cli.clean_through_agent import clean_through_agent
from modelota.cli.options import device_root
from modelota.cli.session import Session, current
from modelota.errors import AskPerson, RefuseContent
from modelota.spec.api_owner import CleaningRequest

if TYPE_CHECKING:
    from modelota.agent.cleaning.plan import CleaningPlan, CleaningProof
    from modelota.agent.cleaning.system import System

# Look once more (deep or not, with progress); take a plan that was shown; carry it out.
Scan = Callable[[], "CleaningPlan"]
Recall = Callable[[str], "CleaningPlan"]
Apply = Callable[["CleaningPlan", Sequence[str]], "CleaningProof"]


class Where(NamedTuple):
    """Where copies are looked for, besides where the ledger says.

    Attributes:
        deep: on all local file systems.
        within: below this directory instead.
    """

    deep: bool = False
    within: Path | None = None

    @property
    def is_deep(self) -> bool:
        """Whether copies are looked for at all."""
        return self.deep or self.within is not None

    @property
    def asked(self) -> CleaningRequest:
        """The same for an agent that runs, whose working directory is another."""
        return CleaningRequest(deep=self.deep, within=str(self.within.absolute()) if self.within is not None else None)

    def system(self) -> System:
        """The system as far as it is looked at.

        Raises:
            AskPerson: `argument-invalid`: there is no such directory.
        """
        from modelota.agent.cleaning.mounts import only_below, read_mounts
        from modelota.agent.cleaning.system import System

        within = self.within
        if within is None:
            return System()
        if not within.is_dir():
            raise AskPerson("argument-invalid", argument=str(within), detail="not-a-directory")
        return System(mounts=lambda: only_below(within, read_mounts()))


async def clean(
    root: Path,
    record: Path | None,
    where: Where,
    *,
    accept: str | None,
    probable: Sequence[str],
    proof: Path | None,
) -> int:
    """Show what is left behind and, once that is confirmed, remove it.

    Args:
        root: of the device; not looked at when there is a record.
        record: exported when the agent was removed.
        where: copies are looked for.
        accept: the digest of a plan that was shown before.
        probable: ids of probable findings that go as well.
        proof: where the proof is written as JSON, besides being shown.

    Returns:
        0; the status of `permission-denied` when something that was agreed to could not be removed.

    Raises:
        AskPerson: `decision-required`: nobody sits at a terminal, and no plan was named; `no-plan`, `plan-changed`,
            `cancelled-by-user`, `not-enrolled`, `argument-invalid`, `record-invalid`: the file is no record.
        RefuseContent: `document-needs-newer`: the record was made by a newer version.
    """
    from modelota.agent.cleaning import cleaning, knowledge, removing, scanning
    from modelota.agent.enrol import open_journal
    from modelota.clock import SystemClock
    from modelota.storage.layout import Layout

    session, system = current(), where.system()
    report = reporter(session)
    if record is not None:
        try:
            known = knowledge.of_record(knowledge.read_record(record))
        except RefuseContent as error:
            if error.code == "document-needs-newer":
                raise
            raise AskPerson("record-invalid", path=str(record), detail=error.params.get("detail")) from error

        def look() -> CleaningPlan:
            return scanning.scan(known, system, deep=where.is_deep, report=report)

        def recall(digest: str) -> CleaningPlan:
            plan = look()
            if plan.digest != digest:
                raise AskPerson("plan-changed", digest=digest[:64], now=plan.digest)
            return plan

        return await _decide(
            session,
            _command(root, record, where),
            (look, recall, lambda plan, ids: removing.apply(plan, ids, system)),
            accept,
            probable,
            proof,
        )
    layout = Layout.at(root)
    if await socket_answers(layout.agent_socket):  # it alone writes its database
        async with open_access(root) as access:
            return await clean_through_agent(
                session, access, _command(root, None, where), where.asked, accept, probable, proof
            )
    journal = open_journal(layout, SystemClock())
    try:
        return await _decide(
            session,
            _command(root, None, where),
            (
                lambda: cleaning.scan(layout, journal, deep=where.is_deep, report=report, system=system),
                lambda digest: cleaning.plan_of(journal, digest),
                lambda plan, ids: cleaning.apply(journal, plan.digest, ids, system=system),
            ),
            accept,
            probable,
            proof,
        )
    finally:
        journal.close()


async def _decide(
    session: Session,
    command: str,
    work: tuple[Scan, Recall, Apply],
    accept: str | None,
    probable: Sequence[str],
    proof: Path | None,
) -> int:
    look, recall, carry_out = work
    if accept is not None:
        return tell_proof(session, carry_out(recall(accept), probable), proof)
    plan = look()
    show(
        session,
        plan,
        plan.digest,
        Listed(plan.findings, plan.spared, plan.not_looked_at, plan.files_seen, plan.unreadable),
    )
    if not plan.findings:
        return 0
    await confirm(session, command, plan.digest)
    return tell_proof(session, carry_out(plan, probable), proof)


def _command(root: Path, record: Path | None, where: Where) -> str:
    words = ["modelota device clean", *(["--deep"] if where.deep else [])]
    if where.within is not None:
        words.append(f"--within {where.within}")
    if record is not None:
        words.append(f"--from {record}")
    elif root != device_root(None):
        words.append(f"--root {root}")
    return " ".join(words)
