"""What `device clean` says: the plan, the question, how far it is, the proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from modelota.cli.failure import Reported
from modelota.cli.question import ask_word, can_ask
from modelota.cli.session import Session
from modelota.errors import AskPerson
from modelota.i18n.cleaning import FindingLike, ReasonedLike, plan_lines, proof_lines

if TYPE_CHECKING:
    from modelota.agent.cleaning.plan import CleaningProof

_WORDS: Final = frozenset({"remove", "清除"})


class Listed(NamedTuple):
    """What a scan found, wherever it ran."""

    findings: Sequence[FindingLike]
    spared: Sequence[ReasonedLike]
    not_looked_at: Sequence[ReasonedLike]
    files_seen: int
    unreadable: int


def show(session: Session, plan: object, digest: str, listed: Listed) -> None:
    """Show a plan; `plan` is what programs get."""
    session.emit({"plan": plan, "digest": digest, "ids": [finding.id for finding in listed.findings]})
    for line in plan_lines(
        findings=listed.findings,
        spared=listed.spared,
        not_looked_at=listed.not_looked_at,
        files_seen=listed.files_seen,
        unreadable=listed.unreadable,
        digest=digest,
        language=session.language,
    ):
        session.line(line)


async def confirm(session: Session, command: str, digest: str) -> None:
    """Have the person at the terminal confirm what was shown.

    Raises:
        Reported: `decision-required`: nobody sits there.
        AskPerson: `cancelled-by-user`.
    """
    if not can_ask(session):
        session.line()
        session.say("To confirm: {command}", command=f"{command} --accept {digest}")
        raise Reported(AskPerson("decision-required", digest=digest), "unchanged")
    session.line()
    question = session.texts.say("Type “remove” to remove what is certain and what you named, anything else to stop: ")
    await ask_word(question, _WORDS, action="clean")


def tell_proof(session: Session, done: CleaningProof, path: Path | None) -> int:
    """Show a proof, and write it to `path`; returns the exit status."""
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


def reporter(session: Session) -> Callable[[int, int | None], None]:
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
