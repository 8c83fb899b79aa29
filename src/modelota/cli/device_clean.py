"""Cleaning: `clean`. Scan, show, confirm, remove, prove (clause 7.4); also without an agent, from its last record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from modelota.cli.failure import Reported
from modelota.cli.options import device_root
from modelota.cli.question import ask_word, can_ask
from modelota.cli.session import Session, current
from modelota.errors import AskPerson, RefuseContent
from modelota.i18n.cleaning import plan_lines, proof_lines

if TYPE_CHECKING:
    from modelota.agent.cleaning.plan import CleaningPlan, CleaningProof
    from modelota.agent.cleaning.system import System

_WORDS: Final = frozenset({"remove", "清除"})

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
    report = _reporter(session)
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
        return _tell_proof(session, carry_out(recall(accept), probable), proof)
    plan = look()
    _show(session, plan)
    if not plan.findings:
        return 0
    if not can_ask(session):
        session.line()
        session.say("To confirm: {command}", command=f"{command} --accept {plan.digest}")
        raise Reported(AskPerson("decision-required", digest=plan.digest), "unchanged")
    session.line()
    question = session.texts.say("Type “remove” to remove what is certain and what you named, anything else to stop: ")
    await ask_word(question, _WORDS, action="clean")
    return _tell_proof(session, carry_out(plan, probable), proof)


def _command(root: Path, record: Path | None, where: Where) -> str:
    words = ["modelota device clean", *(["--deep"] if where.deep else [])]
    if where.within is not None:
        words.append(f"--within {where.within}")
    if record is not None:
        words.append(f"--from {record}")
    elif root != device_root(None):
        words.append(f"--root {root}")
    return " ".join(words)


def _show(session: Session, plan: CleaningPlan) -> None:
    session.emit({"plan": plan, "digest": plan.digest, "ids": [finding.id for finding in plan.findings]})
    for line in plan_lines(
        findings=plan.findings,
        spared=plan.spared,
        not_looked_at=plan.not_looked_at,
        files_seen=plan.files_seen,
        unreadable=plan.unreadable,
        digest=plan.digest,
        language=session.language,
    ):
        session.line(line)


def _tell_proof(session: Session, done: CleaningProof, path: Path | None) -> int:
    session.emit({"proof": done})
    refused = [each for each in done.removals if each.result == "refused"]
    for line in proof_lines(
        removed=done.count("removed"),
        gone=done.count("gone"),
        removed_bytes=done.removed_bytes,
        refused=refused,
        language=session.language,
    ):
        session.line(line)
    if path is not None:
        _write(path, done)
        session.say("The proof is in {path}.", path=path)
    return AskPerson.exit_status if refused else 0


def _write(path: Path, proof: CleaningProof) -> None:
    import msgspec

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
    except OSError as error:
        raise AskPerson("permission-denied", path=str(path)) from error


def _reporter(session: Session) -> Callable[[int, int | None], None]:
    """Print a line for each tenth of the way, or for each 100 000 files where nobody knows how many there are."""
    told = -1

    def report(done: int, total: int | None) -> None:
        nonlocal told
        step = done * 10 // total if total else done // 100_000
        if step == told:
            return
        told = step
        if total:
            percent = min(100, done * 100 // total)
            line = session.texts.say("{done} files looked at ({percent} %)", done=done, percent=percent)
        else:
            line = session.texts.say("{done} files looked at", done=done)
        session.aside(f"  {line}")

    return report
